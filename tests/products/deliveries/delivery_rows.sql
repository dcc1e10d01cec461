SELECT d.delivery_id, d.delivered_at, d.customer_id, d.parcels,
       c.`after`.name AS customer, c.`after`.city AS city, c.`after`.tier AS tier, c.op = 'd' AS was_deleted
FROM deliveries AS d
LEFT JOIN LATERAL TABLE(customers_at(d.delivered_at, d.customer_id)) AS c ON TRUE
