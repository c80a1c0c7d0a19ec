"""Figures: what is drawn is what was given, and nothing is told by color alone."""

from itertools import groupby

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from fglib.methods import METHODS
from fglib.pages import plots
from fglib.pages.labels import PALETTE, colour, label


@pytest.fixture
def ax():
    with plt.rc_context():
        plots.use_style()
        figure, ax = plt.subplots()
        yield ax
        figure.canvas.draw()  # what cannot be rendered fails here, missing glyphs included
    plt.close("all")


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 6, 5, 3), dtype=np.uint8)


def test_every_method_has_a_name_and_a_colour_of_its_own_within_its_paper():
    for module, classes in groupby(METHODS.values(), lambda method: method.__module__):
        drawn = [method for method in classes if method.colour]
        assert len({method.colour for method in drawn}) == len({method.label for method in drawn}) == len(drawn), module
    assert all(label(name) == method.label != "" for name, method in METHODS.items())
    assert colour("a new one") == colour("a new one") in PALETTE


def test_interval_is_students():
    """Three values: t(0.975, 2) = 4.302653, so the half-width is 4.302653 s / sqrt(3)."""
    mean, half = plots.interval(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]))
    np.testing.assert_allclose(mean, [2.0, 5.0])
    np.testing.assert_allclose(half, [4.302653 / np.sqrt(3), 0.0], rtol=1e-6)
    assert plots.interval([7.0]) == (7.0, 0.0)


def test_recall_curve_draws_mean_and_band(ax):
    values = {"base": np.array([[10.0, 20, 40], [14, 24, 44], [12, 22, 42]]), "indi": np.array([[1.0, 2, 4]])}
    plots.recall_curve(ax, (1, 2, 8), values)
    base, indi = ax.get_lines()
    np.testing.assert_allclose(base.get_xydata(), [[1, 12], [2, 22], [8, 42]])
    np.testing.assert_allclose(indi.get_ydata(), [1, 2, 4])
    assert to_hex(base.get_color()).upper() == plots.COLOURS["base"]
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    _, half = plots.interval(values["base"])
    assert band.min() == pytest.approx(12 - half[0]) and band.max() == pytest.approx(42 + half[2])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["Base", "Indi"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "8"]


def test_bars_show_mean_interval_and_every_seed(ax):
    plots.bars_with_spread(ax, {"base": np.array([50.0, 52, 54]), "base_indi": np.array([60.0])}, "fine R@1 (%)")
    assert [bar.get_height() for bar in ax.patches] == [52, 60]
    assert sum(len(c.get_offsets()) for c in ax.collections if len(c.get_offsets())) >= 4
    assert [t.get_text() for t in ax.get_xticklabels()] == ["Base", "Base-Indi"]
    assert ax.get_ylabel() == "fine R@1 (%)"


def test_gallery_tells_right_from_wrong_in_three_ways():
    correct = np.array([[True, False, True], [False, False, True]])
    found = {"base": (pictures(2, 3), correct), "mine": (pictures(2, 2), ~correct[:, :2])}
    ax = plots.gallery(pictures(2), found, names=["birds/green_finch", "x" * 40])
    assert len(ax.images) == 2 + 2 * (3 + 2)
    words = [text.get_text() for text in ax.texts]
    assert [word for word in words if word not in "✓✗"][:4] == ["query", "green finch", "x" * 17 + "…", "Base"]
    looks = {True: set(), False: set()}
    truth = np.concatenate([correct.flatten(), ~correct[:, :2].flatten()])
    marks = [word for word in words if word in "✓✗"]
    for right, frame, mark in zip(truth, ax.patches, marks, strict=True):
        looks[bool(right)].add((to_hex(frame.get_edgecolor()), frame.get_linestyle(), mark))
    assert len(looks[True]) == len(looks[False]) == 1
    assert all(one != other for one, other in zip(looks[True].pop(), looks[False].pop()))  # colour, line and mark
    ax.figure.canvas.draw()
    plt.close("all")


def test_gallery_shows_each_picture_in_a_place_of_its_own():
    queries, found = pictures(3), pictures(3, 2)
    ax = plots.gallery(queries, {"base": (found, np.ones((3, 2), dtype=bool))})
    places = [tuple(image.get_extent()) for image in ax.images]
    assert len(set(places)) == len(places) == 9
    below = [places[k][3] for k in (0, 1, 2)]
    assert below == sorted(below)  # the first query stands on top
    np.testing.assert_array_equal(ax.images[3].get_array(), found[0, 0])
    plt.close("all")


@pytest.mark.parametrize("count, rows", [(1, 1), (4, 1), (5, 2)])
@pytest.mark.parametrize("channels_first", [False, True])
def test_image_grid_shows_every_image_once(count, rows, channels_first):
    images = pictures(count)
    given = images.transpose(0, 3, 1, 2) if channels_first else images
    axes = plots.image_grid(given, titles=[f"t{i}" for i in range(count)], columns=4)
    assert axes.size == rows * 4
    shown = [ax for ax in axes.flat if ax.images]
    assert [ax.get_title() for ax in shown] == [f"t{i}" for i in range(count)]
    for ax, image in zip(shown, images):
        np.testing.assert_array_equal(ax.images[0].get_array(), image)
    plt.close("all")


@pytest.mark.parametrize("kinds", [3, 30])
def test_embedding_scatter_draws_every_point(ax, kinds):
    draw = np.random.default_rng(0)
    xy, labels = draw.normal(size=(60, 2)).astype(np.float16), np.arange(60) % kinds
    plots.embedding_scatter(ax, xy, labels, names=[f"group/{i}" for i in range(kinds)], title="Base")
    assert sum(len(c.get_offsets()) for c in ax.collections) == 60
    assert len({to_hex(c.get_facecolor()[0]) for c in ax.collections}) == kinds
    assert (ax.get_legend() is not None) == (kinds <= 10)
    assert ax.get_title() == "Base"


@pytest.mark.parametrize("peak", [0.0, 0.25])
def test_attention_overlay_scales_the_map_over_the_whole_image(ax, peak):
    attention = np.zeros((3, 2), dtype=np.float16)
    attention[1, 1] = peak
    plots.attention_overlay(ax, pictures()[...], attention)
    image, overlay = ax.images
    assert image.get_extent() == overlay.get_extent() == [0, 5, 6, 0]
    assert overlay.get_array().max() == (1.0 if peak else 0.0)


def test_training_curves_draw_the_part_that_is_there(ax):
    history = [{"epoch": e, "total": 3.0 - e, "instance": 1.0} for e in range(3)]
    plots.training_curves(ax, {"base_indi": history, "base": [{"epoch": 0, "total": 1.0}]}, part="instance")
    (line,) = ax.get_lines()
    assert list(line.get_ydata()) == [1.0, 1.0, 1.0] and line.get_label() == "Base-Indi"


def test_boxes_are_drawn_in_parts_of_the_side_and_differ_in_line_and_colour(ax):
    found, true = (0.0, 0.5, 0.4, 1.0), (0.2, 0.0, 1.0, 0.5)
    plots.boxes(ax, pictures()[...], np.ones((3, 2)), found, true)  # 6 x 5 pixels
    solid, dashed = ax.patches
    assert [solid.get_x(), solid.get_y(), solid.get_width(), solid.get_height()] == pytest.approx([1, 0, 4, 3])
    assert [dashed.get_x(), dashed.get_y(), dashed.get_width(), dashed.get_height()] == pytest.approx([0, 3, 2, 3])
    assert solid.get_linestyle() != dashed.get_linestyle()
    assert solid.get_edgecolor() != dashed.get_edgecolor()
    assert not solid.get_fill() and len(ax.images) == 2


def test_attention_maps_stand_beside_their_image_each_on_its_own_scale():
    images, maps = pictures(2), np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float16)
    maps[1, 2] = 0
    axes = plots.attention_maps(images, maps)
    assert axes.shape == (2, 4)
    for row, image, attention in zip(axes, images, maps):
        np.testing.assert_array_equal(row[0].images[0].get_array(), image)
        for ax, values in zip(row[1:], attention):
            drawn = ax.images[1].get_array()
            np.testing.assert_allclose(drawn, values.astype(float) / (values.max() or 1))
            assert [text.get_text() for text in ax.texts] == ([] if values.any() else ["empty"])
    assert [ax.get_title() for ax in axes[0]] == ["image", "map 1", "map 2", "map 3"]
    plt.close("all")


def test_error_curves_draw_mean_and_band_and_differ_in_line_and_colour(ax):
    errors = np.array([[90.0, 40, 20], [94, 44, 24], [92, 42, 22]])
    plots.error_curves(ax, {"plain": ([2, 4, 6], errors), "gce": ([3, 6], np.array([[80.0, 10]]))}, "test error (%)")
    plain, gce = ax.get_lines()
    np.testing.assert_allclose(plain.get_xydata(), [[2, 92], [4, 42], [6, 22]])
    np.testing.assert_allclose(gce.get_xydata(), [[3, 80], [6, 10]])
    assert plain.get_color() != gce.get_color() and plain.get_linestyle() != gce.get_linestyle()
    bands = [band.get_paths()[0].vertices[:, 1] for band in ax.collections]
    half = plots.interval(errors)[1]
    assert bands[0].min() == pytest.approx(22 - half[2]) and bands[0].max() == pytest.approx(92 + half[0])
    assert bands[1].min() == 10 and bands[1].max() == 80  # a single seed has no band
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["plain network", "GCE"]
    assert ax.get_ylabel() == "test error (%)"


def test_class_maps_stand_below_their_image_with_the_same_frames():
    images, maps = pictures(3), np.random.default_rng(0).random((3, 4, 4))
    frames = np.tile([[0.2, 0.0, 1.0, 0.5], [0.0, 0.5, 0.4, 1.0]], (3, 1, 1))  # 6 x 5 pixels
    axes = plots.class_maps(images, {"plain": maps, "db": 2 * maps}, frames)
    assert axes.shape == (3, 3)
    for image, values, column in zip(images, maps, axes.T):
        np.testing.assert_array_equal(column[0].images[0].get_array(), image)
        for ax in column[1:]:
            np.testing.assert_allclose(ax.images[1].get_array(), values / values.max())
        for ax in column:
            drawn = [[*p.get_xy(), p.get_width(), p.get_height()] for p in ax.patches]
            np.testing.assert_allclose(drawn, [[1, 0, 4, 3], [0, 3, 2, 3]])
    assert [ax.texts[0].get_text() for ax in axes[:, 0]] == ["image", "plain network", "DB"]
    axes[0, 0].figure.canvas.draw()
    plt.close("all")


def test_a_diagram_has_boxes_around_their_middle_and_arrows_from_start_to_end(ax):
    plots.labelled_box(ax, 2.0, 1.0, "block", "#CFE3F1", width=3.0, height=1.0)
    (box,), (text,) = ax.patches, ax.texts
    assert (*box.get_xy(), box.get_width(), box.get_height()) == (0.5, 0.5, 3.0, 1.0)
    assert (text.get_text(), text.get_position(), to_hex(box.get_facecolor())) == ("block", (2.0, 1.0), "#cfe3f1")
    plots.arrow(ax, (4.0, 1.0), (5.0, 2.0), color="grey", linestyle="--")
    (_, arrow) = ax.texts
    assert (arrow.xyann, arrow.xy) == ((4.0, 1.0), (5.0, 2.0))  # from, to
    assert to_hex(arrow.arrow_patch.get_edgecolor()) == "#808080"
