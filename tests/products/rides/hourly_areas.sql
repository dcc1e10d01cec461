SELECT area, window_start AS `hour`, COUNT(*) AS rides, SUM(cents) AS cents
FROM TABLE(TUMBLE((SELECT ride.area AS area, ride.cents AS cents, log_appended FROM decoded WHERE ride.ride_id IS NOT NULL),
                  DESCRIPTOR(log_appended), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, area
