"""Flink, from outside: its REST API, submissions, clusters, checkpoints, its planner."""
