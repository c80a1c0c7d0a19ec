"""Runs side by side: each once, what others start from first, stopped in time, errors by name."""

import contextlib
import io
import json
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from fglib import lab
from fglib.cli.shared import overrides
from fglib.errors import BusyError, FglibError
from fglib.lab import workers
from fglib.lab.lock import alone
from fglib.lab.plan import flat
from fglib.lab.workers import train_all, train_plan

YAML = """
title: A tiny grid
question: Does the machinery work?
chapter: 00_quickstart
common:
  data: {{name: nested_patches, coarse: big, fine: small, size: 16, options: {{classes: 3, children: 2, images: 24}}}}
  model: {{backbone: small_resnet, width: 4, blocks: [1]}}
  measure: [accuracy]
variants:
  base: {{method: {{name: base}}}}
  later: {{method: {{name: base}}, start: {{experiment: {path}, variant: base}}}}
  last: {{method: {{name: base}}, start: {{experiment: {path}, variant: later}}}}
  broken: {{method: {{name: bass}}}}
  fine: {{method: {{name: fine}}, use_fine: true}}
presets:
  cpu: {{hardware: two cores, seeds: [0], train: {{epochs: 2, batch_size: 12, lr: 0.05}}}}
"""


@pytest.fixture
def plans(tmp_path, monkeypatch):
    """plans(*variants, epochs=...) of a tiny experiment."""
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / "checkpoints"))
    path = tmp_path / "tiny.yml"
    path.write_text(YAML.format(path=path))
    return lambda *variants, **train: lab.plans(str(path), "cpu", variants=variants, overrides={"train": train})


def short(ended):
    return {plan.variant: str(outcome) if isinstance(outcome, FglibError) else outcome for plan, outcome in ended}


def test_what_a_run_writes_is_its_own_and_what_it_starts_from_until_that_is_trained(plans):
    base, later, last = plans("base", "later", "last")
    assert [p.variant for p in last.starts] == ["later", "base"] and base.starts == []
    assert last.writes == [last.checkpoint, later.checkpoint, base.checkpoint]
    assert short(train_all([base], device="cpu", deadline=0.0)) == {"base": False}
    assert not base.trained and later.writes == [later.checkpoint, base.checkpoint]
    assert short(train_all([base], device="cpu")) == {"base": True}
    assert base.trained and later.writes == [later.checkpoint]
    base.checkpoint.write_bytes(base.checkpoint.read_bytes()[:100])
    assert not base.trained


def test_a_run_is_left_to_the_process_that_trains_it_or_what_it_starts_from(plans):
    base, later = plans("base", "later")
    with alone(base.checkpoint):
        for plan in (base, later):
            with pytest.raises(BusyError, match=f"another process trains tiny/{base.name}; left to that one"):
                train_plan(plan, device="cpu")
    assert not base.checkpoint.exists()
    assert train_plan(base, device="cpu")
    with alone(base.checkpoint):  # which is trained: no one writes it any more
        assert train_plan(later, device="cpu")


def test_what_another_process_has_recorded_meanwhile_is_not_trained_again(plans):
    (base,) = plans("base")
    assert train_plan(base, device="cpu")
    base.checkpoint.unlink()
    assert train_plan(base, device="cpu") and not base.checkpoint.exists()
    assert train_plan(base, device="cpu", refresh=True) and base.checkpoint.exists()


def test_in_turn_an_error_is_an_outcome_and_the_others_go_on(plans):
    ended = short(train_all(plans("broken", "base"), device="cpu"))
    assert "unknown method 'bass'" in ended["broken"] and ended["base"] is True
    assert list(train_all(plans("base"), device="cpu")) == []
    assert short(train_all(plans("base"), device="cpu", refresh=True)) == {"base": True}


def test_side_by_side_each_is_trained_once_and_what_others_start_from_first(plans, capfd):
    wanted = plans("base", "later", "broken")
    ended = list(train_all(wanted, 2, device="cpu"))
    found = short(ended)
    # without order, `later` would find `base` in training elsewhere
    assert found["base"] is True and found["later"] is True and "unknown method 'bass'" in found["broken"]
    assert list(found).index("base") < list(found).index("later")
    assert {p.load().provenance["threads"] for p in wanted[:2]} == {max(1, torch.get_num_threads() // 2)}
    said = capfd.readouterr().err
    assert "[1/3] tiny base seed 0: 100% 4/4" in said and "\r" not in said and "Traceback" not in said


def test_side_by_side_stops_in_time_and_starts_nothing_afterwards(plans):
    wanted = plans("base", "fine", "broken", epochs=100_000)
    assert list(train_all(wanted, 2, device="cpu", deadline=time.monotonic() - 1)) == []
    # the third would fail
    assert short(train_all(wanted, 2, device="cpu", deadline=time.monotonic() + 4)) == {"base": False, "fine": False}
    assert all(p.checkpoint.is_file() and not p.recorded for p in wanted[:2])


SLOW = "lambda number, frame: time.sleep(0.3) or os._exit(7)"
DEAF = "signal.SIG_IGN"


@pytest.fixture
def worker():
    """worker(handler) -> a process that is at work, with this handler of SIGTERM."""
    started = []

    def start(handler):
        lines = (
            "import os, signal, time",
            f"signal.signal(signal.SIGTERM, {handler})",
            "print('ready', flush=True)",
            "time.sleep(60)",
        )
        process = subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_is_stopped_has_its_time_and_no_more(worker, monkeypatch):
    slow, deaf = worker(SLOW), worker(DEAF)
    workers._end([slow])
    assert slow.returncode == 7
    monkeypatch.setattr(workers, "PATIENCE", 0.2)
    workers._end([deaf])
    assert deaf.returncode == -signal.SIGKILL


def test_a_second_ctrl_c_waits_for_no_one(worker):
    deaf, started = worker(DEAF), time.monotonic()
    again = threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    again.start()
    with pytest.raises(KeyboardInterrupt):
        workers._end([deaf])
    assert deaf.returncode == -signal.SIGKILL and time.monotonic() - started < workers.PATIENCE / 2
    again.join()


def follow(plan, code):
    """The outcome of a run whose process does this."""
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    return workers._follow(subprocess.Popen([sys.executable, "-c", code], **pipes), plan, "[1/2] ", refresh=False)


def test_the_exit_code_is_the_outcome(plans, capsys):
    (base,) = plans("base")
    outcome = follow(base, "import os; os._exit(7)")
    assert isinstance(outcome, FglibError) and "ended with code 7" in str(outcome)
    assert follow(base, "pass") is False  # out of time: it is not recorded
    assert train_plan(base, device="cpu")
    assert follow(base, "pass") is True
    outcome = follow(base, "import sys; print('fglib: in use', file=sys.stderr); sys.exit(3)")
    assert isinstance(outcome, BusyError) and str(outcome) == "in use"
    capsys.readouterr()
    outcome = follow(base, "import sys; print('a: 1%\\ra: 2%\\n\\nfglib: no weights', file=sys.stderr); sys.exit(1)")
    assert str(outcome) == "no weights" and not isinstance(outcome, BusyError)
    assert capsys.readouterr().err == "[1/2] a: 1%\n[1/2] a: 2%\n"


def test_settings_become_dotted_keys():
    settings = {"train": {"epochs": 2}, "method": {"options": {"lambda_i": 0.1}}, "measure": ["accuracy"], "data": {}}
    pairs = dict(flat(settings))
    assert pairs == {"train.epochs": 2, "method.options.lambda_i": 0.1, "measure": ["accuracy"], "data": {}}
    assert overrides([f"{key}={json.dumps(value)}" for key, value in pairs.items()]) == settings


def test_a_bar_becomes_lines_that_come_now_and_then(plans):
    every, most, text = workers.LINES.values()
    assert float(every) == float(most) >= 10
    code = f"""
import sys
from tqdm import tqdm
with tqdm(desc="a", total=500, file=sys.stderr, bar_format={text!r}, mininterval={every}) as bar:
    for _ in range(500):
        bar.update()
"""
    (base,) = plans("base")
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        follow(base, code)
    first, last = stream.getvalue().splitlines()
    assert first.startswith("[1/2] a: 0% 0/500") and last.startswith("[1/2] a: 100% 500/500")
