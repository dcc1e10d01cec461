SELECT lift, window_start AS `hour`, COUNT(*) AS trips, SUM(CAST(kilos AS BIGINT)) AS kilos
FROM TABLE(TUMBLE(TABLE trips, DESCRIPTOR(left_at), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, lift
