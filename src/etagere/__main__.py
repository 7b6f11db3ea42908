"""`python -m etagere` is `etagere`."""

from etagere.cli import main

main()
