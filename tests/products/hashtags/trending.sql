SELECT window_start AS began, place, tag, posts
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY posts DESC, tag) AS place
  FROM counted
)
WHERE place <= 3
