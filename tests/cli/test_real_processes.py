"""What only a process of its own shows: exit codes, signals, what is imported."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from processes import HANG, ended, run

FGLIB = (sys.executable, "-m", "fglib")


def test_help_does_not_load_torch():
    script = "import sys, fglib.cli; print([m for m in ('torch', 'matplotlib', 'pandas') if m in sys.modules])"
    assert run(sys.executable, "-c", script).stdout.strip() == "[]"


@pytest.mark.parametrize(("paper", "code"), [("graft", 2), ("grafit", 0)])
def test_the_exit_code_is_that_of_the_process(folders, paper, code):
    done = run(*FGLIB, "claims", paper)
    assert done.returncode == code
    assert re.fullmatch(r"(fglib: unknown paper 'graft'.*\n)?", done.stderr) and bool(done.stderr) == bool(code)


def test_a_terminal_of_few_characters_gets_escapes(folders):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(*FGLIB, "claims", "grafit", env=os.environ | plain)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.isascii()


def test_ctrl_c_ends_in_one_sentence_and_keeps_what_is_recorded(fglib, folders):
    assert fglib("train", "digits", "--preset", "smoke", "--variants", "base")[0] == 0
    command = [*FGLIB, "train", "digits", "--set", "train.epochs=500", "--variants", "base_indi"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in iter(lambda: process.stderr.read(200), ""):
        if "step" in line:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    done = ended(process)
    assert done.returncode == 1
    assert (
        done.stderr.strip().splitlines()[-1].startswith("fglib: stopped by Ctrl-C; everything recorded so far is kept")
    )
    assert "Traceback" not in done.stderr
    records = [p.parent.name for p in (folders / "results").rglob("run.json")]
    assert len(records) == 1 and records[0].startswith("base.smoke")


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGKILL"])
def test_runs_side_by_side_end_with_the_command(grid, how):
    command = [*FGLIB, "train", str(grid), "--preset", "paper", "--jobs", "2"]
    command += ["--set", "train.epochs=100000", "--variants", "base,indi", "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    said, training = "", set()
    while len(training) < 2:
        line = process.stderr.readline()
        said += line
        training |= {word for word in ("base", "indi") if f"grid {word} seed 0: 0%" in line}
        assert line, said
    if how == "Ctrl-C":  # a terminal sends it to all of its processes
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(getattr(signal, how))
    said += ended(process).stderr  # all have closed their side: none is left
    assert "Traceback" not in said
    until = time.monotonic() + HANG
    while how == "SIGKILL" and len(list(grid.parent.rglob("*.safetensors"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)  # nobody has waited for the runs
    assert len(list(grid.parent.rglob("*.safetensors"))) == 2  # each wrote its checkpoint, before a minute was over
    if how == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith(f"fglib: stopped by {how}; everything recorded so far is kept")
