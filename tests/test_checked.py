"""Values: types and ranges are checked where a dataclass is made, and the error names the key and what is allowed."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest

from fglib.checked import Checked, build
from fglib.errors import ConfigError


@dataclass(frozen=True)
class Inner(Checked, section="inner"):
    rate: Annotated[float, "(0, 1]"] = 0.5
    steps: tuple[Annotated[int, "[1, inf)"], ...] = ()
    pair: tuple[Annotated[int, "[0, 9]"], Annotated[float, "(0, 30)"]] | None = None
    kind: Literal["one", "other"] = "one"


@dataclass(frozen=True)
class Outer(Checked):
    inner: Inner = field(default_factory=Inner)
    named: dict[str, Inner] = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    note: str | None = None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0}, "here: inner.rate is 0.0, must be above 0 and at most 1"),
        ({"rate": 1.1}, "here: inner.rate is 1.1, must be above 0 and at most 1"),
        ({"rate": math.nan}, "here: inner.rate is nan, must be above 0 and at most 1"),
        ({"rate": 10**400}, "here.inner.rate must be a number, got 1000000000000000000000000000...0000"),
        ({"rate": True}, "here.inner.rate must be a number, got True"),
        ({"rate": "1e-3"}, "here.inner.rate must be a number, got '1e-3' (YAML reads 1e-3 as text: write 1.0e-3)"),
        ({"steps": [3, 0]}, "here: inner.steps[1] is 0, must be at least 1 and finite"),
        ({"steps": [3.0]}, "here.inner.steps must be a whole number, got 3.0"),
        ({"steps": 3}, "here.inner.steps must be a list of whole numbers, got 3"),
        ({"pair": [0, 30.0]}, "here: inner.pair[1] is 30.0, must be above 0 and below 30"),
        ({"pair": [0]}, "here.inner.pair must be a list of 2 whole numbers, got [0]"),
        ({"kind": "othr"}, "here: unknown value of inner.kind 'othr'; did you mean 'other'? Valid: one, other"),
        ({"kind": True}, "here.inner.kind must be text, got True (YAML reads on, off, yes and no as truth values"),
        ({"rat": 1}, "unknown key 'rat' in here.inner; did you mean 'rate'?"),
        ("x" * 10**6, "here.inner must be a mapping, got 'xxxxxxxx"),
        (None, "here.inner must be a mapping, got None"),
    ],
)
def test_a_value_that_is_not_allowed_is_one_short_sentence(values, message):
    with pytest.raises(ConfigError) as error:
        build(Outer, {"inner": values}, "here")
    assert str(error.value).startswith(message) and len(str(error.value)) < 200


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, object(), {1, 2}, b"x"])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [0, v], lambda v: {"deep": [v]}])
def test_options_are_what_a_record_can_hold(value, wrap):
    with pytest.raises(
        ConfigError, match=r"here\.options\.a.* must be text, a finite number, a list or a mapping, got"
    ):
        build(Outer, {"options": {"a": wrap(value)}}, "here")


def test_the_limits_themselves_are_allowed_and_nothing_else_changes():
    values = {"rate": 1, "steps": [1, 10**9], "pair": [0, 29.9], "kind": "other"}
    built = build(Outer, {"inner": values, "note": None, "options": {"a": [1, None, "x", {"b": 0.5}]}}, "here")
    assert built.inner == Inner(1.0, (1, 10**9), (0, 29.9), "other") and type(built.inner.rate) is float
    assert built.options == {"a": [1, None, "x", {"b": 0.5}]} and built.note is None
    assert build(Outer, {"named": {"x": {"rate": 0.25}}}, "here").named == {"x": Inner(0.25)}
    with pytest.raises(ConfigError, match=r"^here\.named\.x: inner\.rate is 2\.0"):
        build(Outer, {"named": {"x": {"rate": 2.0}}}, "here")


def test_values_are_checked_however_the_object_is_made():
    with pytest.raises(ConfigError, match=r"^inner\.rate is 2, must be above 0 and at most 1$"):
        Inner(rate=2)
    with pytest.raises(ConfigError, match=r"^inner\.rate is -1"):
        dataclasses.replace(Inner(), rate=-1)
