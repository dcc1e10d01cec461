"""Comparing the tables of two attempts, row by row."""
