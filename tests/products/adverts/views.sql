CREATE VIEW attributed AS
SELECT c.click_id, c.clicked_at, i.impression_id, i.campaign, i.shown_at
FROM clicks AS c
JOIN impressions AS i ON c.impression_id = i.impression_id
 AND c.clicked_at BETWEEN i.shown_at AND i.shown_at + INTERVAL '1' HOUR;
