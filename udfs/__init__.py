"""Python functions for SQL: pure, typed, tested without Flink."""
