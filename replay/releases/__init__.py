"""Releases: what computes a product's rows, archived under a name that its content gives it."""
