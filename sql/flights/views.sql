-- One row per flight.
CREATE VIEW flown_from AS
SELECT flight_date, sched_dep_time, dep_delay, arr_time, arr_delay, carrier, flight, tailnum, origin, dest,
       air_time, distance, dep_time IS NULL AS cancelled, happened, log_partition, log_offset,
       -- Python reckons in minutes since 1970: a TIMESTAMP_LTZ is slow to hand over.
       CASE WHEN dep_time IS NOT NULL THEN TIMESTAMPDIFF(MINUTE, TO_TIMESTAMP_LTZ(0, 3), happened) END AS left_minute
FROM flights;

-- With its destination, and when it arrived by the clocks there. Python comes before the other look-ups, as every column
-- that is there already has to wait for it, and is given columns as they are, which spares a projection in front of it.
CREATE VIEW flown AS
SELECT f.*, d.name AS dest_name, d.tzone AS dest_time_zone,
       pseudonym(tailnum) AS tail_id, next_wall_clock(left_minute, arr_time, d.tzone) AS arrived
FROM flown_from AS f
LEFT JOIN LATERAL TABLE(airports_at(f.happened, f.dest)) AS d ON TRUE;
