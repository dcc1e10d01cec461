INSERT INTO hourly_orders (shop, `hour`, orders, cents)
SELECT shop, window_start, COUNT(*), SUM(cents)
FROM TABLE(TUMBLE(TABLE orders_once, DESCRIPTOR(window_time), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, shop;
