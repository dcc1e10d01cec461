"""`python -m replay` is `kappa`."""

from replay.cli import main

main()
