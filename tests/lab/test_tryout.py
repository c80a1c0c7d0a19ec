"""Trying out: a class of a reader's own is trained at every call, beside the book's, and touches no record."""

import linecache
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_grid import YAML

from fglib import lab
from fglib.errors import ConfigError, HiddenLabelsError
from fglib.lab.places import tweaks
from fglib.methods import METHODS, options_of
from fglib.methods.patterns import Base, Fine
from fglib.pages.report import tried_table


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The file of a tiny experiment whose records lie elsewhere."""
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / "checkpoints"))
    path = tmp_path / "tiny.yml"
    path.write_text(YAML)
    return str(path)


def try_out(cls, tiny, variant="base", **how):
    return lab.try_out(cls, tiny, variant=variant, device="cpu", **how)


class Halved(Base):
    """Half the loss."""

    def loss(self, batch):
        return {"total": 0.5 * super().loss(batch)["total"]}


def first_loss(runs):
    return runs[0].history[0]["total"]


def test_what_is_tried_stands_beside_the_books_own_and_the_recorded(tiny):
    (recorded,) = lab.ensure(tiny, "cpu", device="cpu", seeds=[0], variants=["base"]).runs
    found = try_out(Halved, tiny)
    assert first_loss(found.tried) == pytest.approx(first_loss(found.own) / 2, rel=0.2)  # the start is the same
    assert found.recorded.of("base") == [recorded]
    table = tried_table(found, ["coarse_top1"])
    assert list(table.index) == ["Base, smoke", "Halved, smoke", "Base, recorded (cpu)"]
    assert table["n"].tolist() == [1, 1, 1]


def test_the_books_own_class_gives_the_numbers_of_a_run(tiny):
    (run,) = lab.ensure(tiny, "smoke", device="cpu", variants=["base"]).runs
    assert try_out(Base, tiny).tried[0].metrics == run.metrics


def test_no_record_is_written_or_changed(tiny, tmp_path):
    lab.ensure(tiny, "smoke", device="cpu", variants=["base"])
    kept = {p: p.stat().st_mtime_ns for name in ("results", "checkpoints") for p in (tmp_path / name).rglob("*")}
    found = try_out(Halved, tiny)
    assert kept == {
        p: p.stat().st_mtime_ns for name in ("results", "checkpoints") for p in (tmp_path / name).rglob("*")
    }
    assert {run.plan.folder.parents[2] for run in (*found.tried, *found.own)} == {tmp_path / "tweaks"}
    assert "Halved" in found.tried[0].plan.name and found.tried[0].plan.name != found.own[0].plan.name


def test_what_is_tried_of_the_book_lies_in_build_whatever_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path))
    (plan,) = lab.plans("digits", "smoke", [0], ["base"])
    assert tweaks() in replace(plan, tried=Halved).folder.parents and tmp_path in plan.folder.parents


def test_every_call_trains_anew_so_that_a_change_anywhere_shows(tiny, monkeypatch):
    before = try_out(Halved, tiny)
    assert first_loss(try_out(Halved, tiny).tried) == first_loss(before.tried)
    real = Base.loss
    monkeypatch.setattr(Base, "loss", lambda self, batch: {"total": 3 * real(self, batch)["total"]})
    after = try_out(Halved, tiny)  # neither the class nor its source has changed
    assert first_loss(after.tried) > 2 * first_loss(before.tried)


def of_source(body):
    """A class as a notebook's cell makes it."""
    source = f"class Mine(Base):\n{textwrap.indent(textwrap.dedent(body), '    ')}"
    linecache.cache[f"<{hash(source)}>"] = (len(source), None, source.splitlines(True), f"<{hash(source)}>")
    names = {"Base": Base, "torch": torch, "__name__": "__main__"}
    exec(compile(source, f"<{hash(source)}>", "exec"), names)
    return names["Mine"]


def test_another_source_has_another_place(tiny):
    one, other = (of_source(f"def loss(self, batch):\n    return super().loss(batch)  # {i}\n") for i in (1, 2))
    (plan,) = lab.plans(tiny, "smoke", [0], ["base"])
    assert replace(plan, tried=one).folder != replace(plan, tried=other).folder
    assert replace(plan, tried=one).code != replace(plan, tried=other).code != plan.code
    first, again, second = (of_source(f"@property\ndef x(self):\n    return {i}\n") for i in (1, 1, 2))
    names = [replace(plan, tried=cls).name for cls in (first, again, second)]
    assert names[0] == names[1] != names[2]
    weighted, less = of_source("weight = 2.0\n"), of_source("weight = 0.5\n")
    assert replace(plan, tried=weighted).folder != replace(plan, tried=less).folder


def test_an_error_of_the_class_is_its_own_and_nothing_is_recorded(tiny, tmp_path):
    broken = of_source("def loss(self, batch):\n    return {'total': batch.nothing}\n")
    with pytest.raises(AttributeError, match="nothing"):
        try_out(broken, tiny)
    assert not [p for p in (tmp_path / "tweaks").rglob("run.json") if "Mine" in p.parent.name]


@pytest.mark.parametrize("statement", ["raise ValueError('my own mistake')", "None + 1"])
def test_an_error_in_the_making_of_the_class_is_its_own(tiny, statement):
    broken = of_source(f"def __init__(self, trunk, task):\n    super().__init__(trunk, task)\n    {statement}\n")
    with pytest.raises((ValueError, TypeError), match="my own mistake|unsupported operand") as raised:
        try_out(broken, tiny)
    assert not isinstance(raised.value, ConfigError) and raised.value.__cause__ is None


def test_an_option_that_only_the_class_takes_changes_only_the_class(tiny):
    class Added(Base):
        def __init__(self, trunk, task, margin=0.0):
            super().__init__(trunk, task)
            self.margin = margin

        def loss(self, batch):
            return {"total": super().loss(batch)["total"] + self.margin}

    found = try_out(Added, tiny, method={"options": {"margin": 5.0}})
    assert first_loss(found.tried) == pytest.approx(first_loss(found.own) + 5, rel=1e-5)
    assert list(tried_table(found, ["coarse_top1"]).index) == [
        "Base, smoke",
        "Added, smoke (method.options.margin=5.0)",
    ]


def test_a_class_with_the_books_own_name_has_a_row_of_its_own(tiny):
    class Base(Halved):
        pass

    table = tried_table(try_out(Base, tiny), ["coarse_top1"])
    assert list(table.index) == ["Base, smoke", "Base (tried out), smoke"]


@pytest.mark.parametrize("there", [True, False], ids=["weights are there", "no weights"])
def test_a_run_to_start_from_is_trained_anew_and_the_books_weights_stay(tiny, tmp_path, monkeypatch, there):
    """Else a patched function would enter the book's weights, or older weights would hide the patch."""
    start = f"  continued: {{method: {{name: base}}, start: {{experiment: {tiny}, variant: base}}}}\n"
    Path(tiny).write_text(YAML.replace("presets:", f"{start}presets:"))
    if there:
        lab.ensure(tiny, "smoke", device="cpu", variants=["continued"])
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").rglob("*")}
    assert bool(kept) is there
    real, trained = Base.loss, []
    monkeypatch.setattr(Base, "loss", lambda self, batch: trained.append(self) or real(self, batch))
    try_out(Halved, tiny, variant="continued")
    assert [type(method) for method in dict.fromkeys(trained)] == [Base, Base, Base, Halved]
    assert kept == {p: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").rglob("*")}


def test_fine_labels_stay_hidden(tiny):
    peeking = of_source("def loss(self, batch):\n    return {'total': batch.fine.float().mean()}\n")
    with pytest.raises(HiddenLabelsError):
        try_out(peeking, tiny)
    with pytest.raises(ConfigError, match="trains on the fine labels"):
        try_out(Fine, tiny)
    assert try_out(Fine, tiny, variant="fine").tried[0].metrics


def test_settings_change_both_and_are_said(tiny):
    found = try_out(Halved, tiny, train={"epochs": 2}, measure=["accuracy"])
    assert [len(run.history) for run in (*found.tried, *found.own)] == [2, 2]
    assert list(tried_table(found, ["coarse_top1"]).index) == [
        "Base, smoke (train.epochs=2)",
        "Halved, smoke (train.epochs=2)",
    ]


@pytest.mark.parametrize(
    ("cls", "how", "message"),
    [
        (int, {}, "<class 'int'> is no subclass of fglib.methods.Method"),
        (3, {}, "3 is no subclass"),
        (Halved, {"variant": "bass"}, "unknown variant 'bass'.*did you mean 'base'"),
        (Halved, {"preset": "smok"}, "unknown preset 'smok'"),
        (Halved, {"train": {"epoch": 2}}, "epoch"),
        (Halved, {"method": 3}, "method must be a mapping, got 3"),
        (Halved, {"method": {"options": {"lambda_i": 1.0}}}, "unknown option 'lambda_i' in Halved"),
        (Halved, {"seeds": 0}, r"seeds must be a list such as \[0, 1\], got 0"),
    ],
)
def test_what_cannot_be_tried_is_named(tiny, cls, how, message):
    with pytest.raises(ConfigError, match=message):
        try_out(cls, tiny, **how)


# Options of methods in `lab.ensure`


def test_an_option_changes_the_methods_that_take_it(tiny):
    Path(tiny).write_text(YAML.replace("presets:", "  images: {method: {name: base_indi}}\npresets:"))
    found = lab.ensure(tiny, "smoke", device="cpu", overrides={"method": {"options": {"lambda_i": 0.3}}})
    options = {run.plan.variant: run.plan.config.method.options for run in found.runs}
    assert options == {"base": {}, "fine": {}, "images": {"lambda_i": 0.3}}
    assert {run.plan.variant: run.plan.overrides != {} for run in found.runs} == {
        "base": False,
        "fine": False,
        "images": True,
    }
    with pytest.raises(ConfigError, match="unknown option 'lambda_j' in the methods of tiny; did you mean 'lambda_i'"):
        lab.ensure(tiny, "smoke", device="cpu", overrides={"method": {"options": {"lambda_j": 0.3}}})


def test_options_are_those_of_a_method_and_of_what_it_hands_on_to():
    assert options_of(METHODS["base"]) == set()
    assert {"lambda_i", "instance_rate"} <= options_of(METHODS["base_indi_eff"])
    assert {"knn_weight", "temperature", "dim"} <= options_of(METHODS["grafit"])
    assert {"k", "alpha", "patch_size"} <= options_of(METHODS["db_gce"])
    assert {"upsampler", "maps"} <= options_of(METHODS["coarse2fine"])
