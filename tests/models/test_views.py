"""Five crops cut out by hand, and the mean of probabilities as a sum of softmaxes."""

import math

import pytest
import torch

from fglib.models.views import five_crops, mean_of_probabilities


def images(height, width):
    return torch.arange(1.0, 2 * 3 * height * width + 1).view(2, 3, height, width)


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 6), (8, 8, 8), (7, 9, 4), (9, 5, 1), (224, 224, 196)])
def test_five_crops_are_the_corners_and_the_center(height, width, side):
    whole = images(height, width)
    crops = five_crops(whole, side)
    assert crops.shape == (5, 2, 3, side, side)
    bottom, right = height - side, width - side
    for crop, (top, left) in zip(crops, [(0, 0), (0, right), (bottom, 0), (bottom, right)]):
        assert torch.equal(crop, whole[:, :, top : top + side, left : left + side])
    middle = whole[:, :, round(bottom / 2) :, round(right / 2) :][:, :, :side, :side]
    assert torch.equal(crops[4], middle)


def test_the_frame_is_zeros_and_the_middle_crop_of_the_images_own_size_is_the_image():
    whole = images(6, 6)
    crops = five_crops(whole, 6, padding=2)
    assert torch.equal(crops[4], whole)
    first = crops[0]  # two rows and columns of the frame, then the image
    assert not first[:, :, :2].any() and not first[:, :, :, :2].any()
    assert torch.equal(first[:, :, 2:, 2:], whole[:, :, :4, :4])
    last = crops[3]
    assert not last[:, :, 4:].any() and not last[:, :, :, 4:].any()
    assert torch.equal(last[:, :, :4, :4], whole[:, :, 2:, 2:])


@pytest.mark.parametrize(
    ("side", "padding", "message"),
    [(9, 0, "side is 9.*8 x 10"), (0, 0, "side is 0"), (-1, 0, "side is -1"), (13, 2, "side is 13.*12 x 14")],
)
def test_crops_that_do_not_fit(side, padding, message):
    with pytest.raises(ValueError, match=message):
        five_crops(images(8, 10), side, padding)


@pytest.mark.parametrize("views", [1, 2, 5])
def test_the_mean_of_probabilities_slowly(views):
    scores = 3 * torch.randn(views, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = mean_of_probabilities(scores)
    for i in range(4):
        mean = [0.0] * 6
        for look in scores[:, i].tolist():
            total = math.fsum(math.exp(s) for s in look)
            mean = [m + math.exp(s) / total / views for m, s in zip(mean, look)]
        torch.testing.assert_close(found[i].exp(), torch.tensor(mean, dtype=torch.float64))


def test_what_is_added_to_all_scores_of_a_look_does_not_matter_and_nothing_overflows():
    scores = torch.tensor([[[0.0, 1.0, -2.0]], [[3.0, 0.0, 0.0]]])
    torch.testing.assert_close(
        mean_of_probabilities(scores + torch.tensor([700.0, -300.0])[:, None, None]),
        mean_of_probabilities(scores),
        rtol=1e-4,
        atol=1e-4,
    )
    extreme = mean_of_probabilities(torch.tensor([[[1e4, 0.0]], [[0.0, 1e4]]]))
    torch.testing.assert_close(extreme, torch.full((1, 2), -math.log(2)))


def test_the_mean_is_of_probabilities_not_of_scores():
    """One look is sure of the second class, two prefer the first."""
    scores = torch.tensor([[[0.0, 9.0]], [[3.0, 0.0]], [[3.0, 0.0]]])
    assert scores.mean(0).argmax() == 1 and mean_of_probabilities(scores)[0].argmax() == 0
