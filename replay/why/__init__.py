"""Which records of the log are behind a row of a table."""
