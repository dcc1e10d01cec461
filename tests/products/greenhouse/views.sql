-- Flink has one OVER window in a SELECT, so each is a view.
CREATE VIEW risen AS
SELECT sensor, read_at, celsius, battery, log_partition, log_offset,
       celsius - LAG(celsius) OVER before_it AS rise,
       TIMESTAMPDIFF(SECOND, LAG(read_at) OVER before_it, read_at) AS seconds_since
FROM readings
WINDOW before_it AS (PARTITION BY sensor ORDER BY read_at);

CREATE VIEW averaged AS
SELECT *, AVG(celsius) OVER (PARTITION BY sensor ORDER BY read_at
                             RANGE BETWEEN INTERVAL '10' MINUTE PRECEDING AND CURRENT ROW) AS mean_of_10_min
FROM risen;
