"""The right to write a checkpoint: one process has it, and a dead one never."""

import signal
import subprocess
import sys

import pytest

from fglib.errors import FglibError
from fglib.lock import alone


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
from fglib.lock import alone
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
