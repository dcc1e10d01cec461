-- What the job reads. Every table ends with the record's bytes and, where they could not be decoded, the reason.
-- The watermark is the log's own clock less the allowed lateness: what is late is a property of the record. Of flights,
-- which are read once (product.yaml), the source sees to it.

CREATE TABLE flights (
  flight_date    DATE,
  sched_dep_time INT,        -- HHMM on New York's clock
  dep_time       INT,        -- HHMM, null when cancelled; says nothing of the date
  dep_delay      INT,        -- minutes
  sched_arr_time INT,
  arr_time       INT,
  arr_delay      INT,
  carrier        STRING,
  flight         INT,
  tailnum        STRING,
  origin         STRING,
  dest           STRING,
  air_time       INT,
  distance       INT,
  payload        BYTES,
  error          STRING,
  log_partition  INT              METADATA FROM 'partition' VIRTUAL,
  log_offset     BIGINT           METADATA FROM 'offset'    VIRTUAL,
  appended       TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  -- When it left, or should have: the scheduled time plus the delay. (Date plus dep_time would be a day early after midnight.)
  happened AS CAST(TIMESTAMPADD(MINUTE, sched_dep_time / 100 * 60 + MOD(sched_dep_time, 100), CAST(flight_date AS TIMESTAMP(3))) AS TIMESTAMP_LTZ(3))
              + COALESCE(dep_delay, 0) * INTERVAL '1' MINUTE,
  WATERMARK FOR happened AS happened   -- once: the source puts events in order of time
) WITH ('topic' = 'flights');

CREATE TABLE weather (
  origin      STRING,
  observed_at TIMESTAMP_LTZ(3),
  temp        DOUBLE,
  wind_speed  DOUBLE,
  precip      DOUBLE,
  visib       DOUBLE,
  payload     BYTES,
  error       STRING,
  log_partition INT              METADATA FROM 'partition' VIRTUAL,
  log_offset    BIGINT           METADATA FROM 'offset'    VIRTUAL,
  appended      TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR observed_at AS appended - INTERVAL '1' HOUR
) WITH ('topic' = 'weather');

CREATE TABLE airlines (
  carrier STRING,
  name    STRING,
  payload BYTES,
  error   STRING,
  log_partition INT              METADATA FROM 'partition' VIRTUAL,
  log_offset    BIGINT           METADATA FROM 'offset'    VIRTUAL,
  appended      TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR appended AS appended
) WITH ('topic' = 'airlines');

CREATE TABLE airports (
  faa     STRING,
  name    STRING,
  tzone   STRING,
  payload BYTES,
  error   STRING,
  log_partition INT              METADATA FROM 'partition' VIRTUAL,
  log_offset    BIGINT           METADATA FROM 'offset'    VIRTUAL,
  appended      TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR appended AS appended
) WITH ('topic' = 'airports');

CREATE TABLE planes (
  tailnum      STRING,
  `year`       INT,
  manufacturer STRING,
  model        STRING,
  seats        INT,
  payload      BYTES,
  error        STRING,
  log_partition INT              METADATA FROM 'partition' VIRTUAL,
  log_offset    BIGINT           METADATA FROM 'offset'    VIRTUAL,
  appended      TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR appended AS appended
) WITH ('topic' = 'planes');
