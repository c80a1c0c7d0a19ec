"""Configurations: every key checked, the key stable, presets merged section by section."""

import dataclasses

import pytest

from fglib.config import DataConfig, MethodConfig, RunConfig, TrainConfig, build
from fglib.errors import ConfigError
from fglib.experiments import load_experiment, merge
from fglib.paths import EXPERIMENTS, experiment_path

MINIMAL = {
    "data": {"name": "digits", "coarse": "group", "fine": "digit"},
    "method": {"name": "base"},
    "train": {"epochs": 1, "batch_size": 8, "lr": 0.1},
}


def test_build_fills_defaults_and_converts_only_what_yaml_writes():
    config = build(RunConfig, MINIMAL | {"augment": {"scale": [1, 1.5]}, "measure": ["accuracy"]}, "here")
    assert config.augment.scale == (1.0, 1.5) and isinstance(config.augment.scale[0], float)
    assert config.measure == ("accuracy",)
    assert config.train == TrainConfig(epochs=1, batch_size=8, lr=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train": {"epochs": 1, "batch_size": 8, "lr": 0.1, "momentun": 0.9}},
            r"here\.train; did you mean 'momentum'",
        ),
        ({"train": {"epochs": 1, "batch_size": 8}}, r"here\.train lacks the key 'lr'"),
        (
            {"train": {"epochs": 1, "batch_size": 8, "lr": "1e-3"}},
            r"here\.train\.lr must be float, got str '1e-3'.*1\.0e-3",
        ),
        ({"train": {"epochs": True, "batch_size": 8, "lr": 0.1}}, r"here\.train\.epochs must be int, got bool"),
        ({"train": {"epochs": 1.5, "batch_size": 8, "lr": 0.1}}, r"here\.train\.epochs must be int, got float"),
        ({"augment": {"scale": [1.0]}}, r"here\.augment\.scale must be tuple"),
        ({"use_fine": "yes"}, r"here\.use_fine must be bool, got str 'yes'"),
        ({"data": "digits"}, r"here\.data must be a mapping"),
    ],
)
def test_build_names_the_bad_key(change, message):
    with pytest.raises(ConfigError, match=message):
        build(RunConfig, MINIMAL | change, "here")


def test_key_depends_on_every_value_but_not_on_written_out_defaults():
    plain = build(RunConfig, MINIMAL, "here")
    spelled = build(RunConfig, MINIMAL | {"use_fine": False, "seed": 0, "augment": {"flip": False}}, "here")
    assert plain.key() == spelled.key() and len(plain.key()) == 10
    changed = [
        dataclasses.replace(plain, seed=1),
        dataclasses.replace(plain, use_fine=True),
        dataclasses.replace(plain, method=MethodConfig("base", {"lambda_i": 1.0})),
        dataclasses.replace(plain, data=DataConfig("digits", "group", "digit", size=16)),
        dataclasses.replace(plain, train=dataclasses.replace(plain.train, lr=0.2)),
    ]
    assert len({c.key() for c in [plain, *changed]}) == 6


def test_merge_replaces_a_section_that_changes_its_name():
    base = {"data": {"name": "omniglot", "size": 32}, "train": {"epochs": 1}}
    assert merge(base, {"data": {"size": 16}})["data"] == {"name": "omniglot", "size": 16}
    assert merge(base, {"data": {"name": "digits"}})["data"] == {"name": "digits"}
    assert base["data"]["size"] == 32


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yml")), ids=lambda p: p.stem)
def test_experiments_of_the_book_resolve_and_hide_the_fine_labels(path):
    experiment = load_experiment(path)
    # an experiment on sets too large for a laptop may have the paper's preset alone
    assert set(experiment.presets) == {"paper"} or len({"smoke", "cpu", "paper"} & set(experiment.presets)) > 1
    # or all of the experiment is about recognizing the finest classes, which its common part then says
    levels = experiment.common.get("data", {})
    about_fine = bool(levels) and levels["coarse"] == levels["fine"]
    for variant in experiment.variants:
        for preset in experiment.presets:
            config = experiment.resolve(variant, preset, seed=3)
            assert config.seed == 3
            # what is taught the fine classes says so in its name
            taught = config.use_fine or config.data.coarse == config.data.fine
            named = variant == "fine" or variant.endswith(("_fine", f"_{config.data.fine}"))
            assert taught == (named or about_fine or config.method.name == "transfer")
    assert (path.parent.parent / f"{experiment.chapter}.ipynb").is_file()


def test_experiment_errors_name_what_is_valid(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'omniglot'"):
        experiment_path("omniglott")
    with pytest.raises(ConfigError, match="no experiment file at"):
        experiment_path(str(tmp_path / "mine.yml"))
    experiment = load_experiment(experiment_path("digits"))
    with pytest.raises(ConfigError, match="unknown preset 'cpuu'.*did you mean 'cpu'"):
        experiment.resolve("base", "cpuu")
    with pytest.raises(ConfigError, match="unknown variant 'bass'.*did you mean 'base'"):
        experiment.resolve("bass", "cpu")
    bad = tmp_path / "bad.yml"
    bad.write_text("title: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_experiment(bad)
    bad.write_text((EXPERIMENTS / "digits.yml").read_text().replace("lr: 0.2", "lrr: 0.2"))
    with pytest.raises(ConfigError, match="unknown key 'lrr'.*did you mean 'lr'"):
        load_experiment(bad)
    bad.write_text((EXPERIMENTS / "digits.yml").read_text().replace("  cpu:", "  papr:"))
    with pytest.raises(ConfigError, match="unknown preset 'papr'"):
        load_experiment(bad)
