-- The latest level of each article that was counted on a day.
SELECT warehouse, sku, CAST(window_start AS DATE) AS `day`, counted_at, pieces, COALESCE(reserved, 0) AS reserved
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, warehouse, sku
                               ORDER BY counted_at DESC, log_partition DESC, log_offset DESC) AS place
  FROM TABLE(TUMBLE(TABLE levels, DESCRIPTOR(counted_at), INTERVAL '1' DAY))
)
WHERE place = 1
