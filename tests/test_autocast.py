"""The precision of a training: measured once for a network and machine, without a trace in the training."""

import json

import pytest
import torch
from tiny import ready
from torch import nn

from fglib import autocast
from fglib.autocast import choose
from fglib.models.whitened import WhitenedTrunk
from fglib.train import fit


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "fglib").mkdir()
    return tmp_path / "fglib"


IMAGES = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("wanted", ["float32", "bf16"])
def test_what_is_asked_for_is_taken(folder, wanted):
    assert choose(wanted, nn.Identity(), IMAGES) == wanted
    assert not list(folder.iterdir())


@pytest.mark.parametrize(("fast", "expected"), [(0.5, "bf16"), (0.79, "bf16"), (0.81, "float32"), (2.0, "float32")])
def test_bfloat16_is_taken_where_it_is_clearly_faster(folder, monkeypatch, fast, expected):
    monkeypatch.setattr(autocast, "_seconds", lambda trunk, images, amp: 1.0 if amp is None else fast)
    assert choose("auto", WhitenedTrunk((2, 4)), IMAGES) == expected


def test_it_is_measured_once_for_each_network_and_size(folder, monkeypatch):
    measured = []
    monkeypatch.setattr(autocast, "_seconds", lambda trunk, images, amp: measured.append(amp) or 1.0)
    for _ in range(2):
        choose("auto", WhitenedTrunk((2, 4)), IMAGES)
    assert len(measured) == 2
    choose("auto", WhitenedTrunk((2, 8)), IMAGES)
    choose("auto", WhitenedTrunk((2, 8)), IMAGES[:2])
    assert len(measured) == 6


def test_measuring_leaves_no_trace(folder):
    trunk = WhitenedTrunk((2, 4)).train()
    before = {name: t.clone() for name, t in trunk.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    assert choose("auto", trunk, IMAGES) in ("float32", "bf16")
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(t, before[name]) for name, t in trunk.state_dict().items())
    assert all(p.grad is None for p in trunk.parameters())


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "fp8"}'])
def test_a_damaged_note_is_made_anew(folder, text):
    (folder / "precision.json").write_text(text)
    choose("auto", WhitenedTrunk((2, 4)), IMAGES)
    assert set(json.loads((folder / "precision.json").read_text()).values()) <= {"float32", "bf16"}


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose("auto", WhitenedTrunk((2, 4)), IMAGES) in ("float32", "bf16")


def test_a_training_goes_on_in_the_precision_it_began_in(tmp_path, monkeypatch):
    monkeypatch.setattr("fglib.train.choose", lambda wanted, trunk, images: "bf16")
    method, train, config = ready(precision="auto", epochs=2)
    checkpoint = tmp_path / "run.safetensors"
    progress, finished = fit(method, train, config, checkpoint=checkpoint, deadline=0.0)
    assert progress.precision == "bf16" and not finished
    monkeypatch.setattr("fglib.train.choose", lambda wanted, trunk, images: "float32")
    progress, finished = fit(*ready(precision="auto", epochs=2), checkpoint=checkpoint)
    assert progress.precision == "bf16" and finished


def test_the_precision_is_no_part_of_a_runs_key():
    assert len({ready(precision=name)[2].key() for name in ("float32", "bf16", "auto")}) == 1
