INSERT INTO days (`day`, sales)
SELECT window_start, COUNT(*)
FROM TABLE(TUMBLE(TABLE timely, DESCRIPTOR(sold_at), INTERVAL '1' DAY))
GROUP BY window_start, window_end;
