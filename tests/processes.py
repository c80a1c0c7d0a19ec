"""Processes that tests start: one generous time limit, which only guards against a hang."""

import shlex
import subprocess

import pytest

HANG = 1800  # seconds: no test may fail because a machine is slow or busy


def run(*command: str, **how) -> subprocess.CompletedProcess:
    """Run a command to its end, output captured as text."""
    return ended(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how))


def ended(process: subprocess.Popen) -> subprocess.CompletedProcess:
    """Wait for a process that was started with pipes and text; fails the test when it hangs, and says what did."""
    try:
        out, err = process.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        said = (out or "")[-2000:] + (err or "")[-2000:]
        pytest.fail(f"hung for {HANG} s: {shlex.join(process.args)}\nit said:\n{said}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
