SELECT order_id, ordered_at, shop, cents FROM orders
