SELECT flight_date, sched_dep_time, dep_delay, arr_time, arr_delay, carrier, flight, tailnum, origin, dest,
       air_time, distance, cancelled, CAST(happened AS TIMESTAMP_LTZ(3)) AS happened, log_partition, log_offset
FROM flown_from
