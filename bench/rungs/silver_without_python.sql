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
  SELECT *, happened - COALESCE(dep_delay, 0) * INTERVAL '1' MINUTE AS scheduled,
         CASE WHEN cancelled THEN CAST(NULL AS TIMESTAMP_LTZ(3)) ELSE happened END AS departed_at
  FROM departed
)
