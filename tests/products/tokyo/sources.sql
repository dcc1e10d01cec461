CREATE TABLE sales (
  sale_id       STRING,
  sold_at       TIMESTAMP_LTZ(3),
  payload       BYTES,
  error         STRING,
  log_partition INT              METADATA FROM 'partition' VIRTUAL,
  log_offset    BIGINT           METADATA FROM 'offset'    VIRTUAL,
  appended      TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR sold_at AS appended - INTERVAL '1' HOUR
) WITH ('topic' = 'sales');
CREATE VIEW timely AS
SELECT * FROM sales WHERE error IS NULL AND payload IS NOT NULL AND sold_at >= appended - INTERVAL '1' HOUR;
