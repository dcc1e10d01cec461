"""The tables: branches, checkpoints, commits, files, catalogs."""
