"""The replay-safety check: what is refused before a job starts, and what to write instead. Pure."""
