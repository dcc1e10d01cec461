"""Avro and JSON values, apart from fastavro and Flink. Pure."""
