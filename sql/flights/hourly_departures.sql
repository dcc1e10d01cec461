INSERT INTO hourly_departures (origin, carrier, `hour`, flights, cancelled, mean_dep_delay, worst_dep_delay)
SELECT origin, carrier, window_start, COUNT(*), COUNT(*) FILTER (WHERE cancelled),
       CAST(SUM(dep_delay) AS DOUBLE) / COUNT(dep_delay), MAX(dep_delay)   -- a sum of integers is the same in any order
FROM TABLE(TUMBLE(TABLE flights_once, DESCRIPTOR(happened), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, origin, carrier;
