SELECT order_id, cents FROM order_rows WHERE cents < 0
