SELECT visitor, view_id, viewed_at, PARSE_URL(url, 'PATH') AS path, PARSE_URL(referrer, 'HOST') AS came_from,
       utm.campaign AS campaign
FROM page_views
