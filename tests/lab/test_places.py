"""Files are written whole or not at all, whatever happens to the writer."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fglib.errors import ConfigError, FglibError
from fglib.lab.places import experiment_path
from fglib.storage import user_path, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def gone():
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "new" / "run.json", []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino) or fsync(fd))
    monkeypatch.setattr(Path, "replace", lambda self, to: synced.append("renamed") or replace(self, to))
    write_atomically(path, b"one")
    assert synced == [path.stat().st_ino, "renamed", path.parent.stat().st_ino]
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two" and names(path.parent) == ["run.json"]


@pytest.mark.parametrize("at", ["write", "rename"])
@pytest.mark.parametrize(
    ("error", "seen", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), FglibError, "cannot write .*run.json: No space left.*free"),
        (OSError(errno.EROFS, "Read-only file system"), FglibError, "Read-only file system.*FGLIB_RESULTS"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_a_write_that_is_cut_short_leaves_the_old_file_alone(tmp_path, monkeypatch, at, error, seen, message):
    path = tmp_path / "run.json"
    write_atomically(path, b"old")

    def fail(*args):
        raise error

    monkeypatch.setattr(*((os, "fsync") if at == "write" else (Path, "replace")), fail)
    with pytest.raises(seen, match=message):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and names(tmp_path) == ["run.json"]


def test_a_system_that_opens_no_folders_still_writes(tmp_path, monkeypatch):
    def refuse(*args):
        raise PermissionError(errno.EACCES, "a folder")

    monkeypatch.setattr(os, "open", refuse)
    write_atomically(tmp_path / "run.json", b"whole")
    assert (tmp_path / "run.json").read_bytes() == b"whole"


def test_temporary_files_of_killed_processes_go_away_and_those_of_others_stay(tmp_path):
    path = tmp_path / "run[1].json"  # no pattern
    dead, alive = gone(), os.getppid()
    left = [f".run[1].json.{dead}.tmp", f".run[1].json.{os.getpid()}.tmp"]
    kept = [
        f".run[1].json.{alive}.tmp",
        f".run1.json.{dead}.tmp",
        f".run[1].json.{dead}.tmp.bak",
        f"run[1].json.{dead}.tmp",
        ".run[1].json.99999999999999999999.tmp",
        ".run[1].json.mine.tmp",
    ]
    for name in (*left, *kept):
        (tmp_path / name).write_text("half")
    write_atomically(path, b"whole")
    assert names(tmp_path) == sorted([*kept, path.name]) and path.read_bytes() == b"whole"


def test_two_processes_that_write_one_file_leave_it_whole(tmp_path):
    path = tmp_path / "run.json"
    script = """
import sys
from pathlib import Path
from fglib.storage import write_atomically
for _ in range(100):
    write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), letter]) for letter in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    data = path.read_bytes()
    assert len(data) == 100_000 and len(set(data)) == 1 and names(tmp_path) == ["run.json"]


def test_a_home_folder_of_nobody_is_no_place(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/a") == tmp_path / "a" and user_path("a") == Path("a")
    assert user_path("~nobody-of-that-name/a") == Path("~nobody-of-that-name/a")
    with pytest.raises(ConfigError, match="no experiment file at .*~nobody-of-that-name/a.yml"):
        experiment_path("~nobody-of-that-name/a.yml")
