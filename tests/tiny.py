"""A tiny task shared by the tests: sixteen-pixel nested patches and a network of a few hundred weights."""

import dataclasses

from fglib.config import RunConfig, build
from fglib.data.images import DataSet
from fglib.data.made.patches import nested_patches
from fglib.lab.run import start, training_view

CONFIG = build(
    RunConfig,
    {
        "data": {"name": "nested_patches", "coarse": "big", "fine": "small"},
        "method": {"name": "base_indi"},
        "model": {"backbone": "small_resnet", "width": 4, "blocks": [1, 1]},
        "augment": {"pad_crop": 2, "flip": True, "degrees": 10.0, "translate": 0.1, "scale": [0.9, 1.1]},
        "train": {"epochs": 3, "batch_size": 8, "lr": 0.05, "schedule": "onecycle"},
    },
    "the tests' configuration",
)


def dataset() -> DataSet:
    """Three super-classes of two fine classes, 25 images: the last batch of an epoch holds a single one."""
    train, test = nested_patches(16, classes=3, children=2, images=25)
    return DataSet("nested_patches", train, test)


def ready(method: str = "base_indi", **changes):
    """(method, training view, configuration) ready for `fit`; `changes` replace fields of TrainConfig."""
    train = dataclasses.replace(CONFIG.train, **changes)
    name = dataclasses.replace(CONFIG.method, name=method)
    config = dataclasses.replace(CONFIG, method=name, train=train, use_fine=method == "fine")
    data = dataset()
    return start(config, data), training_view(config, data), config
