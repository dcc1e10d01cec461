SELECT station, window_start AS `hour`, COUNT(*) AS sessions, SUM(watt_hours) AS watt_hours, SUM(cents) AS cents
FROM TABLE(TUMBLE(TABLE sessions, DESCRIPTOR(ended), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, station
