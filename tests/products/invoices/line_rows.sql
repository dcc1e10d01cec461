SELECT invoice_no, line_no, issued, article, quantity, price, amount FROM all_lines
