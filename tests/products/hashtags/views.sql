-- A hashtag is counted once in a post, however it is written.
CREATE VIEW tags AS
SELECT post_id, posted_at, tag
FROM posts CROSS JOIN UNNEST(ARRAY_DISTINCT(REGEXP_EXTRACT_ALL(LOWER(text), '#[a-z0-9_]+', 0))) AS found (tag);

CREATE VIEW counted AS
SELECT window_start, window_end, tag, COUNT(*) AS posts
FROM TABLE(TUMBLE(TABLE tags, DESCRIPTOR(posted_at), INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, tag;
