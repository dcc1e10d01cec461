SELECT window_start AS `day`, COUNT(*) AS sales
FROM TABLE(TUMBLE(TABLE sales, DESCRIPTOR(sold_at), INTERVAL '1' DAY, INTERVAL '5' HOUR))
GROUP BY window_start, window_end
