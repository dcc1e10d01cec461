"""The controller's memory, in SQLite or PostgreSQL."""
