"""One process at a time on one training."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fglib.errors import FglibError


@contextmanager
def alone(checkpoint: Path) -> Iterator[bool]:
    """Whether this process is now the only one that may write a checkpoint; held until the block ends.

    The system frees the lock when its process ends, in whatever way: none is ever left behind. The empty file
    beside the checkpoint stays, as another process may be about to lock it.
    """
    path = checkpoint.with_name(f".{checkpoint.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as e:
        raise FglibError(
            f"cannot write {path}: {e.strerror or e}; choose another folder for checkpoints (FGLIB_CHECKPOINTS)"
        ) from e
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        except OSError:  # a file system that knows no locks
            free = True
        yield free
