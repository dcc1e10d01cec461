CREATE TABLE orders (
  order_id      STRING,
  ordered_at    TIMESTAMP_LTZ(3),
  shop          STRING,
  cents         BIGINT,
  payload       BYTES,
  error         STRING,
  log_partition INT              METADATA FROM 'partition' VIRTUAL,
  log_offset    BIGINT           METADATA FROM 'offset'    VIRTUAL,
  appended      TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR ordered_at AS appended - INTERVAL '1' HOUR
) WITH ('topic' = 'orders');
