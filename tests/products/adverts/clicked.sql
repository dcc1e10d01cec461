SELECT click_id, impression_id, campaign, shown_at, clicked_at, TIMESTAMPDIFF(SECOND, shown_at, clicked_at) AS seconds
FROM attributed
