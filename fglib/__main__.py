"""`python -m fglib`, the same as the `fglib` command."""

from fglib.cli import main

main()
