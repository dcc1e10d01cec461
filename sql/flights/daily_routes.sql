SELECT origin, dest, CAST(window_start AS DATE) AS `day`, COUNT(*) AS flights,
       COUNT(*) FILTER (WHERE cancelled) AS cancelled,
       CAST(SUM(CAST(dep_delay AS BIGINT)) AS DOUBLE) / COUNT(dep_delay) AS mean_dep_delay,
       CAST(SUM(CAST(arr_delay AS BIGINT)) AS DOUBLE) / COUNT(arr_delay) AS mean_arr_delay,
       MAX(arr_delay) AS worst_arr_delay
FROM TABLE(TUMBLE(TABLE flown_from, DESCRIPTOR(happened), INTERVAL '1' DAY))
GROUP BY window_start, window_end, origin, dest
