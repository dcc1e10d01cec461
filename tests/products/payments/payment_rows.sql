SELECT payment_id, paid_at, status, currency, amount, fee, customer, customer.name AS customer_name, items,
       CARDINALITY(items) AS item_count, tags, tags['channel'] AS channel, payload, error, `order`
FROM payments
