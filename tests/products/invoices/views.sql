-- Each line of each invoice that counts. A line is what it is and where it stands in the array.
CREATE VIEW all_lines AS
SELECT invoice_no, issued, line_no, article, quantity, price, price * quantity AS amount
FROM invoices CROSS JOIN UNNEST(lines) WITH ORDINALITY AS line (article, quantity, price, line_no)
WHERE NOT COALESCE(cancelled, FALSE);
