SELECT article, CAST(window_start AS DATE) AS `day`, SUM(CAST(quantity AS BIGINT)) AS quantity, SUM(amount) AS amount,
       COUNT(DISTINCT invoice_no) AS invoices
FROM TABLE(TUMBLE(TABLE all_lines, DESCRIPTOR(issued), INTERVAL '1' DAY))
GROUP BY window_start, window_end, article
