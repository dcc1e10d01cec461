"""The `kappa` command: arguments, calls, and what is shown."""
