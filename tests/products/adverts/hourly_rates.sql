-- Impressions and clicks of one hour: both are counted first, and then what was counted is joined. Clicks of an hour
-- in which the campaign was not shown are in no row.
SELECT s.campaign, s.window_start AS `hour`, s.impressions, COALESCE(k.clicks, 0) AS clicks, s.cost_micros
FROM (
  SELECT window_start, window_end, campaign, COUNT(*) AS impressions, SUM(cost_micros) AS cost_micros
  FROM TABLE(TUMBLE(TABLE impressions, DESCRIPTOR(shown_at), INTERVAL '1' HOUR))
  GROUP BY window_start, window_end, campaign
) AS s
LEFT JOIN (
  SELECT window_start, window_end, campaign, COUNT(*) AS clicks
  FROM TABLE(TUMBLE(TABLE attributed, DESCRIPTOR(clicked_at), INTERVAL '1' HOUR))
  GROUP BY window_start, window_end, campaign
) AS k
ON s.window_start = k.window_start AND s.window_end = k.window_end AND s.campaign = k.campaign
