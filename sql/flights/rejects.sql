-- Whatever a table cannot hold, with its bytes and where it stands in the log.
INSERT INTO rejects (log_topic, log_partition, log_offset, appended, reason, payload)
SELECT 'flights', log_partition, log_offset, CAST(appended AS TIMESTAMP_LTZ(3)),
       CASE WHEN error IS NULL THEN 'late: it happened more than 6 h before it was appended' ELSE 'undecodable: ' || error END, payload
FROM flights
WHERE payload IS NOT NULL AND (error IS NOT NULL OR happened < appended - INTERVAL '6' HOUR OR happened IS NULL)
UNION ALL
SELECT 'weather', log_partition, log_offset, CAST(appended AS TIMESTAMP_LTZ(3)),
       CASE WHEN error IS NULL THEN 'late: observed more than 1 h before it was appended' ELSE 'undecodable: ' || error END, payload
FROM weather
WHERE payload IS NOT NULL AND (error IS NOT NULL OR observed_at < appended - INTERVAL '1' HOUR OR observed_at IS NULL)
UNION ALL
SELECT 'airlines', log_partition, log_offset, CAST(appended AS TIMESTAMP_LTZ(3)), 'undecodable: ' || error, payload FROM airlines WHERE error IS NOT NULL
UNION ALL
SELECT 'airports', log_partition, log_offset, CAST(appended AS TIMESTAMP_LTZ(3)), 'undecodable: ' || error, payload FROM airports WHERE error IS NOT NULL
UNION ALL
SELECT 'planes', log_partition, log_offset, CAST(appended AS TIMESTAMP_LTZ(3)), 'undecodable: ' || error, payload FROM planes WHERE error IS NOT NULL;
