"""Rules on their edges: what is refused deep inside, margins of exactly zero, digits, single values."""

import math

import pytest

from fglib.errors import ConfigError
from fglib.pages.rules import parse_clause, plus_minus


def seeds(*values):
    return [{"m.a": value} for value in values]


@pytest.mark.parametrize("side", ["{} + 1", "1 + {}", "-{}", "max(1, {})", "min({}, 1)", "abs({})", "2 * (1 - {} / 3)"])
@pytest.mark.parametrize("forbidden", ["open('x')", "m.a ** 2", "m.a.b", "True", "'x'", "1e999", "m.a @ m.a", "~m.a"])
def test_what_is_forbidden_is_found_wherever_it_is(side, forbidden):
    for text in (f"m.a + {side.format(forbidden)} > 0", f"m.a > {side.format(forbidden)}"):
        with pytest.raises(ConfigError, match="is neither a number, a name nor one of"):
            parse_clause(text)


@pytest.mark.parametrize("call", ["max(m.a)", "min(m.a)", "max()", "abs(m.a, 1)", "abs()"])
def test_the_numbers_of_arguments_are_checked(call):
    with pytest.raises(ConfigError, match=r"\(\) has \d arguments"):
        parse_clause(f"m.a > {call}")
    assert parse_clause("max(m.a, 1, 2) + min(m.a, 1) > abs(m.a)").measure(seeds(5.0)).margins == (1.0,)


@pytest.mark.parametrize("comparison", [">", ">=", "<", "<="])
@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.5])
def test_an_interval_around_zero_decides_nothing(comparison, shift):
    measured = parse_clause(f"m.a {comparison} 4").measure(seeds(3.0 + shift, 4.0 + shift, 5.0 + shift))
    assert measured.low < 0 < measured.high and measured.undecided


@pytest.mark.parametrize(("comparison", "holds"), [(">", False), (">=", True)])
def test_an_interval_that_begins_at_zero(comparison, holds):
    """Of a single value, or of equal ones, the interval is that value."""
    for values in ([4.0], [4.0, 4.0, 4.0]):
        measured = parse_clause(f"m.a {comparison} 4").measure(seeds(*values))
        assert measured.low == measured.high == 0 and measured.holds == holds and not measured.undecided


@pytest.mark.parametrize("text", ["m.a > m.b > 1", "m.a > m.b == m.c", "m.a > 0 > m.b > m.c"])
def test_a_second_comparison_is_not_passed_over(text):
    with pytest.raises(ConfigError, match="exactly one of"):
        parse_clause(text)


def test_equality_is_never_undecided_and_its_margin_is_minus_the_distance():
    measured = parse_clause("m.a == 4").measure(seeds(4.0, 3.0, 6.0))
    assert measured.margins == (0, -1, -2) and not measured.holds and not measured.undecided


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (1.23456, 0.0123, "1.235 ± 0.012"),
        (12.04, 5.0, "12.0 ± 5.0"),
        (12.04, 9.99, "12.0 ± 10.0"),
        (12.04, 10.0, "12 ± 10"),
        (1234.5, 123.4, "1234 ± 123"),
        (0.5, 0.0005, "0.5000 ± 0.0005"),
        (0.00012, 0.0001, "0.0001 ± 0.0001"),
        (-1.5, 0.25, "-1.50 ± 0.25"),
        (1 / 3, 0, "0.333333 ± 0"),
    ],
)
def test_two_digits_of_the_half_width_are_shown_and_at_most_four_decimals(mean, half, text):
    assert plus_minus(mean, half) == text


def test_a_single_value_is_shown_beside_what_it_is_compared_with():
    values = [{"m.a": 5.0, "m.b": 2.0}]
    assert str(parse_clause("m.a > 3").measure(values)) == "m.a = 5, needs > 3"
    assert str(parse_clause("m.a > m.b + 1").measure(values)) == "m.a = 5, needs > m.b + 1 (3)"


def test_the_shown_interval_is_of_the_quantity_not_of_the_margin():
    """For `<` the margin is the other way round."""
    measured = parse_clause("m.a < 10").measure(seeds(2.0, 3.0, 4.0))
    assert measured.value == "3.0 ± 2.5" and measured.margins == (8, 7, 6)
    assert measured.low == pytest.approx(7 - 4.30265 / math.sqrt(3), rel=1e-5)


def test_the_longest_clause():
    text = "m.a > " + "1" * 294
    assert len(text) == 300 and parse_clause(text).text == text
    with pytest.raises(ConfigError, match="longer than 300 characters"):
        parse_clause(text + "1")


def test_operators_are_those_of_arithmetic():
    values = [{"m.a": 7.0, "m.b": 2.0}]
    for text, margin in (("m.a + m.b > 1", 8), ("m.a - m.b > 1", 4), ("m.a * m.b > 1", 13), ("m.a / m.b > 1", 2.5)):
        assert parse_clause(text).measure(values).margins == (margin,)
    assert parse_clause("1 - m.a - m.b > -(m.a - 2)").measure(values).margins == (-3,)
