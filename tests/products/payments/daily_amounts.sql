SELECT currency, CAST(window_start AS DATE) AS `day`, COUNT(*) AS payments, SUM(amount) AS amount
FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(paid), INTERVAL '1' DAY))
GROUP BY window_start, window_end, currency
