"""`fglib train`: what is recorded, what goes on, what fails alone."""

import errno
import json
import os
import signal

import pytest

from fglib import lab
from fglib.errors import FglibError
from fglib.lab import pending, workers
from fglib.lab.lock import alone


def test_train_records_then_has_nothing_to_do(fglib):
    code, out, err = fglib("train", "digits", "--preset", "smoke", "--variants", "base")
    assert code == 0, err
    assert "recorded  base.smoke.s0" in out and "fine_r1" in out
    assert "step" in err  # progress
    code, out, _ = fglib("train", "digits", "--preset", "smoke", "--json")
    rows = json.loads(out)
    assert code == 0 and [r["recorded"] for r in rows] == [True, True]
    code, out, err = fglib("train", "digits", "--preset", "smoke")
    assert code == 0 and err == ""


def test_dry_run_trains_nothing(fglib, folders):
    code, out, _ = fglib("train", "digits", "--dry-run", "--set", "train.epochs=3")
    assert code == 0 and out.count("missing") == 2 and not (folders / "results").exists()


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


def test_a_run_that_fails_does_not_stop_the_others(fglib, monkeypatch):
    started = []

    def train_plan(plan, **how):
        started.append(plan.name)
        if len(started) == 1:
            raise FglibError("no weights")
        return True

    monkeypatch.setattr(workers, "train_plan", train_plan)
    code, _, err = fglib("train", "--pending", "--preset", "smoke")
    assert code == 1 and err.splitlines()[-1].startswith("fglib: 1 of the runs failed")
    assert len(started) > 50


@pytest.fixture
def queue(grid, monkeypatch):
    """A queue of the tiny grid, which is all there is; its plans."""
    (grid.parent / "queue.yml").write_text(f"- {{experiment: {grid}}}\n")
    monkeypatch.setattr(pending, "book", lambda: grid.parent)
    monkeypatch.setattr(pending, "experiment_files", list)
    return lab.plans(str(grid), "paper")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_pending_paper_runs_stop_in_time_go_on_and_finish_whatever_fails(fglib, queue, jobs):
    base, broken, indi = queue
    everything = ("train", "--pending", "--preset", "paper", "--device", "cpu")
    code, out, err = fglib(*everything, "--max-minutes", "0")
    assert code == 0
    assert err.splitlines()[-1] == f"grid/{base.name}: out of time, checkpointed: run the same command to go on"
    assert out.count("missing   grid/") == 3 and base.checkpoint.is_file() and not indi.checkpoint.exists()
    code, out, err = fglib(*everything, "--jobs", jobs)
    assert code == 1 and err.splitlines()[-1].startswith("fglib: 1 of the runs failed")
    assert f"grid/{base.name}: recorded" in err and f"grid/{indi.name}: recorded" in err
    assert f"grid/{broken.name}: unknown method 'bass'" in err
    assert out.startswith(f"recorded  grid/{base.name}  coarse_top1") and "missing   grid/broken" in out
    assert [len(p.load().history) for p in (base, indi)] == [3, 3]


@pytest.mark.parametrize("everything", [False, True])
def test_a_run_that_another_shell_trains_is_left_to_it_and_the_exit_code_says_so(fglib, queue, grid, everything):
    base, _, indi = queue
    which = ("--pending",) if everything else (str(grid), "--variants", "base,indi")
    command = ("train", *which, "--preset", "paper", "--device", "cpu")
    with alone(base.checkpoint) as free:
        assert free
        code, out, err = fglib(*command)
        assert code == (1 if everything else 3) and not base.checkpoint.exists()  # another one fails
        assert f"{base.name}: another process trains grid/{base.name}; left to that one" in err
        assert f"{indi.name}: recorded" in err and "busy      " in out.splitlines()[0] and base.name in out
        if not everything:
            assert err.splitlines()[-1] == (
                "fglib: 1 of 2 runs were left to another process, which is training them; run the same command once "
                "more when it has ended"
            )
            code, out, _ = fglib(*command, "--json")
            assert code == 3 and [(row["busy"], row["recorded"]) for row in json.loads(out)] == [(1, 0), (0, 1)]
    if not everything:
        assert fglib(*command)[0] == 0 and fglib(*command)[1].count("recorded  ") == 2


def test_what_the_other_shell_has_recorded_meanwhile_is_not_busy(fglib, grid, monkeypatch):
    base, *_ = lab.plans(str(grid), "paper")
    train_plan = lab.train_plan

    def late(plan, **how):
        train_plan(plan, **how)
        raise lab.BusyError("another process trains it")

    monkeypatch.setattr(workers, "train_plan", late)
    command = ("train", str(grid), "--variants", "base", "--preset", "paper", "--device", "cpu")
    code, out, _ = fglib(*command)
    assert code == 0 and out.startswith("recorded")
    code, out, _ = fglib(*command, "--refresh")  # which of the two records it is, is not known
    assert code == 3 and out.startswith("busy")


def test_a_refresh_in_pieces_comes_to_an_end(fglib, grid):
    command = ("train", str(grid), "--variants", "base,indi", "--preset", "paper", "--device", "cpu")
    assert fglib(*command)[0] == 0
    pieces, said = (*command, "--refresh", "--max-minutes", "0"), []
    for _ in range(12):  # six steps for each of two runs
        code, out, err = fglib(*pieces)
        assert code == 0 and out.count("recorded  ") == 2
        said.append("out of time" not in err)
    assert said == [*[False] * 5, True, *[False] * 5, True]
    assert "--refresh goes on with 1 of 2 runs, which an earlier one left" in err
    assert "[1/2]" in fglib(*pieces)[2]  # the next refresh


def test_ctrl_c_ends_in_one_sentence_and_the_same_command_goes_on(fglib, grid, monkeypatch):
    (base,) = lab.plans(str(grid), "paper", variants=["base"])
    command = ("train", str(grid), "--variants", "base", "--preset", "paper", "--device", "cpu")
    from fglib import train

    step = train.training_step

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(train, "training_step", interrupted)
        for _ in range(2):
            code, out, err = fglib(*command)
            assert (code, out) == (1, "") and err.splitlines()[-1] == (
                "fglib: stopped by Ctrl-C; everything recorded so far is kept; the same command goes on where this one "
                "stopped"
            )
    assert base.checkpoint.is_file()
    code, out, err = fglib(*command)
    assert code == 0 and " 2/6 " in err and out.startswith("recorded")


def test_a_stop_that_cannot_write_its_checkpoint_says_so(fglib, grid, monkeypatch):
    from fglib import train

    def interrupted(*args):
        signal.raise_signal(signal.SIGTERM)
        return step(*args)

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    step = train.training_step
    monkeypatch.setattr(train, "training_step", interrupted)
    monkeypatch.setattr(os, "fsync", full)
    code, _, err = fglib("train", str(grid), "--variants", "base", "--preset", "paper", "--device", "cpu")
    last = err.splitlines()[-1]
    assert code == 1 and last.startswith("fglib: stopped by SIGTERM; everything recorded so far is kept; cannot write")
    assert "No space left on device" in last


def test_a_refresh_leaves_the_books_records_unless_told_to_replace_them(fglib, monkeypatch):
    monkeypatch.delenv("FGLIB_RESULTS")
    monkeypatch.delenv("FGLIB_CHECKPOINTS")
    dry = ("train", "digits", "--preset", "smoke", "--dry-run", "--json")
    said = {
        how: fglib(*dry, *how)[2] for how in ((), ("--refresh",), ("--refresh", "--replace"), ("--set", "train.lr=1"))
    }
    apart = [how for how, err in said.items() if "kept apart from the book's own records" in err]
    assert apart == [("--refresh",), ("--set", "train.lr=1")]
    assert all("_build/tweaks/results/digits" in said[how] for how in apart)


def test_a_catalogue_that_changed_is_said_and_refused(fglib, tmp_path, write_image):
    for split, count in (("train", 6), ("test", 2)):
        for i, classes in enumerate(("a/x", "a/y", "b/z")):
            for k in range(count):
                write_image(tmp_path / "pictures" / split / classes / f"{k}.png", (80 * i, 30 * k, 9), (16, 16))
    (tmp_path / "own.yml").write_text(
        "title: t\nquestion: q\nchapter: c\n"
        "common:\n  data: {name: folder, coarse: coarse, fine: fine, size: 16, options: {path: pictures}}\n"
        "  model: {backbone: small_resnet, width: 4, blocks: [1]}\n  measure: [accuracy]\n"
        "variants: {base: {method: {name: base}}}\n"
        "presets: {cpu: {hardware: h, seeds: [0], train: {epochs: 1, batch_size: 9, lr: 0.01}}}\n"
    )
    own = ("train", str(tmp_path / "own.yml"))
    assert fglib(*own)[0] == 0
    code, out, _ = fglib(*own)
    assert code == 0 and out.startswith("recorded  base.cpu.s0")
    write_image(tmp_path / "pictures/train/a/x/new.png", (1, 2, 3), (16, 16))
    code, out, err = fglib(*own)
    assert code == 1 and out.startswith("changed   base.cpu.s0")
    assert "images or labels have changed" in err and "then 18 to train and 6 to test, now 19 and 6" in err
    code, out, err = fglib("verify", str(tmp_path / "own.yml"))
    assert code == 1 and out.startswith("DIFFERS") and "1 of 1 records differ" in err
    code, out, _ = fglib(*own, "--refresh")
    assert code == 0 and out.startswith("recorded  base.cpu.s0")
    code, out, _ = fglib("verify", str(tmp_path / "own.yml"), "--again")
    assert code == 0 and out.startswith("agrees") and "records: agrees 1" in out
