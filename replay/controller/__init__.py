"""Observe, decide, act: the loop, and what it does."""
