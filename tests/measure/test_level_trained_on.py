"""Measures of the level that is trained on do not depend on which finer level is known."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import CONFIG

from fglib.config import AugmentConfig, MethodConfig
from fglib.data.images import DataSet
from fglib.data.made.parts import parts
from fglib.lab.run import start
from fglib.measure import Trained, measure

MEASURED = {
    "coarse2fine": (
        "accuracy",
        "recognition",
        "localization",
        "attention_parts",
        "classification_error",
        "confusions",
        "crops",
    ),
    "plain": ("accuracy", "recognition", "localization", "class_maps", "classification_error", "confusions", "crops"),
}


@pytest.fixture(scope="module")
def data():
    return DataSet("parts", *parts(32, kinds=3, models=2, images=18, test_images=18, clutter=3))


@pytest.mark.parametrize("name", MEASURED)
def test_the_finer_labels_change_nothing(data, name):
    names = dataclasses.replace(CONFIG.data, name="parts", coarse="kind", fine="model")
    changes = {"method": MethodConfig(name), "augment": AugmentConfig(), "measure": MEASURED[name]}
    config = dataclasses.replace(CONFIG, data=names, **changes)
    torch.manual_seed(3)
    method = start(config, data).eval()
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.2 * torch.randn_like(p))
    metrics, arrays = measure(Trained(method, data, config))
    same = dataclasses.replace(config, data=dataclasses.replace(names, fine="kind"))
    other_metrics, other_arrays = measure(Trained(method, data, same))
    assert metrics == other_metrics and arrays.keys() == other_arrays.keys()
    for key, values in arrays.items():
        assert np.array_equal(values, other_arrays[key]), key

    with torch.no_grad():
        logits = method.logits(data.test.images.float() / 255)
    hits = [int(row.argmax()) == int(y) for row, y in zip(logits, data.test.labels("kind"))]
    assert metrics["top1"] == metrics["coarse_top1"] == pytest.approx(100 * np.mean(hits)) and 0 < np.mean(hits) < 1
    assert metrics["test_error"] == pytest.approx(100 - metrics["top1"])
    assert sum(arrays["confusions"][:, 2]) == len(hits) - sum(hits) and len(arrays["confusion_names"]) == 3
