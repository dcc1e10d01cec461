SELECT flight_date, sched_dep_time, dep_time, dep_delay, sched_arr_time, arr_time, arr_delay, carrier, flight, tailnum,
       origin, dest, air_time, distance, log_value, log_error, log_partition, log_offset, log_appended
FROM flights__log
