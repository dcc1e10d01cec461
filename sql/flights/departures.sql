-- With airline, plane and weather as they were when it left: what the log says of that time.
SELECT
  flight_date, carrier, airline_name AS airline, flight, tail_id,
  plane_year, plane_manufacturer, plane_model, plane_seats,
  origin, dest, dest_name, dest_time_zone, sched_dep_time,
  happened - COALESCE(dep_delay, 0) * INTERVAL '1' MINUTE AS scheduled_departure_utc,
  TIMESTAMPADD(MINUTE, sched_dep_time / 100 * 60 + MOD(sched_dep_time, 100), CAST(flight_date AS TIMESTAMP(3)))
    AS scheduled_departure_local,
  CASE WHEN NOT cancelled THEN happened END AS departure_utc,
  CASE WHEN NOT cancelled THEN CAST(happened AS TIMESTAMP(3)) END AS departure_local,
  TO_TIMESTAMP_LTZ(arrived.instant * 60000, 3) AS arrival_utc,
  TIMESTAMPADD(MINUTE, arrived.shown, TIMESTAMP '1970-01-01 00:00:00') AS arrival_local,
  dep_delay, arr_delay, cancelled, air_time, distance,
  weather_observed_at, weather_temp AS temp, weather_wind_speed AS wind_speed, weather_precip AS precip,
  weather_visib AS visib
FROM flown AS f, LATERAL TABLE(surroundings_at(f.happened, f.carrier, f.tailnum, f.origin))
