SELECT depot, window_start AS `hour`, COUNT(*) AS scans, SUM(weight) AS weight
FROM TABLE(TUMBLE(TABLE scans, DESCRIPTOR(scanned_at), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, depot
