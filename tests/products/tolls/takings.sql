-- Every hour, of the day so far.
SELECT CAST(window_start AS DATE) AS `day`, window_end AS until, SUM(toll) AS toll, COUNT(DISTINCT plate) AS plates
FROM TABLE(CUMULATE(TABLE passages, DESCRIPTOR(passed_at), INTERVAL '1' HOUR, INTERVAL '1' DAY))
GROUP BY window_start, window_end
