"""What is still to be trained, in the queue's order."""

import pytest
import yaml

from fglib.errors import ConfigError
from fglib.lab import pending as module
from fglib.lab.pending import lacking, pending
from fglib.lab.places import book, experiments
from fglib.lab.plan import plans
from fglib.lab.records import write_record


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / "results"))


def names(found):
    return [(p.experiment.name, p.variant, p.seed) for p in found]


@pytest.fixture
def queue(tmp_path):
    path = tmp_path / "queue.yml"
    path.write_text("- {experiment: omniglot, variants: [fine], seeds: [1]}\n- {experiment: omniglot}\n")
    return path


def test_the_queue_comes_first_and_every_run_once(queue):
    found = names(pending("cpu", queue))
    assert len(set(found)) == len(found)
    assert found[0] == ("omniglot", "fine", 1)
    of_omniglot = [n for n in found if n[0] == "omniglot"]
    assert found[: len(of_omniglot)] == of_omniglot and len(of_omniglot) == 15
    rest = [name for name, _, _ in found[15:]]
    assert rest == sorted(rest) and {"parts", "subtle_patches", "upsampler"} <= set(rest)


def test_what_is_recorded_is_not_pending(queue):
    plan = next(p for p in plans("omniglot", "cpu") if p.variant == "fine" and p.seed == 1)
    assert names(pending("cpu", queue))[0] == ("omniglot", "fine", 1)
    write_record(plan, {"fine_r1": 1.0}, [], {}, {})
    found = names(pending("cpu", queue))
    assert ("omniglot", "fine", 1) not in found and found[0] == ("omniglot", "base", 0)


def test_experiments_without_the_preset_are_left_out(queue):
    assert "coarse2fine_inception" not in {name for name, _, _ in names(pending("cpu", queue))}
    assert "coarse2fine_inception" in {name for name, _, _ in names(pending("paper", queue))}


def test_the_books_queue_names_what_exists():
    first = names(pending("paper"))
    assert first[0] == ("cifar100", "base", 0)
    assert {name for name, _, _ in first} == {
        path.stem for path in experiments().glob("*.yml") if "paper" in yaml.safe_load(path.read_text())["presets"]
    }


def test_a_queue_with_a_misspelt_name_says_so(tmp_path):
    path = tmp_path / "queue.yml"
    path.write_text("- {experiment: omniglott}")
    with pytest.raises(ConfigError, match="did you mean 'omniglot'"):
        pending("cpu", path)
    path.write_text("- {experiment: omniglot, variants: [bass]}")
    with pytest.raises(ConfigError, match="did you mean 'base'"):
        pending("cpu", path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the queue .* must be a list of entries"),
        ("experiment: omniglot", "the queue .* must be a list of entries"),
        ("[omniglot]", "entry 1 of the queue .* must be a mapping, got 'omniglot'"),
        ("- {experiment: omniglot}\n- {seeds: [0]}", "entry 2 of the queue .* lacks the key 'experiment'"),
        ("- {experiment: omniglot, variant: [fine]}", "unknown key 'variant' in entry 1 .*; did you mean 'variants'"),
        ("- {experiment: omniglot, seeds: [a]}", "entry 1 .*seeds must be a whole number, got 'a'"),
        ("- {experiment: omniglot, seeds: 0}", "entry 1 .*seeds must be a list of whole numbers, got 0"),
        ("- {experiment: omniglot, seeds: []}", "at least one seed is needed"),
        ("- {experiment: omniglot, seeds: [-1]}", "seed is -1, must be at least 0"),
        ("- {experiment: omniglot, seeds: [1, 1]}", "seed 1 is named twice"),
        ("- {experiment: omniglot, variants: []}", "at least one variant is needed"),
        ("- {experiment: 5}", "entry 1 .*experiment must be text, got 5"),
        # a name is checked whether or not the experiment has the preset
        ("- {experiment: coarse2fine_inception, variants: [bass]}", "unknown variant 'bass'"),
    ],
)
def test_queues_of_odd_shapes_are_named(tmp_path, text, message):
    path = tmp_path / "queue.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        pending("cpu", path)
    with pytest.raises(ConfigError, match="the queue .*none.yml does not exist"):
        pending("cpu", tmp_path / "none.yml")


def test_a_run_waits_for_its_own_data_and_for_that_of_the_run_it_starts_from(tmp_path, monkeypatch):
    (cub,) = plans("coarse2fine_cub50", "cpu", [0], ["coarse2fine"])
    (parts,) = plans("parts", "cpu", [0], ["coarse2fine"])
    assert lacking(cub, str(tmp_path)) == ["cub50"] and lacking(parts, str(tmp_path)) == []
    (tmp_path / "CUB50").mkdir()
    assert lacking(cub, str(tmp_path)) == []
    monkeypatch.setattr(module, "status", lambda name, root: (name != "interpolations", None, ""))
    assert lacking(parts) == ["interpolations"]


def test_the_queue_lies_where_experiments_are_not_looked_for():
    assert (book() / "queue.yml").is_file()
