-- An hour's orders and cents are those of its rows, once a later hour's window has closed: rows are written before that.
WITH closed AS (SELECT max(hour) AS until FROM hourly_orders),
counted AS (
  SELECT shop, date_trunc('hour', ordered_at)::TIMESTAMP AS hour, count(*) AS orders, sum(cents) AS cents
  FROM order_rows, closed WHERE ordered_at::TIMESTAMP < until GROUP BY ALL
),
told AS (SELECT shop, hour, orders, cents FROM hourly_orders, closed WHERE hour < until)
SELECT shop, hour, counted.orders, told.orders AS hourly, counted.cents
FROM counted FULL JOIN told USING (shop, hour)
WHERE (counted.orders, counted.cents) IS DISTINCT FROM (told.orders, told.cents)
