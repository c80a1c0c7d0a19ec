"""The right to write a checkpoint: one process has it, and a dead one never."""

import errno
import signal
import subprocess
import sys

import filelock
import pytest

from fglib.errors import FglibError
from fglib.lab.lock import alone


def test_one_at_a_time_and_free_again(tmp_path):
    path = tmp_path / "new" / "run.safetensors"
    with alone(path) as first, alone(path) as second, alone(tmp_path / "other.safetensors") as other:
        assert (first, second, other) == (True, False, True)
    with pytest.raises(KeyboardInterrupt), alone(path):
        raise KeyboardInterrupt
    with alone(path) as again:
        assert again
    assert not path.exists()


def test_the_lock_of_a_killed_process_is_no_lock(tmp_path):
    path = tmp_path / "run.safetensors"
    script = f"""
import time
from pathlib import Path
from fglib.lab.lock import alone
with alone(Path({str(path)!r})) as free:
    print(free, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        with alone(path) as free:
            assert not free
        process.send_signal(signal.SIGKILL)
        process.wait()
    with alone(path) as free:
        assert free


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FglibError, match=r"cannot write .*file.*FGLIB_CHECKPOINTS"), alone(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_stops_no_training(tmp_path, monkeypatch, code):
    def lock(fd):
        raise OSError(code, "no locks here")

    monkeypatch.setattr("filelock._unix.lock_fd_nonblocking", lock)
    with alone(tmp_path / "run") as free, alone(tmp_path / "run") as again:
        assert free and again


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_lock_that_cannot_be_made_is_one_sentence(tmp_path, monkeypatch, code):
    def acquire(self, **how):
        raise OSError(code, "the reason")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    path = tmp_path / "run"
    with pytest.raises(FglibError, match=r"cannot write .*\.run\.lock: the reason; choose another"), alone(path):
        pass


def test_no_module_of_one_system_alone_is_imported():
    """`fcntl` and `resource` are missing on Windows; here they are made to be."""
    script = """
import sys
sys.modules |= {"fcntl": None, "resource": None}
import fglib.cli, fglib.lab.lock, fglib.lab.workers, fglib.lab.run
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
