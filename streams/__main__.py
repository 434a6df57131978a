"""`python -m streams` is `dipper`."""

from streams.cli import main

main()
