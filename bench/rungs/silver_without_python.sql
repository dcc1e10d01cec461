-- The columns of departures by SQL's own functions, as close as they come: a plain digest, and no clock at the destination.
SELECT
  flight_date, carrier, airline_name, flight, MD5(tailnum) AS tail_id, plane_year, plane_manufacturer, plane_model, plane_seats,
  origin, dest, dest_name, dest_time_zone, sched_dep_time,
  scheduled AS scheduled_utc, CAST(scheduled AS TIMESTAMP(3)) AS scheduled_local,
  departed_at AS departure_utc, CAST(departed_at AS TIMESTAMP(3)) AS departure_local,
  departed_at + air_time * INTERVAL '1' MINUTE AS arrival_utc,
  CAST(departed_at + air_time * INTERVAL '1' MINUTE AS TIMESTAMP(3)) AS arrival_local,
  dep_delay, arr_delay, cancelled, air_time, distance,
  weather_observed_at, weather_temp, weather_wind_speed, weather_precip, weather_visib, log_partition, log_offset
FROM (
  SELECT f.*, d.name AS dest_name, d.tzone AS dest_time_zone, s.*,
         f.happened - COALESCE(f.dep_delay, 0) * INTERVAL '1' MINUTE AS scheduled,
         CASE WHEN f.cancelled THEN CAST(NULL AS TIMESTAMP_LTZ(3)) ELSE f.happened END AS departed_at
  FROM flown_from AS f
  LEFT JOIN LATERAL TABLE(airports_at(f.happened, f.dest)) AS d ON TRUE,
  LATERAL TABLE(surroundings_at(f.happened, f.carrier, f.tailnum, f.origin)) AS s
)
