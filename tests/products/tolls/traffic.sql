-- Every five minutes, of the quarter of an hour before.
SELECT gate, window_start AS began, window_end AS ended, COUNT(*) AS passages,
       COUNT(*) FILTER (WHERE axles > 2) AS lorries
FROM TABLE(HOP(TABLE passages, DESCRIPTOR(passed_at), INTERVAL '5' MINUTE, INTERVAL '15' MINUTE))
GROUP BY window_start, window_end, gate
