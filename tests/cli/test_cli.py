"""The command line as a user meets it: help with an example, exit codes, one sentence for what went wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fglib import cli, parallel, pending, runs
from fglib.errors import FglibError
from fglib.lock import alone
from fglib.paths import BOOK

COMMANDS = ("doctor", "data", "train", "run", "claims", "book")


@pytest.fixture
def fglib(tmp_path):
    """fglib(*arguments) -> (exit code, stdout, stderr), with records, checkpoints and data in a fresh folder."""
    env = os.environ | {
        "FGLIB_RESULTS": str(tmp_path / "results"),
        "FGLIB_CHECKPOINTS": str(tmp_path / "checkpoints"),
        "FGLIB_DATA": str(tmp_path / "data"),
        "OMP_NUM_THREADS": "1",
    }

    def run(*arguments, **more):
        command = [sys.executable, "-m", "fglib", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=env | more, cwd=tmp_path, timeout=120)
        return done.returncode, done.stdout, done.stderr

    run.env = env
    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(fglib, command):
    code, out, _ = fglib(command, "--help")
    assert code == 0 and f"Example: fglib {command}" in out


def test_help_does_not_load_torch():
    script = "import sys, fglib.cli; print([m for m in ('torch', 'matplotlib', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_lists_what_is_missing_and_how_to_get_it(fglib, tmp_path):
    code, out, _ = fglib("data")
    assert code == 0 and "cifar100" in out and str(tmp_path / "data") in out
    code, out, _ = fglib("data", "omniglot", "--json")
    (row,) = json.loads(out)
    assert code == 0 and row["name"] == "omniglot" and not row["found"] and row["how"]


def test_train_records_then_has_nothing_to_do(fglib, tmp_path):
    code, out, err = fglib("train", "digits", "--preset", "smoke", "--variants", "base")
    assert code == 0, err
    assert "recorded  base.smoke.s0" in out and "fine_r1" in out
    assert "step" in err  # progress
    code, out, _ = fglib("train", "digits", "--preset", "smoke", "--json")
    rows = json.loads(out)
    assert code == 0 and [r["recorded"] for r in rows] == [True, True]
    code, out, err = fglib("train", "digits", "--preset", "smoke")
    assert code == 0 and err == ""


def test_dry_run_trains_nothing(fglib, tmp_path):
    code, out, _ = fglib("train", "digits", "--dry-run", "--set", "train.epochs=3")
    assert code == 0 and out.count("missing") == 2 and not (tmp_path / "results").exists()


def test_set_reaches_keys_of_any_depth(fglib):
    dry = ("train", "digits", "--dry-run", "--variants", "base_indi")
    _, plain, _ = fglib(*dry)
    code, changed, err = fglib(*dry, "--set", "method.options.lambda_i=0.5")
    assert code == 0, err
    assert changed.count("missing") == 1 and changed != plain


def test_max_minutes_stops_cleanly_and_the_same_command_goes_on(fglib):
    again = ("train", "digits", "--preset", "smoke", "--variants", "base")
    code, out, err = fglib(*again, "--max-minutes", "0")
    assert code == 0 and "out of time, checkpointed" in err and "missing" in out
    code, out, _ = fglib(*again)
    assert code == 0 and "recorded  base.smoke" in out


def test_pending_trains_what_has_no_record_and_names_the_data_that_is_not_there(fglib):
    everything = ("train", "--pending", "--preset", "cpu")
    code, out, err = fglib(*everything, "--dry-run")
    assert code == 0 and "runs wait for data set 'omniglot'; `fglib data omniglot`" in err
    assert "missing   parts/plain.cpu.s0" in out and "omniglot/" not in out
    code, out, err = fglib("train", "--pending", "--preset", "smoke", "--max-minutes", "0")
    assert code == 0 and err.count("out of time, checkpointed") == 1


def test_a_run_that_fails_does_not_stop_the_others(fglib, tmp_path):
    started = []

    def train_plan(plan, **how):
        started.append(plan.name)
        if len(started) == 1:
            raise FglibError("no weights")
        return True

    with pytest.MonkeyPatch.context() as patch:
        for name in ("FGLIB_RESULTS", "FGLIB_DATA"):
            patch.setenv(name, str(tmp_path / name))
        patch.setattr(parallel, "train_plan", train_plan)
        with pytest.raises(FglibError, match="1 of the runs failed"):
            cli.train(preset="smoke", all_pending=True)
    assert len(started) > 50


GRID = """
title: A tiny grid
question: Does the machinery work?
chapter: 00_quickstart
common:
  data: {name: nested_patches, coarse: big, fine: small, size: 16, options: {classes: 3, children: 2, images: 24}}
  model: {backbone: small_resnet, width: 4, blocks: [1]}
  measure: [accuracy]
variants:
  base: {method: {name: base}}
  broken: {method: {name: base}, train: {amp: fp16}}
  indi: {method: {name: base_indi}}
presets:
  paper: {hardware: one GPU, seeds: [0], train: {epochs: 3, batch_size: 12, lr: 0.05}}
"""


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A queue of one experiment, which is all there is; its plans."""
    for name in ("results", "checkpoints"):
        monkeypatch.setenv(f"FGLIB_{name.upper()}", str(tmp_path / name))
    (tmp_path / "grid.yml").write_text(GRID)
    (tmp_path / "queue.yml").write_text(f"- {{experiment: {tmp_path / 'grid.yml'}}}\n")
    monkeypatch.setattr(pending, "QUEUE", tmp_path / "queue.yml")
    monkeypatch.setattr(pending, "experiment_files", list)
    return runs.plans(str(tmp_path / "grid.yml"), "paper")


@pytest.mark.parametrize("jobs", [1, 2])
def test_pending_paper_runs_stop_in_time_go_on_and_finish_whatever_fails(grid, capsys, jobs):
    base, broken, indi = grid
    everything = {"preset": "paper", "device": "cpu", "all_pending": True}
    cli.train(**everything, max_minutes=0.0)
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == f"grid/{base.name}: out of time, checkpointed: run the same command to go on"
    assert said.out.count("missing   grid/") == 3 and base.checkpoint.is_file() and not indi.checkpoint.exists()
    with pytest.raises(FglibError, match="1 of the runs failed"):
        cli.train(**everything, jobs=jobs)
    said = capsys.readouterr()
    assert f"grid/{base.name}: recorded" in said.err and f"grid/{indi.name}: recorded" in said.err
    assert f"grid/{broken.name}: unknown train.amp 'fp16'" in said.err
    assert said.out.startswith(f"recorded  grid/{base.name}  coarse_top1") and "missing   grid/broken" in said.out
    assert [len(p.load().history) for p in (base, indi)] == [3, 3]


def test_a_run_that_another_shell_trains_is_left_to_it(grid, tmp_path, capsys):
    base, _, indi = grid
    with alone(base.checkpoint) as free:
        assert free
        cli.train(str(tmp_path / "grid.yml"), preset="paper", variants="base,indi", device="cpu")
    said = capsys.readouterr()
    assert f"{base.name}: another process trains grid/{base.name}; left to that one" in said.err
    assert f"{indi.name}: recorded" in said.err and not base.checkpoint.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "digits", "--pending"), 2, "name an experiment, .* or ask for --pending"),
        (("train", "--pending", "--seeds", "0"), 2, "--pending takes runs as they stand"),
        (("train", "--pending", "--preset", "papre"), 2, "unknown preset 'papre'"),
        (("train", "omniglott"), 2, "unknown experiment 'omniglott'.*did you mean 'omniglot'"),
        (("train", "digits", "--preset", "papre"), 2, "unknown preset 'papre'"),
        (("train", "digits", "--variants", "bass"), 2, "unknown variant 'bass'.*did you mean 'base'"),
        (("train", "digits", "--seeds", "a"), 2, "--seeds must be whole numbers"),
        (("train", "digits", "--set", "method.name=bass"), 2, "unknown method 'bass'.*did you mean 'base'"),
        (("train", "digits", "--set", "train.epoch=1"), 2, "did you mean 'epochs'"),
        (("train", "digits", "--set", "epochs"), 2, "not of the form name=value"),
        (("train",), 2, "name an experiment"),
        (("train", "omniglot"), 1, "omniglot.*FGLIB_DATA|omniglot"),
        (("train", "digits", "--device", "cuda"), 1, "no CUDA device"),
        (("train", "digits", "--device", "gpu"), 1, "unknown device 'gpu'"),
        (("data", "cifar10"), 2, "did you mean 'cifar100'"),
        (("data", "--download"), 2, "--download needs the name"),
        (("run", "11_coarse"), 2, "unknown chapter '11_coarse'.*did you mean '11_coarse_to_fine'"),
        (("run", "11", "-p", "sed=1"), 2, "unknown parameter 'sed'.*did you mean 'seeds'"),
        (("run", "11", "--preset", "papre"), 1, "unknown preset 'papre'.*did you mean 'paper'"),
        (("claims", "graft"), 2, "did you mean 'grafit'"),
    ],
)
def test_mistakes_end_in_one_sentence(fglib, arguments, code, message):
    import re

    import torch

    if "no CUDA device" in message and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    got, out, err = fglib(*arguments)
    last = err.strip().splitlines()[-1]
    assert got == code and re.search(message, last), (got, err)
    assert last.startswith("fglib: ") and "Traceback" not in err


def test_an_unknown_command_or_option_is_a_usage_error(fglib):
    assert fglib("trian")[0] == 2
    assert fglib("train", "digits", "--epochs", "3")[0] == 2
    assert fglib("train", "digits", "--jobs", "0")[0] == 2


def test_ctrl_c_ends_in_one_sentence_and_keeps_what_is_recorded(fglib, tmp_path):
    assert fglib("train", "digits", "--preset", "smoke", "--variants", "base")[0] == 0
    command = [sys.executable, "-m", "fglib", "train", "digits", "--set", "train.epochs=500", "--variants", "base_indi"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=fglib.env)
    for line in iter(lambda: process.stderr.read(200), ""):
        if "step" in line:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.strip().splitlines()[-1].startswith("fglib: stopped by Ctrl-C; everything recorded so far is kept")
    assert "Traceback" not in err
    records = [p.parent.name for p in (tmp_path / "results").rglob("run.json")]
    assert len(records) == 1 and records[0].startswith("base.smoke")


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGKILL"])
def test_runs_side_by_side_end_with_the_command(fglib, tmp_path, how):
    (tmp_path / "grid.yml").write_text(GRID)
    command = [sys.executable, "-m", "fglib", "train", str(tmp_path / "grid.yml"), "--preset", "paper", "--jobs", "2"]
    command += ["--set", "train.epochs=100000", "--variants", "base,indi", "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=fglib.env, start_new_session=True)
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
    said += process.communicate(timeout=60)[1]  # all have closed their side: none is left
    assert "Traceback" not in said
    if how == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith(f"fglib: stopped by {how}; everything recorded so far is kept")


def test_run_executes_a_chapter_through_papermill(fglib, tmp_path):
    out = tmp_path / "quick.ipynb"
    code, said, err = fglib("run", "00", "--preset", "smoke", "-p", "seeds=[0]", "-o", str(out))
    assert code == 0, err
    assert said.strip() == str(out)
    cells = json.loads(out.read_text())["cells"]
    assert any("seeds = [0]" in "".join(c["source"]) for c in cells)
    assert len(list((tmp_path / "results" / "digits").glob("*.smoke.s0.*"))) == 2


def test_doctor_examines_and_speaks_json(fglib):
    code, out, _ = fglib("doctor", "--json")
    findings = json.loads(out)
    assert code == 0 and {"python", "torch", "GPU"} <= {f["what"] for f in findings}
    code, out, _ = fglib("doctor")
    assert code == 0 and "records omniglot" in out


def test_the_book_has_what_the_commands_name():
    assert (BOOK / "claims.yml").is_file() and Path(BOOK / "experiments").is_dir()
