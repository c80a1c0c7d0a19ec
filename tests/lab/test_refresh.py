"""A refresh comes to an end, however often it is stopped, and trains each of its runs once."""

import time
from pathlib import Path

import pytest

from fglib import lab
from fglib.errors import FglibError, RecordError
from fglib.lab import refresh
from fglib.lab.refresh import marked
from fglib.lab.workers import train_all

YAML = """
title: A tiny grid
question: Does the machinery work?
chapter: 00_quickstart
common:
  data: {name: nested_patches, coarse: big, fine: small, size: 16, options: {classes: 3, children: 2, images: 24}}
  model: {backbone: small_resnet, width: 4, blocks: [1]}
  measure: [accuracy]
variants:
  base: {method: {name: base}}
  fine: {method: {name: fine}, use_fine: true}
presets:
  cpu: {hardware: two cores, seeds: [0], train: {epochs: 2, batch_size: 12, lr: 0.05}}
"""


@pytest.fixture
def plans(tmp_path, monkeypatch):
    """The two plans of a tiny experiment, four steps each."""
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / "checkpoints"))
    (tmp_path / "tiny.yml").write_text(YAML)
    return lab.plans(str(tmp_path / "tiny.yml"), "cpu")


def train(plans, one_step=False, **how):
    """The outcomes of a call, by variant."""
    deadline = time.monotonic() - 1 if one_step else None
    return {plan.variant: done for plan, done in train_all(plans, device="cpu", deadline=deadline, **how)}


def record(plan):
    return (plan.folder / "run.json").read_bytes()


def steps(plan):
    """Steps of the training that a checkpoint is of."""
    from safetensors import safe_open

    with safe_open(plan.checkpoint, framework="np") as f:
        return int(f.metadata()["progress"].split('"step": ')[1].split(",")[0])


def test_a_refresh_that_is_stopped_goes_on_until_it_is_recorded(plans):
    (base, _), calls = plans, 0
    train(plans)
    before, history = record(base), base.load().history
    while not train([base], one_step=True, refresh=True)["base"]:
        calls += 1
        assert steps(base) == calls and marked(base)
        assert record(base) == before  # until the new one replaces it
    assert calls == 3 and not marked(base)
    assert base.load().history == history
    assert not train([base], one_step=True, refresh=True)["base"] and steps(base) == 1  # another one


def test_a_refresh_goes_on_with_what_was_left_and_with_that_alone(plans):
    base, fine = plans
    train(plans)
    ended = train_all(plans, device="cpu", refresh=True)
    assert next(ended)[0] is base
    ended.close()  # stopped between the runs
    assert not marked(base) and marked(fine)
    before = record(base)
    assert train(plans, refresh=True) == {"fine": True} and base.folder.is_dir()
    assert train(plans) == {} and not marked(fine)
    assert train(plans, refresh=True) == {"base": True, "fine": True}
    assert record(base).split(b'"seconds"')[0] == before.split(b'"seconds"')[0]  # the seed fixes the numbers


def test_a_run_without_a_record_goes_on_and_joins_what_was_left(plans):
    base, fine = plans
    assert not lab.train_plan(base, device="cpu", deadline=time.monotonic() - 1)  # stopped, not refreshed
    assert not train([base], one_step=True, refresh=True)["base"] and steps(base) == 2
    assert train(plans, refresh=True) == {"base": True, "fine": True}
    assert not marked(base) and not marked(fine)


def test_weights_without_their_record_are_trained_again(plans):
    (base, _) = plans
    train([base])
    (base.folder / "run.json").unlink()
    assert not train([base], one_step=True, refresh=True)["base"] and steps(base) == 1


def test_a_run_that_another_process_refreshed_meanwhile_is_not_refreshed_again(plans):
    train(plans)
    ended = train_all(plans, device="cpu", refresh=True)
    next(ended)
    refresh.end(plans[1])  # as the other process does
    plans[1].checkpoint.unlink()
    assert [(plan.variant, done) for plan, done in ended] == [("fine", True)] and not plans[1].checkpoint.exists()


@pytest.mark.parametrize("refreshing", [False, True])
def test_a_checkpoint_that_cannot_be_gone_on_with_is_trained_anew(plans, refreshing):
    (base, _) = plans
    if refreshing:
        train([base])
    assert not train([base], one_step=True, refresh=refreshing)["base"]
    base.checkpoint.write_bytes(base.checkpoint.read_bytes()[:-1])
    if not refreshing:
        with pytest.raises(RecordError, match="damaged or cut short"):
            lab.train_plan(base, device="cpu")
    assert not train([base], one_step=True, refresh=True)["base"] and steps(base) == 1
    assert train([base], refresh=True) == {"base": True}


def test_an_error_leaves_the_mark_and_a_folder_that_may_not_be_written_is_named(plans, monkeypatch):
    (base, _) = plans
    train([base])

    def refuse(self, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(FglibError, match=r"cannot remove .*base.*: Permission denied; remove it"):
            lab.train_plan(base, device="cpu", refresh=True)
    assert base.recorded and train([base], refresh=True) == {"base": True}
