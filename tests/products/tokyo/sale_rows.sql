INSERT INTO sale_rows (sale_id, sold_at, log_partition, log_offset)
SELECT sale_id, sold_at, log_partition, log_offset FROM timely;
