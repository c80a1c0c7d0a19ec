"""The bird of the generated set `parts`: which shapes its parts are made of, in a frame of its own.

In that frame x runs to the beak and y down; a point q of a unit shape lies at center + frame q. The body may be
round, slender, upright or long-necked (a "build"); all builds have the same shapes, from back to front.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

PARTS = ("tail", "legs", "body", "wing", "head", "beak")
ATTRIBUTES = ("crest", "long_tail", "tail_band", "long_legs", "wing_bar", "spotted")


class _Shape(NamedTuple):
    """A form of a part: center and half axes in the object's frame, first axis turned by `degrees` from x to y.

    when: the attribute it needs, "not <attribute>" for its absence; mark: in a colour that stands out on the part.
    """

    part: str
    form: str
    center: tuple[float, float]
    axes: tuple[float, float]
    degrees: float = 0.0
    when: str = ""
    mark: bool = False


class _Build(NamedTuple):
    """The proportions of a body: half axes, slope in degrees, and where head, tail and legs sit."""

    axes: tuple[float, float]
    slope: float
    head: tuple[float, float]
    tail: tuple[float, float, float]  # x, y and direction in degrees
    belly: float


BUILDS = (  # round, slender, upright, long-necked; kinds take them in turn
    _Build((0.30, 0.27), 0.0, (0.25, -0.27), (-0.24, -0.08, 200.0), 0.24),
    _Build((0.42, 0.19), -6.0, (0.40, -0.19), (-0.36, 0.04, 175.0), 0.16),
    _Build((0.36, 0.22), -52.0, (0.24, -0.38), (-0.18, 0.26, 140.0), 0.28),
    _Build((0.34, 0.23), 0.0, (0.36, -0.50), (-0.28, -0.10, 215.0), 0.20),
)


def _bird(build: _Build) -> list[_Shape]:
    """The shapes of an object, from back to front; every build has the same ones."""
    (hx, hy), (tx, ty, tail) = build.head, build.tail
    along = torch.tensor([math.cos(math.radians(tail)), math.sin(math.radians(tail))])
    short, long, band = ((along * way + torch.tensor([tx, ty])).tolist() for way in (0.12, 0.32, 0.19))
    neck = math.hypot(hx, hy) / 2, math.degrees(math.atan2(hy, hx))
    foot = build.belly
    return [
        _Shape("tail", "box", short, (0.14, 0.1), tail, "not long_tail"),
        _Shape("tail", "box", long, (0.34, 0.1), tail, "long_tail"),
        _Shape("tail", "box", band, (0.035, 0.1), tail, "tail_band", mark=True),
        *(_Shape("legs", "box", (x, foot + 0.08), (0.05, 0.12), when="not long_legs") for x in (-0.09, 0.09)),
        *(_Shape("legs", "box", (x, foot + 0.17), (0.05, 0.21), when="long_legs") for x in (-0.09, 0.09)),
        _Shape("body", "box", (hx / 2, hy / 2), (neck[0], 0.09), neck[1]),
        _Shape("body", "ellipse", (0.0, 0.0), build.axes, build.slope),
        *(
            _Shape("body", "ellipse", center, (0.045, 0.045), when="spotted", mark=True)
            for center in _on_body(build, (0.72, 0.35), (0.45, 0.68), (0.05, 0.78), (0.72, -0.1), (-0.4, 0.72))
        ),
        _Shape("wing", "ellipse", *_wing(build, (-0.2, -0.05), (0.2, 0.13))),
        _Shape("wing", "box", *_wing(build, (-0.2, -0.05), (0.035, 0.11)), when="wing_bar", mark=True),
        _Shape("head", "wedge", (hx - 0.12, hy - 0.2), (0.2, 0.13), 240.0, "crest", mark=True),
        _Shape("head", "ellipse", (hx, hy), (0.16, 0.15)),
        _Shape("head", "ellipse", (hx + 0.06, hy - 0.04), (0.035, 0.035), mark=True),
        _Shape("beak", "wedge", (hx + 0.23, hy + 0.01), (0.14, 0.12)),
    ]


def _on_body(build: _Build, *places: tuple[float, float]) -> list[tuple[float, float]]:
    """Points given in half axes of the body, in the object's frame."""
    cos, sin = math.cos(math.radians(build.slope)), math.sin(math.radians(build.slope))
    scaled = [(u * build.axes[0], v * build.axes[1]) for u, v in places]
    return [(u * cos - v * sin, u * sin + v * cos) for u, v in scaled]


def _wing(build: _Build, place: tuple[float, float], axes: tuple[float, float]):
    return _on_body(build, place)[0], axes, build.slope - 8.0


SHAPES = [_bird(build) for build in BUILDS]  # (builds,S)
FORMS = [shape.form for shape in SHAPES[0]]
PART = torch.tensor([*(PARTS.index(shape.part) for shape in SHAPES[0]), -1])  # (S+1,): index -1, no shape, is no part
MARK = torch.tensor([shape.mark for shape in SHAPES[0]])  # (S,)


def turn(angle: Tensor) -> Tensor:
    """Rotations (...,2,2) from x to y by angles (...) in radians."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], dim=-1), torch.stack([sin, cos], dim=-1)], dim=-2)


# A point q of a form's unit shape lies at center + frame q.
CENTERS = torch.tensor([[shape.center for shape in bird] for bird in SHAPES])  # (builds,S,2)
FRAMES = (
    turn(torch.tensor([[math.radians(shape.degrees) for shape in bird] for bird in SHAPES]))
    * torch.tensor([[shape.axes for shape in bird] for bird in SHAPES])[:, :, None]
)  # (builds,S,2,2)

_round = torch.arange(32) * (2 * math.pi / 32)
OUTLINES = {  # points (32,2) that span the unit shapes
    "ellipse": torch.stack([_round.cos(), _round.sin()], dim=1),
    "box": torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).repeat(8, 1),
    "wedge": torch.tensor([[1.0, 0.0], [-1.0, -1.0], [-1.0, 1.0], [1.0, 0.0]]).repeat(8, 1),
}


def inside(form: str, u: Tensor, v: Tensor) -> Tensor:
    """Which points (u, v) lie in a unit shape; the wedge points to u = 1."""
    if form == "ellipse":
        return u * u + v * v <= 1
    if form == "box":
        return (u.abs() <= 1) & (v.abs() <= 1)
    return (u >= -1) & (2 * v.abs() <= 1 - u)


def shapes_there(has: Tensor) -> Tensor:
    """Which shapes (n,S) bool birds with these attributes (n,A) bool have."""
    there = torch.ones(len(has), len(FORMS), dtype=torch.bool)
    for i, shape in enumerate(SHAPES[0]):
        if shape.when:
            there[:, i] = has[:, ATTRIBUTES.index(shape.when.removeprefix("not "))] != shape.when.startswith("not ")
    return there
