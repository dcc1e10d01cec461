-- A flight left, or was cancelled; what never left never arrived, and nothing arrives before it left.
SELECT carrier, flight, flight_date, cancelled, departure_utc, arrival_utc
FROM departures
WHERE cancelled IS DISTINCT FROM (departure_utc IS NULL) OR (cancelled AND arrival_utc IS NOT NULL)
   OR arrival_utc <= departure_utc
