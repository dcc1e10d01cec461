CREATE VIEW sold AS
SELECT 'box office' AS seller, ticket, event, sold_at, price, kind, log_topic, log_partition, log_offset FROM box_office
UNION ALL
SELECT 'web', ticketNumber, event, created, price, CASE WHEN seat IS NULL THEN 'STANDING' ELSE 'SEAT' END,
       log_topic, log_partition, log_offset
FROM web_sales;
