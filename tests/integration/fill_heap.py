"""A job whose state outgrows any heap: `flink run -py fill_heap.py`."""

from pyflink.table import EnvironmentSettings, TableEnvironment

environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
environment.execute_sql(
    "CREATE TABLE words (word STRING) WITH ('connector' = 'datagen', 'fields.word.length' = '100000')"
)
environment.execute_sql("CREATE TABLE nowhere (words BIGINT) WITH ('connector' = 'blackhole')")
environment.execute_sql("INSERT INTO nowhere SELECT COUNT(DISTINCT word) FROM words")
