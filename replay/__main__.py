"""`python -m replay` is `kappa`."""

from replay.cli.main import main

main()
