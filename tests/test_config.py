"""Configurations: every key checked, the key stable, presets merged section by section."""

import dataclasses
import math

import pytest
import yaml

from fglib.config import DataConfig, MethodConfig, RunConfig, TrainConfig, build
from fglib.data.loader import epoch_batches
from fglib.errors import ConfigError
from fglib.lab.grid import check_name, load_experiment, merge
from fglib.lab.places import experiment_path, experiments
from fglib.lab.plan import plans

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
            r"here\.train\.lr must be a number, got '1e-3'.*1\.0e-3",
        ),
        (
            {"train": {"epochs": True, "batch_size": 8, "lr": 0.1}},
            r"here\.train\.epochs must be a whole number, got True",
        ),
        (
            {"train": {"epochs": 1.5, "batch_size": 8, "lr": 0.1}},
            r"here\.train\.epochs must be a whole number, got 1.5",
        ),
        ({"augment": {"scale": [1.0]}}, r"here\.augment\.scale must be a list of 2 numbers, got \[1.0\]"),
        ({"use_fine": "yes"}, r"here\.use_fine must be a truth value, got 'yes'"),
        ({"data": "digits"}, r"here\.data must be a mapping"),
    ],
)
def test_build_names_the_bad_key(change, message):
    with pytest.raises(ConfigError, match=message):
        build(RunConfig, MINIMAL | change, "here")


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("data", {"size": 0}),
        ("data", {"size": -32}),
        ("augment", {"views": 0}),
        ("augment", {"views": 10**30}),
        ("augment", {"pad_crop": -1}),
        ("augment", {"size": 16}),
        ("model", {"width": 0}),
        ("model", {"width": 10**9}),
        ("model", {"blocks": []}),
        ("model", {"blocks": [1, 0]}),
        ("model", {"blocks": [1] * 9}),
        ("model", {"stem": "32"}),
        ("train", {"epochs": 0}),
        ("train", {"epochs": 10**30}),
        ("train", {"batch_size": 1}),
        ("train", {"lr": 0.0}),
        ("train", {"lr": -1.0}),
        ("train", {"lr": math.nan}),
        ("train", {"lr": math.inf}),
        ("train", {"momentum": -0.1}),
        ("train", {"momentum": 1.0}),
        ("train", {"weight_decay": -1.0e-4}),
        ("train", {"weight_decay": math.inf}),
        ("train", {"schedule": "cosin"}),
        ("train", {"milestones": [3, 2]}),
        ("train", {"milestones": [2, 2]}),
        ("train", {"milestones": [-1]}),
        ("train", {"gamma": 0.0}),
        ("train", {"gamma": math.nan}),
        ("train", {"warmup_epochs": -1.0}),
        ("train", {"warmup_epochs": math.inf}),
        ("train", {"precision": "fp16"}),
        ("train", {"errors_every": -1}),
        ("train", {"optimizer": "adam"}),
        ("train", {"lr_heads": 0.0}),
    ],
)
def test_values_out_of_range_are_named(section, values):
    (key,) = values
    full = MINIMAL | {section: MINIMAL.get(section, {}) | values}
    with pytest.raises(ConfigError, match=rf"^here: (unknown value of )?{section}\.{key}(\[\d\])? "):
        build(RunConfig, full, "here")


@pytest.mark.parametrize("key", ["name", "root", "size", "download"])
def test_options_of_data_cannot_replace_its_other_settings(key):
    data = MINIMAL["data"] | {"options": {key: 1}}
    with pytest.raises(ConfigError, match=f"here: data.options has the key '{key}'"):
        build(RunConfig, MINIMAL | {"data": data}, "here")


def test_nesterov_needs_momentum():
    train = MINIMAL["train"] | {"nesterov": True}
    assert build(RunConfig, MINIMAL | {"train": train}, "here").train.nesterov
    with pytest.raises(ConfigError, match=r"train\.momentum is 0\.0, must be above 0 where train\.nesterov is true"):
        build(RunConfig, MINIMAL | {"train": train | {"momentum": 0.0}}, "here")


def test_seeds_are_those_that_every_epoch_can_use():
    most = 2**32 - 1
    assert build(RunConfig, MINIMAL | {"seed": most}, "here").seed == most
    epoch_batches(4, 2, most, 10**6)  # the largest seed of an epoch that there is
    for seed in (-1, most + 1, 10**20):
        with pytest.raises(ConfigError, match=f"here: seed is {seed}, must be at least 0 and at most {most}"):
            build(RunConfig, MINIMAL | {"seed": seed}, "here")


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


@pytest.mark.parametrize("path", sorted(experiments().glob("*.yml")), ids=lambda p: p.stem)
def test_experiments_of_the_book_resolve_and_hide_the_fine_labels(path):
    experiment = load_experiment(path)
    # an experiment on sets too large for a laptop may have the paper's preset alone
    assert (
        set(experiment.presets) == {"paper"} or len({"smoke", "cpu", "photos", "paper"} & set(experiment.presets)) > 1
    )
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
    assert not experiment.chapter or (path.parent.parent / f"{experiment.chapter}.ipynb").is_file()


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
    bad.write_text((experiments() / "digits.yml").read_text().replace("lr: 0.2", "lrr: 0.2"))
    with pytest.raises(ConfigError, match="unknown key 'lrr'.*did you mean 'lr'"):
        load_experiment(bad)
    bad.write_text((experiments() / "digits.yml").read_text().replace("  cpu:", "  papr:"))
    with pytest.raises(ConfigError, match="unknown preset 'papr'"):
        load_experiment(bad)


# Experiment files of users


@pytest.fixture
def load(tmp_path):
    """load(change) -> the experiment of a small file in which a function has changed something."""

    def load(change=lambda raw: None, name="mine.yml"):
        raw = yaml.safe_load((experiments() / "digits.yml").read_text(encoding="utf-8"))
        change(raw)
        path = tmp_path / name
        path.write_text(yaml.safe_dump(raw), encoding="utf-8")
        return load_experiment(path)

    return load


BAD_NAMES = (
    "../../up",
    "a/b",
    "a\\b",
    ".hidden",
    "-x",
    "a.",
    "",
    "a b",
    "käfer",
    "con",
    "NUL.txt",
    "lpt1",
    "x" * 101,
    "a\n",
)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_variant_that_cannot_name_a_folder_is_refused(load, name):
    with pytest.raises(ConfigError, match=r"mine\.yml: the name of the variant .* cannot be that of a folder"):
        load(lambda raw: raw["variants"].update({name: {"method": {"name": "base"}}}))


def test_names_of_experiments_and_chapters_are_checked_too(load):
    with pytest.raises(ConfigError, match="the name of the experiment 'my own' cannot be that of a folder"):
        load(name="my own.yml")
    with pytest.raises(ConfigError, match="the name of the chapter '../x' cannot be that of a folder"):
        load(lambda raw: raw.update(chapter="../x"))
    for name in ("base", "Base_2", "a.b-c", "2x", "x" * 100, "console"):
        check_name(name, "variant")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["presets"]["cpu"].update(seeds=[]), "preset cpu: at least one seed is needed"),
        (lambda raw: raw["presets"]["cpu"].update(seeds=[0, 1, 0]), "preset cpu: seed 0 is named twice"),
        (lambda raw: raw["presets"]["cpu"].update(seeds=[-1]), r"preset cpu: seeds\[0\] is -1, must be at least 0"),
        (lambda raw: raw["presets"]["cpu"].update(seeds=3), "preset cpu.seeds must be a list of whole numbers, got 3"),
        (lambda raw: raw["presets"]["cpu"].update(seeds=[2**32]), "preset cpu: seeds.* at most 4294967295"),
        (lambda raw: raw.update(presets={}), "at least one preset is needed"),
        (lambda raw: raw.update(presets=5), "lacks the mapping 'presets'"),
        (lambda raw: raw.update(variants={}), "at least one variant is needed"),
        (lambda raw: raw.update(variants={"base": None}), "variants.base must be a mapping, got None"),
        (lambda raw: raw.update(variants=[1]), "variants must be a mapping, got \\[1\\]"),
        (lambda raw: raw["common"].update(seed=3), "'seed' is no key to set; --seeds chooses seeds"),
        (lambda raw: raw["common"].update(model=None), "model must be a mapping, got None"),
        (
            lambda raw: raw["common"].update(start={"experiment": "digits", "variant": "base", "preset": "paper"}),
            "'start.preset' is no key to set",
        ),
        (lambda raw: raw["common"]["data"].update(options={"a": math.nan}), "options.a must be .* finite"),
        (lambda raw: raw.update(name="other"), "has the key 'name'; an experiment is named by its file"),
        (lambda raw: raw.update(title=None), "title must be text, got None"),
    ],
)
def test_what_is_wrong_in_an_experiment_file_is_named(load, change, message):
    with pytest.raises(ConfigError, match=message):
        load(change)


def test_variants_and_seeds_are_chosen_once_each(load):
    experiment = load()
    assert experiment.chosen(None) == tuple(experiment.variants) and experiment.chosen(["base"]) == ("base",)
    for seeds, variants, message in (
        ([0, 0], None, "seed 0 is named twice"),
        ([], None, "at least one seed is needed"),
        ([0], ["base", "base"], "variant 'base' is named twice"),
        ([0], [], "at least one variant is needed"),
        ([0], ["bass"], "did you mean 'base'"),
    ):
        with pytest.raises(ConfigError, match=message):
            plans(experiment, "cpu", seeds, variants)
