CREATE VIEW flights_on_time AS
SELECT * FROM flights
WHERE error IS NULL AND payload IS NOT NULL   -- a record without a value is a heartbeat: it carries only the log's clock
  AND happened >= appended - INTERVAL '6' HOUR;

-- One row per flight: the source hands on each of them once.
CREATE VIEW flights_once AS
SELECT flight_date, sched_dep_time, dep_delay, arr_time, arr_delay, carrier, flight, tailnum, origin, dest,
       air_time, distance, dep_time IS NULL AS cancelled, happened, log_partition, log_offset
FROM flights_on_time;

-- With its destination, and when it left and arrived by the clocks there. Python comes before the other look-ups, as
-- every column that is there already has to wait for it.
CREATE VIEW flown AS
SELECT *, pseudonym(tailnum) AS tail_id,
       -- Python reckons in minutes since 1970: a TIMESTAMP_LTZ is slow to hand over.
       next_wall_clock(TIMESTAMPDIFF(MINUTE, TO_TIMESTAMP_LTZ(0, 3), departed_at), arr_time, dest_time_zone) AS arrived
FROM (
  SELECT f.*, d.name AS dest_name, d.tzone AS dest_time_zone,
         CASE WHEN f.cancelled THEN CAST(NULL AS TIMESTAMP_LTZ(3)) ELSE f.happened END AS departed_at
  FROM flights_once AS f
  LEFT JOIN LATERAL TABLE(airports_at(f.happened, f.dest)) AS d ON TRUE
);

-- With airline, plane and weather as they were when it left: what the log says of that time.
CREATE VIEW departed AS
SELECT f.*, a.name AS airline, p.`year` AS plane_year, p.manufacturer AS plane_manufacturer, p.model AS plane_model,
       p.seats AS plane_seats, w.observed_at AS weather_observed_at, w.temp, w.wind_speed, w.precip, w.visib
FROM flown AS f
LEFT JOIN LATERAL TABLE(airlines_at(f.happened, f.carrier)) AS a ON TRUE
LEFT JOIN LATERAL TABLE(planes_at(f.happened, f.tailnum))   AS p ON TRUE
LEFT JOIN LATERAL TABLE(weather_at(f.happened, f.origin))   AS w ON TRUE;

INSERT INTO departures (
  flight_date, carrier, airline, flight, tail_id, plane_year, plane_manufacturer, plane_model, plane_seats,
  origin, dest, dest_name, dest_time_zone, sched_dep_time,
  scheduled_departure_utc, scheduled_departure_local, departure_utc, departure_local, arrival_utc, arrival_local,
  dep_delay, arr_delay, cancelled, air_time, distance,
  weather_observed_at, temp, wind_speed, precip, visib, log_partition, log_offset)
SELECT
  flight_date, carrier, airline, flight, tail_id, plane_year, plane_manufacturer, plane_model, plane_seats,
  origin, dest, dest_name, dest_time_zone, sched_dep_time,
  happened - COALESCE(dep_delay, 0) * INTERVAL '1' MINUTE,
  TIMESTAMPADD(MINUTE, sched_dep_time / 100 * 60 + MOD(sched_dep_time, 100), CAST(flight_date AS TIMESTAMP(3))),
  departed_at, CAST(departed_at AS TIMESTAMP(3)),
  TO_TIMESTAMP_LTZ(arrived.instant * 60000, 3),
  TIMESTAMPADD(MINUTE, arrived.shown, TIMESTAMP '1970-01-01 00:00:00'),
  dep_delay, arr_delay, cancelled, air_time, distance,
  weather_observed_at, temp, wind_speed, precip, visib, log_partition, log_offset
FROM departed;
