SELECT ride.ride_id, ride.area, ride.cents, ride.pooled, log_appended AS appended,
       CASE WHEN ride.ride_id IS NULL THEN payload END AS no_ride, log_partition, log_offset
FROM decoded
