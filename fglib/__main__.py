"""The `fglib` command; `python -m fglib` is the same."""

import sys

from fglib.stops import leave


def main() -> None:
    """Run the command. Its modules load here, so that Ctrl-C while they do ends in a sentence too."""
    try:
        try:
            from fglib import cli

            cli.main()
        finally:
            leave()
    except KeyboardInterrupt:
        sys.exit("fglib: stopped by Ctrl-C; everything recorded so far is kept")


if __name__ == "__main__":
    main()
