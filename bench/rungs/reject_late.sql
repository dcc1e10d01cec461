SELECT flight_date, sched_dep_time, dep_delay, arr_time, arr_delay, carrier, flight, tailnum, origin, dest,
       air_time, distance, dep_time, CAST(happened AS TIMESTAMP_LTZ(3)) AS happened, log_partition, log_offset, CAST(log_appended AS TIMESTAMP_LTZ(3)) AS log_appended
FROM flights
