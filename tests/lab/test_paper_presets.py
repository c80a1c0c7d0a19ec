"""Paper presets start, stop at a deadline, go on and finish; only what makes them long is overridden."""

import pytest
from tiny import ready

from fglib import lab
from fglib.errors import ConfigError
from fglib.lab.grid import Experiment, load_experiment
from fglib.lab.places import experiment_files, experiment_path
from fglib.train import fit

NAMES = [path.stem for path in experiment_files() if "paper" in load_experiment(path).presets]
# one of every family of methods, and runs that start from another one; of other experiments the last variant
VARIANTS = {
    "cifar100": "base_indi_eff",
    "grafit_cifar100": "clusterfit_plus",
    "grafit_cifar100_resnet18": "grafit",
    "coarse2fine_cub50": "coarse2fine",
    "subtle_cifar100": "db_gce",
}

resolve = Experiment.resolve


def stand_in(config):
    """Generated images with the levels of a configuration, or with boxes where it asks for them."""
    if "localization" in config.measure:
        options = {"kinds": 2, "models": 2, "images": 32, "test_images": 16}
        return {"name": "parts", "coarse": "model", "fine": "model", "size": 32, "options": options}
    coarse, fine = config.data.coarse, config.data.fine
    options = {"levels": [coarse if coarse != fine else "group", fine], "classes": 4, "children": 3, "images": 72}
    return {"name": "nested_patches", "coarse": coarse, "fine": fine, "size": 32, "options": options}


def shortened(experiment, variant, preset, seed=0, overrides=None):
    """A paper preset with the data and the network of the smoke preset, or a stand-in for them, and two epochs."""
    config = resolve(experiment, variant, preset, seed, overrides)
    if "smoke" in experiment.presets:
        smoke = resolve(experiment, variant, "smoke").to_dict()
        data, model = smoke["data"], smoke["model"]
    else:
        data, model = stand_in(config), {"backbone": "small_resnet", "width": 8, "blocks": [1, 1]}
    train = {"epochs": 2, "batch_size": 24, "errors_every": min(1, config.train.errors_every), "compile": False}
    short = {"data": data, "model": {**model, "weights": None, "layer": None}, "train": train}
    return resolve(experiment, variant, preset, seed, short)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """elsewhere(name): from now on records and checkpoints go to folders of that name."""

    def go(name):
        monkeypatch.setenv("FGLIB_RESULTS", str(tmp_path / name / "results"))
        monkeypatch.setenv("FGLIB_CHECKPOINTS", str(tmp_path / name / "checkpoints"))

    return go


@pytest.mark.parametrize("name", NAMES)
def test_a_paper_preset_stops_and_goes_on_to_the_numbers_of_a_run_in_one_go(name, elsewhere, monkeypatch):
    monkeypatch.setattr(Experiment, "resolve", shortened)
    variant = VARIANTS.get(name) or list(load_experiment(experiment_path(name)).variants)[-1]
    (plan,) = lab.plans(name, "paper", [0], [variant])

    elsewhere("stopped")
    assert list(lab.train_plans([plan], device="cpu", deadline=0.0)) == [(plan, False)]
    *_, trained_first = (plan, *plan.starts)
    assert not plan.recorded and trained_first.checkpoint.is_file() and not trained_first.trained
    assert list(lab.train_plans([plan], device="cpu")) == [(plan, True)]
    stopped = plan.load()

    elsewhere("whole")
    assert not plan.recorded
    assert list(lab.train_plans([plan], device="cpu")) == [(plan, True)]
    whole = plan.load()
    assert len(whole.history) == 2 and whole.metrics
    assert (stopped.history, stopped.metrics) == (whole.history, whole.metrics)


def test_settings_that_are_the_papers_are_kept_when_shortened():
    experiment = load_experiment(experiment_path("grafit_cifar100"))
    full, short = (how(experiment, "grafit", "paper") for how in (resolve, shortened))
    assert full.train.compile and not short.train.compile
    assert (short.augment, short.method, short.measure) == (full.augment, full.method, full.measure)
    assert (short.train.precision, short.train.lr, short.train.schedule) == ("bf16", full.train.lr, "cosine")


def test_compiling_without_a_compiler_is_refused_before_anything(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    method, train, config = ready(compile=True)
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler .* on the PATH; install one.*train.compile=false"):
        fit(method, train, config)
    monkeypatch.setenv("CXX", "mine++")
    with pytest.raises(ConfigError, match=r"no 'mine\+\+' on the PATH"):
        fit(method, train, config)
