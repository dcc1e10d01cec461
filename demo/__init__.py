"""The demo: every 2013 departure from New York, appended to a real log."""
