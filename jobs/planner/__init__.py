"""What Flink's own planner is asked about a product."""
