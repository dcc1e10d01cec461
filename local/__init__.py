"""The embedded stack: Kafka, schema registry and Flink from pinned packages, on loopback."""
