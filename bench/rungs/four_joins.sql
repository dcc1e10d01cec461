SELECT f.flight_date, f.sched_dep_time, f.dep_delay, f.arr_time, f.arr_delay, f.carrier, f.flight, f.tailnum, f.origin, f.dest,
       f.air_time, f.distance, f.cancelled, CAST(f.happened AS TIMESTAMP_LTZ(3)) AS happened, f.log_partition, f.log_offset,
       a.name AS airline, p.`year` AS plane_year, p.manufacturer AS plane_manufacturer, p.model AS plane_model,
       p.seats AS plane_seats, d.name AS dest_name, d.tzone AS dest_time_zone,
       w.observed_at AS weather_observed_at, w.temp, w.wind_speed, w.precip, w.visib
FROM flights_once AS f
LEFT JOIN LATERAL TABLE(airlines_at(f.happened, f.carrier)) AS a ON TRUE
LEFT JOIN LATERAL TABLE(airports_at(f.happened, f.dest))    AS d ON TRUE
LEFT JOIN LATERAL TABLE(planes_at(f.happened, f.tailnum))   AS p ON TRUE
LEFT JOIN LATERAL TABLE(weather_at(f.happened, f.origin))   AS w ON TRUE
