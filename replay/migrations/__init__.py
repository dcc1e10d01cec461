"""Migrations of the controller's store, one module a version: `replay/store_upgrade.py` runs them."""
