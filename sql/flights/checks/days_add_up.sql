-- A day's flights on a route are the departures of that day, once each partition has written a departure of a later day
-- and a later window has closed.
WITH departed AS (
  SELECT origin, dest, CAST(coalesce(departure_local, scheduled_departure_local) AS DATE) AS day,
         dep_delay, arr_delay, cancelled, log_partition
  FROM departures
),
closed AS (
  SELECT least(min(reached), (SELECT max(day) FROM daily_routes)) AS until
  FROM (SELECT max(day) AS reached FROM departed GROUP BY log_partition)
  HAVING count(*) > 0   -- without a departure nothing: least() passes over a NULL
),
counted AS (
  SELECT origin, dest, day, count(*) AS flights, count(*) FILTER (WHERE cancelled) AS cancelled,
         sum(dep_delay) AS delay, max(arr_delay) AS worst
  FROM departed, closed WHERE day < until GROUP BY ALL
),
told AS (
  SELECT origin, dest, day, flights, cancelled, round(mean_dep_delay * (flights - cancelled)) AS delay,
         worst_arr_delay AS worst
  FROM daily_routes, closed WHERE day < until
)
SELECT origin, dest, day, counted.flights AS departures, told.flights AS daily, counted.cancelled, counted.delay
FROM counted FULL JOIN told USING (origin, dest, day)
WHERE (counted.flights, counted.cancelled, counted.delay, counted.worst)
      IS DISTINCT FROM (told.flights, told.cancelled, told.delay, told.worst)
