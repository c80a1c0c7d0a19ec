"""WS-DAN, place by place: what an image loses, what it is cropped to, and that the classifier sees both."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from tiny import CONFIG, dataset

from fglib.config import MethodConfig
from fglib.lab.run import start, training_view
from fglib.methods import Batch
from fglib.methods import coarse2fine as module

# of each map two places are above half of its maximum, and one on it or below; all three above 0.3 of it
MAPS = torch.tensor(
    [
        [[0.0, 0.2, 0.0, 0.0], [0.1, 4.0, 3.0, 0.2], [0.0, 2.0, 0.4, 0.0], [0.0, 0.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.6, 0.0], [0.0, 0.0, 0.0, 4.0], [0.0, 0.0, 0.0, 2.4]],
    ]
)


@pytest.fixture
def method():
    """In evaluation, with the maps MAPS of every image, at its size; the batch; and the images that were looked at."""
    config = dataclasses.replace(CONFIG, method=MethodConfig("ws_dan", {"maps": 2, "crop": 0.3, "drop": 0.5}))
    data = dataset()
    torch.manual_seed(0)
    method, train = start(config, data).eval(), training_view(config, data)
    index = torch.tensor([0, 3, 5, 9])
    images = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    batch = Batch(images[None], train.labels("big")[index], index)
    seen, attend = [], method.attend

    def spy(images):
        seen.append(images)
        parts, _ = attend(F.interpolate(images, (16, 16)))
        return parts, MAPS.expand(len(images), -1, -1, -1)

    method.attend = spy
    return method, batch, seen


@torch.no_grad()
@pytest.mark.parametrize("drawn", [0, 1])
def test_what_the_drawn_map_is_above_a_threshold_on_is_dropped_and_nothing_else(method, monkeypatch, drawn):
    method, batch, seen = method
    monkeypatch.setattr(torch, "randint", lambda high, size, **_: torch.full(size, drawn))
    method.loss(batch)
    images, cropped, dropped = seen
    assert torch.equal(images, batch.views[0]) and len(seen) == 3
    high = [[(1, 1), (1, 2)], [(2, 3), (3, 3)]][drawn]
    for image, rest in zip(images, dropped):
        for y in range(4):
            for x in range(4):
                expected = torch.zeros(3) if (y, x) in high else image[:, y, x]
                assert torch.equal(rest[:, y, x], expected)
    torch.testing.assert_close(cropped, module.crop_to(images, MAPS[drawn].expand(4, -1, -1) > 0.3 * 4))
    assert not torch.equal(cropped, images)


@torch.no_grad()
def test_all_three_images_are_classified_and_count_a_third_each(method):
    method, batch, seen = method
    losses = method.loss(batch)
    for name, images in zip(("first", "crop", "drop"), seen[:3]):
        scores = method.scores(method.first_head, method.attend(images)[0])
        assert losses[name].item() == pytest.approx(F.cross_entropy(scores, batch.coarse).item() / 3, rel=1e-5)
    assert len({round(losses[name].item(), 5) for name in ("first", "crop", "drop")}) == 3
    three = losses["first"] + losses["crop"] + losses["drop"]
    assert losses["total"].item() == pytest.approx((three + losses["center"]).item(), rel=1e-5)


@torch.no_grad()
def test_at_inference_the_mean_of_the_maps_crops_and_nothing_is_dropped(method):
    method, batch, seen = method
    method.logits(batch.views[0])
    images, cropped = seen
    mean = MAPS.mean(0)
    assert torch.equal(images, batch.views[0])
    torch.testing.assert_close(cropped, module.crop_to(images, mean.expand(4, -1, -1) > 0.3 * mean.max()))
    for single in MAPS:
        assert not torch.equal(cropped, module.crop_to(images, single.expand(4, -1, -1) > 0.3 * 4))


def test_the_threshold_is_of_the_maximum_of_each_map():
    maps = torch.tensor([[1.0, 2.0], [10.0, 20.0]])[:, None, None]
    assert torch.equal(module.with_maximum_one(maps), torch.tensor([[0.5, 1.0], [0.5, 1.0]])[:, None, None])
