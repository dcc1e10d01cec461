SELECT invoice_no, issued_at, buyer.name AS buyer, buyer.addresses[1].city AS city, CARDINALITY(lines) AS line_count, lines
FROM invoices
