"""One process at a time on one training."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fglib.errors import FglibError

NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}  # from a file system without locks


@contextmanager
def alone(checkpoint: Path) -> Iterator[bool]:
    """Whether this process is now the only one that may write a checkpoint; held until the block ends.

    The operating system releases the lock when the process exits, even after a crash. The empty file beside the
    checkpoint stays: another process may be about to lock it. Where the file system has no locks, every process
    may write.
    """
    path = checkpoint.with_name(f".{checkpoint.name}.lock")
    lock = FileLock(path, fallback_to_soft=False)  # a soft lock would outlive a crash
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
        free = True
    except Timeout:
        free = False
    except OSError as e:
        if e.errno not in NO_LOCKS:
            raise FglibError(
                f"cannot write {path}: {e.strerror or e}; choose another folder for checkpoints (FGLIB_CHECKPOINTS)"
            ) from e
        free = True
    try:
        yield free
    finally:
        lock.release()
