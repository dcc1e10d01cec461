INSERT INTO rejects (log_topic, log_partition, log_offset, appended, reason, payload)
SELECT 'sales', log_partition, log_offset, appended,
       CASE WHEN error IS NULL THEN 'late' ELSE 'undecodable: ' || error END, payload
FROM sales
WHERE payload IS NOT NULL AND (error IS NOT NULL OR sold_at < appended - INTERVAL '1' HOUR OR sold_at IS NULL);
