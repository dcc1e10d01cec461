"""The log: topics, records, positions, and the schemas of the registry."""
