SELECT sensor, read_at, celsius, battery, rise, seconds_since, mean_of_10_min,
       MAX(celsius) OVER (PARTITION BY sensor ORDER BY read_at ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS warmest_of_3,
       log_partition, log_offset
FROM averaged
