"""Migrations of the controller's store, one module a version: `replay/store/upgrade.py` runs them."""
