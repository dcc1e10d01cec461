-- The combined log format: host, identity, user, [time], "request", status, bytes, "referrer", "agent".
CREATE VIEW parsed AS
SELECT payload, log_appended, log_partition, log_offset,
       REGEXP_EXTRACT(payload, '^(\S+)', 1) AS host,
       REGEXP_EXTRACT(payload, '"([A-Z]+) (\S+) HTTP/[0-9.]+"', 1) AS `method`,
       REGEXP_EXTRACT(payload, '"([A-Z]+) (\S+) HTTP/[0-9.]+"', 2) AS path,
       TRY_CAST(REGEXP_EXTRACT(payload, '" ([0-9]{3}) ', 1) AS INT) AS status,
       TRY_CAST(REGEXP_EXTRACT(payload, '" [0-9]{3} ([0-9]+)', 1) AS BIGINT) AS `bytes`
FROM log_lines;
