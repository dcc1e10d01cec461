SELECT sale_id, sold_at FROM sales
