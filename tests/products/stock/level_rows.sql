-- Each level beside the one before it, so that a reader finds changes, and when each began, without a join.
SELECT warehouse, sku, counted_at, pieces, COALESCE(reserved, 0) AS reserved,
       LAG(pieces) OVER (PARTITION BY warehouse, sku ORDER BY counted_at) AS pieces_before
FROM levels
