-- A record is in departures or in rejects, never in both.
SELECT log_partition, log_offset, reason
FROM departures JOIN rejects USING (log_partition, log_offset)
WHERE log_topic = 'flights'
