-- A visit ends when its visitor has looked at nothing for half an hour.
SELECT visitor, window_start AS began, window_end, COUNT(*) AS pages, COUNT(DISTINCT url) AS urls,
       MAX(CASE WHEN url LIKE '%/checkout%' THEN 1 ELSE 0 END) = 1 AS checked_out
FROM TABLE(SESSION(TABLE page_views PARTITION BY visitor, DESCRIPTOR(viewed_at), INTERVAL '30' MINUTE))
GROUP BY window_start, window_end, visitor
