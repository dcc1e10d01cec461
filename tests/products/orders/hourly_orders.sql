SELECT shop, window_start AS `hour`, COUNT(*) AS orders, SUM(cents) AS cents
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ordered_at), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, shop
