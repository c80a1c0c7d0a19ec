"""The threshold of the boxes is chosen on the training images, where test images would choose another."""

import dataclasses

import torch
from tiny import CONFIG

from fglib.config import MethodConfig
from fglib.data.images import DataSet
from fglib.data.made.patches import nested_patches
from fglib.measure import Trained, measure

INNER, OUTER = [12.0, 12.0, 20.0, 20.0], [6.0, 6.0, 26.0, 26.0]


class Shown(torch.nn.Module):
    """A location map is the image's first channel."""

    def location_maps(self, images):
        return images[:, 0]

    def logits(self, images):
        return torch.zeros(len(images), 3)


def measured(boxes, test_boxes):
    """Metrics where every map is high in INNER and half as high around it, up to OUTER."""
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[:, 6:26, 6:26] = 120
    image[:, 12:20, 12:20] = 240
    parts = []
    for part, of_part in zip(nested_patches(32, classes=3, children=2, images=30), (boxes, test_boxes)):
        part = part.subset(range(len(of_part)))
        images = image.expand(len(of_part), -1, -1, -1)
        parts.append(dataclasses.replace(part, images=images, masks={}, boxes=torch.tensor(of_part)))
    config = dataclasses.replace(CONFIG, method=MethodConfig("plain"), measure=("localization",))
    return measure(Trained(Shown(), DataSet("shown", *parts), config))[0]


def test_no_box_of_the_test_set_chooses():
    metrics = measured([INNER] * 12, [OUTER] * 5)
    assert metrics["threshold"] > 0.5 and metrics["box_error"] == 100 == metrics["localization_error"]
    metrics = measured([OUTER] * 12, [OUTER] * 5)
    assert metrics["threshold"] < 0.5 and metrics["box_error"] == 0


def test_all_training_images_choose():
    """Two thirds are of the other opinion than the first ones."""
    assert measured([OUTER] * 4 + [INNER] * 8, [OUTER] * 4)["threshold"] > 0.5
    assert measured([INNER] * 4 + [OUTER] * 8, [INNER] * 4)["threshold"] < 0.5
