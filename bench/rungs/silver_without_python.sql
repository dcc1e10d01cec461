-- The columns of departures by SQL's own functions, as close as they come: a plain digest, and no clock at the destination.
SELECT
  flight_date, carrier, airline, flight, MD5(tailnum) AS tail_id, plane_year, plane_manufacturer, plane_model, plane_seats,
  origin, dest, dest_name, dest_time_zone, sched_dep_time,
  scheduled AS scheduled_utc, CAST(scheduled AS TIMESTAMP(3)) AS scheduled_local,
  departed_at AS departure_utc, CAST(departed_at AS TIMESTAMP(3)) AS departure_local,
  departed_at + air_time * INTERVAL '1' MINUTE AS arrival_utc,
  CAST(departed_at + air_time * INTERVAL '1' MINUTE AS TIMESTAMP(3)) AS arrival_local,
  dep_delay, arr_delay, cancelled, air_time, distance,
  weather_observed_at, temp, wind_speed, precip, visib, log_partition, log_offset
FROM (
  SELECT f.*, a.name AS airline, p.`year` AS plane_year, p.manufacturer AS plane_manufacturer, p.model AS plane_model,
         p.seats AS plane_seats, d.name AS dest_name, d.tzone AS dest_time_zone,
         w.observed_at AS weather_observed_at, w.temp, w.wind_speed, w.precip, w.visib,
         f.happened - COALESCE(f.dep_delay, 0) * INTERVAL '1' MINUTE AS scheduled,
         CASE WHEN f.cancelled THEN CAST(NULL AS TIMESTAMP_LTZ(3)) ELSE f.happened END AS departed_at
  FROM flights_once AS f
  LEFT JOIN LATERAL TABLE(airlines_at(f.happened, f.carrier)) AS a ON TRUE
  LEFT JOIN LATERAL TABLE(airports_at(f.happened, f.dest))    AS d ON TRUE
  LEFT JOIN LATERAL TABLE(planes_at(f.happened, f.tailnum))   AS p ON TRUE
  LEFT JOIN LATERAL TABLE(weather_at(f.happened, f.origin))   AS w ON TRUE
)
