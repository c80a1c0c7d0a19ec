"""The processor's name, the peak of memory, and freed memory that stays in the process."""

import resource
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from fglib import machine
from fglib.machine import keep_freed_memory, peak_memory, processor

FAULTS = textwrap.dedent(
    """
    import resource, sys
    from fglib.machine import keep_freed_memory

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bytearray(2**26)[::4096]  # 64 MB, 16,384 pages, each of them touched
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    print(keep_freed_memory(), faults() if faults() else 0)
    """
)


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is one of glibc")
def test_a_second_block_brings_no_new_pages():
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    assert kept == "True" and int(faults) < 100


def test_other_systems_are_left_as_they_are(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


def test_the_processor_has_a_name_on_every_system(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "CPUINFO", info)
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
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
    monkeypatch.setattr(machine, "STATUS", tmp_path / "status")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3000))
    assert peak_memory() == 3000 * unit
    (tmp_path / "status").write_text("VmPeak:\t9999 kB\n")  # a container may leave the line out
    assert peak_memory() == 3000 * unit
    (tmp_path / "status").write_text("VmPeak:\t9999 kB\nVmHWM:\t    2188 kB\nVmRSS:\t7 kB\n")
    assert peak_memory() == 2188 * 1024


def test_peak_memory_on_windows_is_that_of_the_working_set(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "STATUS", tmp_path / "status")
    monkeypatch.setattr(sys, "platform", "win32")
    memory = SimpleNamespace(peak_wset=123_456, rss=1)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: memory))
    assert peak_memory() == 123_456
