"""RandAugment: each operation against torchvision on one image, draws per image, and the warp against loops."""

import math

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from fglib.data.randaugment import BLENDS, MOVES, OPERATIONS, TONES, RandAugment, operate, warp

SIZES = [(32, 32), (17, 24), (31, 9)]
BILINEAR = InterpolationMode.BILINEAR


def images(count, size=(16, 16), seed=0):
    """Photographs of a kind, uint8 (count, 3, H, W): smooth, coloured, not of every level."""
    noise = torch.rand(count, 3, 5, 4, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(noise, size, mode="bicubic").clamp(0, 1) * 200 + 20).round().byte()


def apply(name, image, strength, sign=1):
    """The operation's result (3, H, W) for one image with levels 0 to 255."""
    row = torch.tensor([OPERATIONS.index(name)])
    return operate(image[None].float() / 255, row, strength, torch.tensor([sign]))[0]


def solarize_add(image, strength):
    result = []
    for level in image.flatten().tolist():
        value = min(level / 255 + 0.43 * strength, 1)
        result.append(1 - value if value >= 0.5 else value)
    return torch.tensor(result).view(image.shape)


def reference(name, image, strength, sign):
    """What torchvision makes of the image, in [0, 1]."""
    pixels, factor, height, width = image.float() / 255, 0.1 + 1.8 * strength, *image.shape[1:]

    def affine(turn=0.0, shift=(0.0, 0.0), shear=(0.0, 0.0)):
        return tv.affine(pixels, turn, list(shift), 1.0, list(shear), BILINEAR)

    return {
        "autocontrast": lambda: tv.autocontrast(pixels),
        "equalize": lambda: tv.equalize(image).float() / 255,
        "invert": lambda: tv.invert(image).float() / 255,
        "posterize": lambda: tv.posterize(image, int(8 - 4 * strength)).float() / 255,
        "solarize": lambda: tv.solarize(pixels, strength),
        "solarize_add": lambda: solarize_add(image, strength),
        "contrast": lambda: tv.adjust_contrast(pixels, factor),
        "brightness": lambda: tv.adjust_brightness(pixels, factor),
        "color": lambda: tv.adjust_saturation(pixels, factor),
        "sharpness": lambda: tv.adjust_sharpness(pixels, factor),
        "rotate": lambda: affine(turn=sign * 30 * strength),
        "shear_x": lambda: affine(shear=(sign * 54 * strength, 0.0)),
        "shear_y": lambda: affine(shear=(0.0, sign * 54 * strength)),
        "translate_x": lambda: affine(shift=(sign * 0.1 * strength * width, 0.0)),
        "translate_y": lambda: affine(shift=(0.0, sign * 0.1 * strength * height)),
    }[name]()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("strength", [0.1, 0.3, 0.77])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_torchvisions(name, strength, size):
    for sign in (1, -1):
        image = images(1, size)[0]
        wanted = reference(name, image, strength, sign)
        assert torch.allclose(apply(name, image, strength, sign), wanted, atol=2e-5)
        assert name == "solarize" or not torch.allclose(wanted, image / 255, atol=1e-3)  # something was done


def test_equalize_is_exact_for_images_of_every_kind():
    generator = torch.Generator().manual_seed(0)
    many = [
        torch.randint(0, 256, (3, 40, 40), generator=generator),  # every level
        torch.randint(0, 3, (3, 40, 40), generator=generator) * 100,  # three levels
        torch.randint(0, 256, (3, 5, 7), generator=generator),  # fewer pixels than levels: left alone
        torch.full((3, 20, 20), 77),  # one level: left alone
        (torch.rand(3, 50, 50, generator=generator) ** 4 * 255).long(),  # dark
        torch.stack((torch.zeros(30, 30), torch.full((30, 30), 255), torch.arange(900).view(30, 30) % 256)).long(),
    ]
    for image in (m.byte() for m in many):
        assert torch.equal((apply("equalize", image, 0.3) * 255).round().byte(), tv.equalize(image))


def test_a_flat_channel_keeps_its_level_when_contrast_is_stretched():
    image = images(1)[0]
    image[1] = 90
    stretched = apply("autocontrast", image, 0.3)
    assert torch.allclose(stretched[1], torch.tensor(90 / 255))
    assert stretched[0].min() == 0 and stretched[0].max() == 1


@pytest.mark.parametrize(
    ("name", "strength"),
    [(name, 0.0) for name in (*MOVES, "posterize")]
    + [(name, 0.5) for name in (*BLENDS, "contrast", "brightness")]
    + [("solarize", 1.0)],  # nothing in the image is white
)
def test_at_this_strength_nothing_changes(name, strength):
    for sign in (1, -1):
        assert torch.allclose(apply(name, images(1)[0], strength, sign), images(1)[0] / 255, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("equalize", "autocontrast", "invert")])
def test_strength_matters_and_direction_only_to_what_moves(name):
    image = images(1)[0]
    assert not torch.allclose(apply(name, image, 0.2), apply(name, image, 0.9), atol=1e-3)
    same = torch.equal(apply(name, image, 0.3, 1), apply(name, image, 0.3, -1))
    assert same != (name in MOVES)


def test_levels_between_the_256_are_rounded_for_tables_and_kept_for_the_others():
    pixels = torch.full((len(OPERATIONS), 3, 4, 4), 100.4 / 255)
    pixels[..., 0] = 50.6 / 255
    results = operate(pixels, torch.arange(len(OPERATIONS)), 0.5, torch.ones(len(OPERATIONS)))
    inverted = results[OPERATIONS.index("invert")]
    assert torch.allclose(inverted[:, :, 1:], torch.tensor(155 / 255)) and torch.allclose(
        inverted[:, :, 0], torch.tensor(204 / 255)
    )
    assert torch.allclose(results[OPERATIONS.index("color")], pixels[0], atol=1e-6)


def test_in_a_batch_every_image_gets_its_own_operation_and_direction():
    many = images(2 * len(OPERATIONS)).float() / 255
    operation, sign = torch.arange(len(OPERATIONS)).repeat(2), torch.tensor([1, -1]).repeat_interleave(len(OPERATIONS))
    order = torch.randperm(len(many), generator=torch.Generator().manual_seed(1))
    together = operate(many[order], operation[order], 0.4, sign[order])
    for row, image in zip(order.tolist(), together):
        name = OPERATIONS[row % len(OPERATIONS)]
        alone = apply(name, (many[row] * 255).round().byte(), 0.4, sign[row].item())
        assert torch.allclose(image, alone, atol=1e-5)


@pytest.mark.parametrize(("count", "size"), [(1, (16, 16)), (6, (1, 1)), (6, (2, 5)), (5, (7, 1)), (3, (13, 30))])
def test_batches_of_one_and_images_of_any_size(count, size):
    many = images(count, size).float() / 255
    torch.manual_seed(0)
    result = RandAugment(len(OPERATIONS), 20.0)(many)
    assert result.shape == many.shape and result.isfinite().all() and result.min() >= 0
    assert result.max() <= 1 + 1e-6


def test_an_image_too_small_for_a_neighbourhood_is_not_sharpened():
    for size in ((2, 9), (9, 2), (1, 1)):
        image = images(1, size)[0]
        assert torch.allclose(apply("sharpness", image, 0.9), image / 255, atol=1e-6)


@pytest.mark.parametrize(("operations", "magnitude"), [(1, 9.0), (2, 9.0), (3, 29.9), (15, 0.1)])
def test_it_is_its_operations_one_after_the_other_on_one_image_at_a_time(operations, magnitude):
    many = images(40)
    augment = RandAugment(operations, magnitude)
    torch.manual_seed(3)
    together = augment(many.float() / 255)
    torch.manual_seed(3)
    rows, signs = augment.draw(40, many.device)
    assert rows.shape == signs.shape == (operations, 40)
    for image, own_rows, own_signs, wanted in zip(many.float() / 255, rows.T, signs.T, together):
        for row, sign in zip(own_rows, own_signs):
            image = operate(image[None], row[None], magnitude / 30, sign[None])[0]
        # a value on the edge between two levels may fall to either side, where the sum over a batch has another order
        assert (image - wanted).abs().median() < 1e-5 and ((image - wanted).abs() > 1e-4).float().mean() < 0.02


def test_draws_are_distinct_in_an_image_equally_frequent_and_of_both_directions():
    torch.manual_seed(0)
    rows, signs = RandAugment(3, 9.0).draw(6000, torch.device("cpu"))
    assert (rows.sort(0).values.diff(dim=0) > 0).all()
    for position in rows:  # also at each place in the order
        share = torch.bincount(position, minlength=len(OPERATIONS)) / 6000
        assert ((share - 1 / len(OPERATIONS)).abs() < 0.015).all()
    pairs = torch.bincount(rows[0] * len(OPERATIONS) + rows[1], minlength=len(OPERATIONS) ** 2)
    assert (pairs > 0).sum() == len(OPERATIONS) * (len(OPERATIONS) - 1)
    assert set(signs.unique().tolist()) == {-1, 1} and signs.float().mean().abs() < 0.03
    for row in range(len(OPERATIONS)):
        assert signs[rows == row].float().mean().abs() < 0.15


def test_images_of_a_batch_and_calls_differ_and_the_seed_repeats_them():
    same = (images(1).float() / 255).expand(60, -1, -1, -1)
    augment = RandAugment(2, 9.0)
    torch.manual_seed(5)
    first, second = augment(same), augment(same)
    assert len({tuple(image.flatten().tolist()) for image in first}) > 40
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(augment(same), first) and torch.equal(augment(same), second)


def test_the_images_that_were_given_stay_as_they_are():
    many = images(30).float() / 255
    before = many.clone()
    RandAugment(15, 25.0)(many)
    assert torch.equal(many, before)


def test_the_list_of_operations_is_complete():
    assert len(set(OPERATIONS)) == 15 and set(OPERATIONS) == set(TONES) | set(BLENDS) | set(MOVES)


def read(image, row, column, padding_mode):
    """The value (C,) of an image (C, H, W) at a place between pixels."""
    _, height, width = image.shape
    if padding_mode == "border":
        row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    total = torch.zeros(len(image), dtype=image.dtype)
    for i in (math.floor(row), math.floor(row) + 1):
        for k in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < height and 0 <= k < width:
                total += (1 - abs(row - i)) * (1 - abs(column - k)) * image[:, i, k]
    return total


@pytest.mark.parametrize("padding_mode", ["zeros", "border"])
@pytest.mark.parametrize("size", [None, (4, 9), (1, 1)])
def test_a_warp_reads_every_pixel_where_its_own_map_says(padding_mode, size):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, 2, 6, 5, generator=generator, dtype=torch.float64)
    matrices = torch.randn(3, 2, 3, generator=generator, dtype=torch.float64)
    result = warp(pixels, matrices, padding_mode, size)
    height, width = size or (6, 5)
    assert result.shape == (3, 2, height, width)
    for image, matrix, warped in zip(pixels, matrices.tolist(), result):
        for i in range(height):
            for k in range(width):
                x, y = k - (width - 1) / 2, i - (height - 1) / 2
                column, row = (a * x + b * y + c for a, b, c in matrix)
                wanted = read(image, row + 5 / 2, column + 4 / 2, padding_mode)
                assert torch.allclose(warped[:, i, k], wanted, atol=1e-9)


def test_a_warp_by_the_identity_is_the_image_and_by_whole_pixels_a_window_of_it():
    pixels = images(1, (9, 12)).float() / 255
    matrix = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    assert torch.allclose(warp(pixels, matrix, "zeros"), pixels, atol=1e-5)
    matrix[0, :, 2] = torch.tensor([3.0, -2.0])
    moved = warp(pixels, matrix, "zeros")
    assert torch.allclose(moved[..., 2:, :-3], pixels[..., :-2, 3:], atol=1e-5)
    assert moved[..., :2, :].abs().max() < 1e-5 and moved[..., -3:].abs().max() < 1e-5
