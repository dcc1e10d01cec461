SELECT origin, carrier, window_start AS `hour`, COUNT(*) AS flights, COUNT(*) FILTER (WHERE cancelled) AS cancelled,
       -- a sum of integers is the same in any order, and of BIGINT it has room
       CAST(SUM(CAST(dep_delay AS BIGINT)) AS DOUBLE) / COUNT(dep_delay) AS mean_dep_delay, MAX(dep_delay) AS worst_dep_delay
FROM TABLE(TUMBLE(TABLE flown_from, DESCRIPTOR(happened), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, origin, carrier
