CREATE VIEW flights_on_time AS
SELECT * FROM flights
WHERE error IS NULL AND payload IS NOT NULL   -- a record without a value is a heartbeat: it carries only the log's clock
  AND happened >= appended - INTERVAL '6' HOUR;

-- One row per flight: the source hands on each of them once.
CREATE VIEW flights_once AS
SELECT flight_date, sched_dep_time, dep_delay, arr_time, arr_delay, carrier, flight, tailnum, origin, dest,
       air_time, distance, dep_time IS NULL AS cancelled, happened, log_partition, log_offset,
       -- Python reckons in minutes since 1970: a TIMESTAMP_LTZ is slow to hand over.
       CASE WHEN dep_time IS NOT NULL THEN TIMESTAMPDIFF(MINUTE, TO_TIMESTAMP_LTZ(0, 3), happened) END AS left_minute
FROM flights_on_time;

-- With its destination, and when it arrived by the clocks there. Python comes before the other look-ups, as every column
-- that is there already has to wait for it, and is given columns as they are, which spares a projection in front of it.
CREATE VIEW flown AS
SELECT f.*, d.name AS dest_name, d.tzone AS dest_time_zone,
       pseudonym(tailnum) AS tail_id, next_wall_clock(left_minute, arr_time, d.tzone) AS arrived
FROM flights_once AS f
LEFT JOIN LATERAL TABLE(airports_at(f.happened, f.dest)) AS d ON TRUE;

-- With airline, plane and weather as they were when it left: what the log says of that time.
CREATE VIEW departed AS
SELECT *
FROM flown AS f, LATERAL TABLE(surroundings_at(f.happened, f.carrier, f.tailnum, f.origin));

INSERT INTO departures (
  flight_date, carrier, airline, flight, tail_id, plane_year, plane_manufacturer, plane_model, plane_seats,
  origin, dest, dest_name, dest_time_zone, sched_dep_time,
  scheduled_departure_utc, scheduled_departure_local, departure_utc, departure_local, arrival_utc, arrival_local,
  dep_delay, arr_delay, cancelled, air_time, distance,
  weather_observed_at, temp, wind_speed, precip, visib, log_partition, log_offset)
SELECT
  flight_date, carrier, airline_name, flight, tail_id, plane_year, plane_manufacturer, plane_model, plane_seats,
  origin, dest, dest_name, dest_time_zone, sched_dep_time,
  happened - COALESCE(dep_delay, 0) * INTERVAL '1' MINUTE,
  TIMESTAMPADD(MINUTE, sched_dep_time / 100 * 60 + MOD(sched_dep_time, 100), CAST(flight_date AS TIMESTAMP(3))),
  CASE WHEN NOT cancelled THEN happened END, CASE WHEN NOT cancelled THEN CAST(happened AS TIMESTAMP(3)) END,
  TO_TIMESTAMP_LTZ(arrived.instant * 60000, 3),
  TIMESTAMPADD(MINUTE, arrived.shown, TIMESTAMP '1970-01-01 00:00:00'),
  dep_delay, arr_delay, cancelled, air_time, distance,
  weather_observed_at, weather_temp, weather_wind_speed, weather_precip, weather_visib, log_partition, log_offset
FROM departed;
