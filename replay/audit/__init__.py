"""What became of every record of the log."""
