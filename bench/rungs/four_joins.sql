SELECT flight_date, sched_dep_time, dep_delay, arr_time, arr_delay, carrier, flight, tailnum, origin, dest,
       air_time, distance, cancelled, CAST(happened AS TIMESTAMP_LTZ(3)) AS happened, log_partition, log_offset,
       airline, plane_year, plane_manufacturer, plane_model, plane_seats, dest_name, dest_time_zone,
       weather_observed_at, temp, wind_speed, precip, visib
FROM departed
