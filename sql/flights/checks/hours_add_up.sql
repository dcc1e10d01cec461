-- An hour's flights are the departures of that hour. An hour is compared once neither table has more of it to come: each
-- partition has written a departure of a later one, for it writes them in order of time; and a later window has closed.
WITH departed AS (
  SELECT origin, carrier, date_trunc('hour', coalesce(departure_local, scheduled_departure_local)) AS hour,
         dep_delay, cancelled, log_partition
  FROM departures
),
closed AS (
  SELECT least(min(reached), (SELECT max(hour) FROM hourly_departures)) AS until
  FROM (SELECT max(hour) AS reached FROM departed GROUP BY log_partition)
  HAVING count(*) > 0   -- without a departure nothing: least() passes over a NULL
),
counted AS (
  SELECT origin, carrier, hour, count(*) AS flights, count(*) FILTER (WHERE cancelled) AS cancelled,
         sum(dep_delay) AS delay, max(dep_delay) AS worst
  FROM departed, closed WHERE hour < until GROUP BY ALL
),
told AS (   -- summed: when summer time ends, one hour of the wall clock is two windows
  SELECT origin, carrier, hour, sum(flights) AS flights, sum(cancelled) AS cancelled,
         round(sum(mean_dep_delay * (flights - cancelled))) AS delay, max(worst_dep_delay) AS worst
  FROM hourly_departures, closed WHERE hour < until GROUP BY ALL
)
SELECT origin, carrier, hour, counted.flights AS departures, told.flights AS hourly, counted.cancelled, counted.delay
FROM counted FULL JOIN told USING (origin, carrier, hour)
WHERE (counted.flights, counted.cancelled, counted.delay, counted.worst)
      IS DISTINCT FROM (told.flights, told.cancelled, told.delay, told.worst)
