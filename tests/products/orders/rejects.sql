INSERT INTO rejects (log_topic, log_partition, log_offset, appended, reason, payload)
SELECT 'orders', log_partition, log_offset, appended,
       CASE WHEN error IS NULL THEN 'late' ELSE 'undecodable: ' || error END, payload
FROM orders
WHERE payload IS NOT NULL AND (error IS NOT NULL OR ordered_at < appended - INTERVAL '1' HOUR OR ordered_at IS NULL);
