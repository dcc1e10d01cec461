"""Tests of a product's SQL: given these events, expect these rows."""
