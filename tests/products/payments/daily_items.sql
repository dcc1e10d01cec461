SELECT sku, CAST(window_start AS DATE) AS `day`, SUM(CAST(quantity AS BIGINT)) AS quantity
FROM TABLE(TUMBLE((SELECT paid, sku, quantity FROM payments CROSS JOIN UNNEST(items) AS item (sku, quantity)),
                  DESCRIPTOR(paid), INTERVAL '1' DAY))
GROUP BY window_start, window_end, sku
