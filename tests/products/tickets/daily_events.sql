SELECT event, CAST(window_start AS DATE) AS `day`, COUNT(*) AS tickets, SUM(price) AS price,
       COUNT(*) FILTER (WHERE seller = 'web') AS on_the_web
FROM TABLE(TUMBLE(TABLE sold, DESCRIPTOR(sold_at), INTERVAL '1' DAY))
GROUP BY window_start, window_end, event
