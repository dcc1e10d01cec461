"""A job whose window finds every row late: `flink run -py late_rows.py`. No product can be so; the check refuses it."""

from __future__ import annotations

from pyflink.table import EnvironmentSettings, TableEnvironment

env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
env.get_config().set("pipeline.name", "late rows")
env.execute_sql("""
CREATE TABLE ticks (n INT, at_time AS CURRENT_ROW_TIMESTAMP(), WATERMARK FOR at_time AS at_time + INTERVAL '1' DAY)
WITH ('connector' = 'datagen', 'rows-per-second' = '50')""")
env.execute_sql("CREATE TABLE counts (ticks BIGINT) WITH ('connector' = 'blackhole')")
env.execute_sql("""
INSERT INTO counts SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE ticks, DESCRIPTOR(at_time), INTERVAL '1' SECOND))
GROUP BY window_start, window_end""")
