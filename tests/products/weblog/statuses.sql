SELECT window_start AS `minute`, status / 100 AS hundreds, COUNT(*) AS requests, SUM(`bytes`) AS `bytes`
FROM TABLE(TUMBLE((SELECT * FROM parsed WHERE status IS NOT NULL), DESCRIPTOR(log_appended), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, status / 100
