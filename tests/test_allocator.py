"""Freed memory stays in the process: the next block of the same size brings no new pages."""

import subprocess
import sys
import textwrap

import pytest

from fglib.allocator import keep_freed_memory

FAULTS = textwrap.dedent(
    """
    import resource, sys
    from fglib.allocator import keep_freed_memory

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
