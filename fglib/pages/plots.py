"""The book's figures: one function per kind, arrays in, matplotlib Axes out.

One colour per method and one marker per data set through the whole book (`fglib.pages.labels`).
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from scipy.special import stdtrit

from fglib.pages.labels import COLOURS as COLOURS
from fglib.pages.labels import PALETTE as PALETTE
from fglib.pages.labels import colour, label

MARKERS = {"cifar100": "o", "omniglot": "s", "cub50": "^", "patches": "D", "digits": "v", "pets": "P", "sop": "X"}
RIGHT, WRONG = "#009E73", "#D55E00"
TRUE_BOX = {"edgecolor": "white", "linestyle": "-", "linewidth": 1.8}
FOUND_BOX = {"edgecolor": "#56B4E9", "linestyle": "--", "linewidth": 1.8}


def use_style() -> None:
    """The book's one figure style, of `book.mplstyle`; called once at the head of a chapter."""
    plt.style.use("fglib.pages.book")


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and half-width of the 95 % t-interval over the first axis; zero half-width for a single value."""
    values = np.asarray(values, dtype=float)
    n = len(values)
    if n < 2:
        return values.mean(0), np.zeros_like(values.mean(0))
    return values.mean(0), stdtrit(n - 1, 0.975) * values.std(0, ddof=1) / np.sqrt(n)


def image_grid(images: np.ndarray, titles: Sequence[str] = (), columns: int = 8, side: float = 1.0) -> np.ndarray:
    """Pictures (n, H, W, 3) or (n, 3, H, W) uint8 in rows of `columns`; returns the array of Axes."""
    images = _channels_last(images)
    rows = -(-len(images) // columns)
    _, axes = plt.subplots(rows, columns, figsize=(side * columns, side * rows * (1.25 if len(titles) else 1)))
    axes = np.atleast_1d(axes)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image in zip(axes.flat, images):
        ax.imshow(image, interpolation="nearest")
    for ax, title in zip(axes.flat, titles):
        ax.set_title(title, fontsize=8)
    return axes


def gallery(queries: np.ndarray, found: Mapping[str, tuple[np.ndarray, np.ndarray]], names: Sequence[str] = ()) -> Axes:
    """Queries (Q, H, W, 3) on the left, what each method retrieves to the right, best first.

    found: {method: (pictures (Q, k, H, W, 3), correct (Q, k) bool)}. A retrieved picture is framed: solid green with a
    tick for the query's own fine class, dashed red with a cross for another. All are drawn into one Axes, a picture
    taking 1 x 1 of it: an Axes for each would take ten times as long.
    """
    count, gap = len(queries), 0.25  # between the groups, in pictures
    width = 1 + sum(gap + pictures.shape[1] for pictures, _ in found.values())
    side = min(0.95, 9 / width)
    _, ax = plt.subplots(figsize=(side * width, side * count))
    ax.axis((0, width, count + 0.05, -0.05))
    ax.set_axis_off()
    ax.text(0.5, -0.1, "query", fontsize=8, ha="center")
    for q, query in enumerate(queries):
        _picture_at(ax, query, 0, q)
        if len(names):
            ax.text(-0.1, q + 0.5, _short(names[q]), fontsize=7, ha="right", va="center")
    left = 1.0
    for method, (pictures, correct) in found.items():
        left += gap
        ax.text(left, -0.1, label(method), fontsize=9, color=colour(method))
        for q, k in np.ndindex(correct.shape):
            shade, line, mark = (RIGHT, "-", "✓") if correct[q, k] else (WRONG, "--", "✗")
            _picture_at(ax, pictures[q, k], left + k, q)
            edge = dict(fill=False, edgecolor=shade, linestyle=line, linewidth=2)
            ax.add_patch(plt.Rectangle((left + k + 0.03, q + 0.03), 0.94, 0.94, **edge))
            tag = dict(facecolor=shade, edgecolor="none", pad=1)
            look = dict(fontsize=8, color="white", va="top", weight="bold", bbox=tag)
            ax.text(left + k + 0.06, q + 0.06, mark, **look)
        left += pictures.shape[1]
    return ax


def recall_curve(ax: Axes, ks: Sequence[int], values: Mapping[str, np.ndarray]) -> Axes:
    """Recall@k in percent over k (log2 axis): mean and 95 % interval of values {method: (seeds, k)}."""
    for method, table in values.items():
        _line(ax, method, ks, table, marker="o", markersize=4)
    ax.set_xscale("log", base=2 if max(ks) < 10 else 10)
    ax.set_xticks(ks, [str(k) for k in ks])
    ax.minorticks_off()
    ax.set(xlabel="k", ylabel="Recall@k (%)")
    ax.legend()
    return ax


def bars_with_spread(ax: Axes, values: Mapping[str, np.ndarray], ylabel: str = "") -> Axes:
    """One bar per method: mean over seeds, 95 % interval, and every seed as a dot."""
    for i, (method, seeds) in enumerate(values.items()):
        mean, half = interval(seeds)
        ax.bar(i, mean, color=colour(method), alpha=0.85, width=0.7)
        if len(seeds) > 1:
            ax.errorbar(i, mean, yerr=half, color="black", capsize=3, linewidth=1)
        ax.scatter(np.full(len(seeds), i) + 0.18, seeds, s=10, color="black", zorder=3)
    ax.set_xticks(range(len(values)), [label(m) for m in values])
    ax.set_ylabel(ylabel)
    ax.grid(axis="x", visible=False)
    return ax


def embedding_scatter(ax: Axes, xy: np.ndarray, labels: np.ndarray, names: Sequence[str] = (), title: str = "") -> Axes:
    """Points (n, 2) coloured by label (n,); a legend for up to ten named labels. Distances in a t-SNE mean little."""
    labels = np.asarray(labels)
    kinds = np.unique(labels)
    few = len(kinds) <= 10
    named = few and len(names) > 0
    for i, kind in enumerate(kinds):
        shade = plt.cm.tab10(i) if few else plt.cm.turbo(i / (len(kinds) - 1))
        name = _short(names[kind]) if named else None
        ax.scatter(*xy[labels == kind].astype(float).T, s=6, color=shade, label=name, linewidth=0)
    ax.set(xticks=[], yticks=[], title=title)
    ax.grid(visible=False)
    if named:
        ax.legend(fontsize=7, markerscale=2, loc="best")
    return ax


def attention_overlay(ax: Axes, image: np.ndarray, attention: np.ndarray) -> Axes:
    """An image (H, W, 3) or (3, H, W) in grey under its attention map (h, w), which is scaled to its own maximum."""
    image = _channels_last(image[None])[0]
    extent = (0, image.shape[1], image.shape[0], 0)
    ax.imshow(image.mean(2), cmap="gray", vmin=0, vmax=255, extent=extent)
    attention = attention.astype(float)
    peak = attention.max()
    relative = attention / peak if peak > 0 else attention
    ax.imshow(relative, cmap="inferno", vmin=0, vmax=1, alpha=0.65, extent=extent, interpolation="bilinear")
    ax.axis("off")
    return ax


def training_curves(ax: Axes, histories: Mapping[str, Sequence[dict]], part: str = "total") -> Axes:
    """A part of the training loss over epochs, one line per method; methods without that part are left out."""
    for method, history in histories.items():
        if part in history[0]:
            x, y = [h["epoch"] for h in history], [h[part] for h in history]
            ax.plot(x, y, color=colour(method), label=label(method))
    ax.set(xlabel="epoch", ylabel=f"{part} training loss")
    ax.legend()
    return ax


def boxes(ax: Axes, image: np.ndarray, attention: np.ndarray, found: Sequence[float], true: Sequence[float]) -> Axes:
    """`attention_overlay` with the box that was found, dashed, and the true one, solid.

    found, true: (x0, y0, x1, y1) in parts of the side, as a picture may be smaller than the image it was made of.
    """
    attention_overlay(ax, image, attention)
    for box, look in ((true, TRUE_BOX), (found, FOUND_BOX)):
        _frame(ax, box, _channels_last(image[None])[0], look)
    return ax


def attention_maps(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Pictures (n, H, W, 3) on the left, each under its attention maps (n, M, h, w) to the right.

    Every map is scaled to its own maximum; one that is zero everywhere says "empty". Returns the array of Axes
    (n, 1 + M).
    """
    count, number = maps.shape[:2]
    axes = _close(count, 1 + number, (min(10, 1.05 * (1 + number)), 1.1 * count))
    for row, image, attention in zip(axes, _channels_last(images), maps):
        _picture(row[0], image)
        for ax, values in zip(row[1:], attention):
            attention_overlay(ax, image, values)
            if not values.any():
                ax.text(0.5, 0.5, "empty", color="white", fontsize=8, ha="center", va="center", transform=ax.transAxes)
    _head(axes, "image", *(f"map {k}" for k in range(1, number + 1)))
    return axes


def error_curves(ax: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], ylabel: str = "") -> Axes:
    """Errors over epochs, mean and 95 % interval over seeds, of {method: (epochs (m,), errors (seeds, m))}."""
    styles = cycle(("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))))
    for (method, (epochs, errors)), style in zip(curves.items(), styles):
        _line(ax, method, epochs, errors, linestyle=style)
    ax.set(xlabel="epoch", ylabel=ylabel)
    ax.legend()
    return ax


def class_maps(images: np.ndarray, maps: Mapping[str, np.ndarray], frames: np.ndarray) -> np.ndarray:
    """Pictures (n, H, W, 3) in the top row, each over its map in a row of every method: {name: (n, h, w)}.

    frames: (n, k, 4), boxes (x0, y0, x1, y1) in parts of the side, drawn into every picture. Every map is scaled to its
    own maximum. Returns the array of Axes (1 + methods, n).
    """
    rows, side = ["image", *maps], min(1.2, 9 / len(images))
    size = (side * len(images) + 0.3, 1.03 * side * len(rows))
    axes = _close(len(rows), len(images), size)
    for name, row in zip(rows, axes):
        for i, (ax, image) in enumerate(zip(row, _channels_last(images))):
            if name == "image":
                _picture(ax, image)
            else:
                attention_overlay(ax, image, maps[name][i])
            for box in frames[i]:
                _frame(ax, box, image, TRUE_BOX | {"linewidth": 1.2})
        look = dict(rotation=90, fontsize=8, ha="right", va="center", transform=row[0].transAxes)
        row[0].text(-0.08, 0.5, label(name), **look)
    return axes


def labelled_box(ax: Axes, x: float, y: float, text: str, colour: str, width: float = 1.5, height: float = 0.8) -> Axes:
    """A piece of a diagram: a box with its middle at (x, y) and a text in it."""
    corner = (x - width / 2, y - height / 2)
    ax.add_patch(plt.Rectangle(corner, width, height, facecolor=colour, edgecolor="black", linewidth=0.8))
    ax.text(x, y, text, ha="center", va="center", fontsize=9)
    return ax


def arrow(ax: Axes, start: Sequence[float], end: Sequence[float], **style) -> Axes:
    """An arrow from `start` to `end`, both (x, y), between the pieces of a diagram."""
    style = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0} | style
    ax.annotate("", end, start, arrowprops=style)
    return ax


def _close(rows: int, columns: int, size: tuple[float, float]) -> np.ndarray:
    """The Axes of so many pictures close together; to solve a layout for them would take longer than to draw them."""
    room = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.06, "hspace": 0.06}
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="none", gridspec_kw=room)[1]


def _channels_last(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    return images.transpose(0, 2, 3, 1) if images.shape[1] == 3 and images.shape[-1] != 3 else images


def _line(ax: Axes, method: str, x: Sequence[float], values: np.ndarray, **look) -> None:
    """Mean of the values (seeds, m) over x (m,), and a band of their 95 % interval."""
    mean, half = interval(values)
    ax.plot(x, mean, color=colour(method), label=label(method), **look)
    ax.fill_between(x, mean - half, mean + half, color=colour(method), alpha=0.2, linewidth=0)


def _head(axes: np.ndarray, *titles: object) -> None:
    """Titles above the columns of a grid."""
    for ax, title in zip(axes[0], titles):
        ax.set_title(title, fontsize=8)


def _frame(ax: Axes, box: Sequence[float], image: np.ndarray, look: Mapping) -> None:
    """A box (x0, y0, x1, y1) in parts of the side on an image (H, W, 3), drawn whole where it reaches the border."""
    (x0, y0, x1, y1), (height, width) = box, image.shape[:2]
    place = (x0 * width, y0 * height), (x1 - x0) * width, (y1 - y0) * height
    ax.add_patch(plt.Rectangle(*place, fill=False, clip_on=False, **look))


def _picture_at(ax: Axes, image: np.ndarray, x: float, y: float) -> None:
    """An image in the unit square whose upper left corner is (x, y)."""
    limits = ax.axis()  # which imshow would set to this picture's own
    ax.imshow(image, extent=(x + 0.03, x + 0.97, y + 0.97, y + 0.03), interpolation="nearest")
    ax.axis(limits)


def _picture(ax: Axes, image: np.ndarray) -> None:
    ax.imshow(image, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def _short(name: str, most: int = 18) -> str:
    """The last part of a qualified class name, cut to `most` characters."""
    name = str(name).split("/")[-1].replace("_", " ")
    return name if len(name) <= most else name[: most - 1] + "…"
