"""Where a number comes from, on this system and on pretended ones."""

import resource
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from fglib import provenance as module
from fglib.provenance import peak_memory, processor, provenance, revision


def test_the_environment_names_the_revision_before_git_does(monkeypatch):
    monkeypatch.setenv("FGLIB_REVISION", "v1.2-image")
    assert revision() == provenance()["revision"] == "v1.2-image"
    monkeypatch.delenv("FGLIB_REVISION")
    assert revision() != "v1.2-image"


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")])
def test_without_git_or_a_checkout_there_is_no_revision(monkeypatch, error):
    def run(*args, **kwargs):
        raise error

    monkeypatch.delenv("FGLIB_REVISION", raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    assert revision() is None


def test_the_processor_has_a_name_on_every_system(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(module, "CPUINFO", info)
    monkeypatch.setattr(module.platform, "processor", lambda: "")
    monkeypatch.setattr(module.platform, "machine", lambda: "arm64")
    assert processor() == "arm64"
    info.write_text("processor: 0\nBogoMIPS: 50\n")  # Linux on ARM names no model
    assert processor() == "arm64"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\n")
    assert processor() == "Some CPU: 3 GHz"


def test_peak_memory_grows_by_what_is_taken():
    before = peak_memory()
    block = np.ones(before // 8 + 2**23)  # more than the process has ever held, and 64 MB
    assert block.nbytes <= peak_memory() < before + block.nbytes + 2**27


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("freebsd14", 1024), ("darwin", 1)])
def test_peak_memory_is_in_bytes_whatever_the_system_counts_in(monkeypatch, tmp_path, platform, unit):
    monkeypatch.setattr(module, "STATUS", tmp_path / "status")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3000))
    assert peak_memory() == 3000 * unit
    (tmp_path / "status").write_text("VmPeak:\t9999 kB\n")  # a container may leave the line out
    assert peak_memory() == 3000 * unit
    (tmp_path / "status").write_text("VmPeak:\t9999 kB\nVmHWM:\t    2188 kB\nVmRSS:\t7 kB\n")
    assert peak_memory() == 2188 * 1024


def test_peak_memory_on_windows_is_that_of_the_working_set(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "STATUS", tmp_path / "status")
    monkeypatch.setattr(sys, "platform", "win32")
    memory = SimpleNamespace(peak_wset=123_456, rss=1)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: memory))
    assert peak_memory() == 123_456
