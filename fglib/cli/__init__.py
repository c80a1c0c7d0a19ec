"""The `fglib` command: doctor, data, train, verify, tune, chapter, claims, book; one file per group.

Exit codes: 0 done, 1 failed (one sentence says why), 2 the command itself is wrong, 3 another process is training it.
"""

import os
import sys

from fglib.cli import book, setup, train
from fglib.cli.shared import app
from fglib.errors import FglibError
from fglib.stops import catch, end_with_parent


def main() -> None:
    """Entry point: turns errors that a user can mend into one sentence and an exit code."""
    # read by CUDA when its first kernel starts; without it cuBLAS sums in any order
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of few characters is no reason to stop
    catch()
    if os.environ.pop("FGLIB_PARENT", None) == "stdin":
        end_with_parent()
    try:
        app()
    except FglibError as e:
        print(f"fglib: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


__all__ = ["app", "book", "main", "setup", "train"]
