SELECT f.flight_date, f.sched_dep_time, f.dep_delay, f.arr_time, f.arr_delay, f.carrier, f.flight, f.tailnum, f.origin, f.dest,
       f.air_time, f.distance, f.cancelled, CAST(f.happened AS TIMESTAMP_LTZ(3)) AS happened, f.log_partition, f.log_offset,
       a.name AS airline
FROM flown_from AS f
LEFT JOIN LATERAL TABLE(airlines_at(f.happened, f.carrier)) AS a ON TRUE
