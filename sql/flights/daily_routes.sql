INSERT INTO daily_routes (origin, dest, `day`, flights, cancelled, mean_dep_delay, mean_arr_delay, worst_arr_delay)
SELECT origin, dest, CAST(window_start AS DATE), COUNT(*), COUNT(*) FILTER (WHERE cancelled),
       CAST(SUM(dep_delay) AS DOUBLE) / COUNT(dep_delay), CAST(SUM(arr_delay) AS DOUBLE) / COUNT(arr_delay), MAX(arr_delay)
FROM TABLE(TUMBLE(TABLE flights_once, DESCRIPTOR(happened), INTERVAL '1' DAY))
GROUP BY window_start, window_end, origin, dest;
