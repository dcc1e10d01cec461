-- An hour's orders and cents are those of its rows, once a row of a later hour is there.
WITH closed AS (SELECT max(date_trunc('hour', ordered_at)) AS until FROM order_rows),
counted AS (
  SELECT shop, date_trunc('hour', ordered_at)::TIMESTAMP AS hour, count(*) AS orders, sum(cents) AS cents
  FROM order_rows, closed WHERE ordered_at < until GROUP BY ALL
),
told AS (SELECT shop, hour, orders, cents FROM hourly_orders, closed WHERE hour < until::TIMESTAMP)
SELECT shop, hour, counted.orders, told.orders AS hourly, counted.cents
FROM counted FULL JOIN told USING (shop, hour)
WHERE (counted.orders, counted.cents) IS DISTINCT FROM (told.orders, told.cents)
