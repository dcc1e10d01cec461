CREATE VIEW orders_once AS
SELECT order_id, ordered_at, shop, cents, log_partition, log_offset, window_time
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, order_id ORDER BY ordered_at) AS n
  FROM TABLE(TUMBLE((SELECT * FROM orders WHERE error IS NULL AND payload IS NOT NULL AND ordered_at >= appended - INTERVAL '1' HOUR),
                    DESCRIPTOR(ordered_at), INTERVAL '1' HOUR))
)
WHERE n = 1;

INSERT INTO order_rows (order_id, ordered_at, shop, cents, log_partition, log_offset)
SELECT order_id, ordered_at, shop, cents, log_partition, log_offset FROM orders_once;
