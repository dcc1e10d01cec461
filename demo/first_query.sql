SELECT carrier, sum(flights)::INT AS flights, sum(cancelled)::INT AS cancelled,
       round(sum(mean_dep_delay * (flights - cancelled)) / sum(flights - cancelled), 1) AS mean_delay_min,
       max(worst_dep_delay) AS worst_delay_min
FROM hourly_departures GROUP BY carrier ORDER BY flights DESC LIMIT 6
