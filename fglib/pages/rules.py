"""Rules of the claims ledger: comparisons of measured numbers, such as `base_indi.fine_r1 - base.fine_r1 >= 10`.

A clause is read into Python's syntax tree and evaluated node by node, so nothing but arithmetic can happen. It is
evaluated once per seed, and its margin is the side that should be larger minus the other. It holds where the 95 %
interval of the mean margin lies on the right side of zero, is contradicted where it lies on the wrong one, and is
undecided otherwise.

A clause of two comparisons, `-1 < ours.fine_r1 - base.fine_r1 < 1`, says that something changes little. It holds where
the 90 % interval of what is in the middle lies between the ends (two one-sided tests at 5 %), and is contradicted where
the 95 % interval lies beyond one of them.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.special import stdtrit

from fglib.errors import ConfigError, shortened

CONFIDENCE, EQUIVALENCE, POWER = 0.95, 0.90, 0.80
LARGEST = 1e100  # size of a side; its squares and sums stay finite
MAX_LENGTH = 300  # characters; keeps the syntax tree far from Python's limits

COMPARISONS = {ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "=="}
BETWEEN = {("<", "<"), ("<=", "<=")}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}

Values = Mapping[str, float]
SEEDS, UNPAIRED, IMAGES = "seeds", "seeds, unpaired", "test images"  # what an interval is over


def _of_numbers(choose: Callable, of_arrays: Callable) -> Callable:
    """A function of numbers, which keeps whole ones whole, and of arrays."""
    return lambda *sides: reduce(of_arrays, sides) if any(np.ndim(side) for side in sides) else choose(sides)


FUNCTIONS = {"max": _of_numbers(max, np.maximum), "min": _of_numbers(min, np.minimum), "abs": abs}


@dataclass(frozen=True)
class Measured:
    """A clause with its numbers.

    margins: one per seed; of a clause of two comparisons what stands in the middle. mean, low, high: theirs, by the
    interval that decides. intervals: all that can be had, by what they are over; decided_by: the one that decides.
    detectable: the smallest effect that so many seeds show in four of five cases.
    """

    text: str
    margins: tuple[float, ...]
    mean: float
    low: float
    high: float
    holds: bool
    contradicted: bool
    quantity: str  # what is compared with a number: the left side, or its difference to the right one
    value: str  # mean of the quantity ± half-width of its interval
    needs: str  # the comparison that the value has to meet
    intervals: dict[str, tuple[float, float]]
    decided_by: str
    detectable: float | None

    @property
    def undecided(self) -> bool:
        """Whether the clause neither holds nor is contradicted."""
        return not self.holds and not self.contradicted

    @property
    def sign(self) -> str:
        """✓, ✗ or ≈."""
        return "✓" if self.holds else "✗" if self.contradicted else "≈"

    @property
    def doubt(self) -> str:
        """What could have been seen, where nothing is decided."""
        seen = f": {len(self.margins)} seeds would show {self.detectable:.2g}" if self.detectable else ""
        return f"undecided{seen}" if self.undecided else ""

    def __str__(self) -> str:
        return f"{self.quantity} = {self.value}, needs {self.needs}" + (f" ({self.doubt})" if self.doubt else "")


@dataclass(frozen=True)
class Clause:
    """A comparison of two expressions, or two around one. Names are `variant.metric`, or plain for a construction."""

    text: str
    sides: tuple[ast.expr, ...]
    comparisons: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Names in the clause, each once, sorted."""
        return sorted(set().union(*map(_names, self.sides)))

    def measure(self, values: Sequence[Values], paired: bool = True, redrawn: Sequence[Mapping] = ()) -> Measured:
        """Evaluate per seed; `values` holds one mapping of names to numbers per seed.

        paired: whether variants of one seed belong together; otherwise Welch's interval decides.
        redrawn: the same with arrays (draws,) instead of numbers, as measured on test images that are drawn anew; it
            counts where it has all names of the clause. Where the interval over these is the wider one, it decides.
        """
        redrawn = redrawn if all(set(self.names) <= of_seed.keys() for of_seed in redrawn) else ()
        margins = tuple(self._margin(v) for v in values)
        mean = math.fsum(margins) / len(margins)
        if self.comparisons == ("==",):
            holds = not any(margins)
            return self._measured(values, margins, mean, *t_interval(margins)[1:], holds, not holds, {}, "")
        by = SEEDS if paired else UNPAIRED
        intervals = self._intervals(values, redrawn, CONFIDENCE)
        if IMAGES in intervals:
            by = max((by, IMAGES), key=lambda over: intervals[over][1] - intervals[over][0])
        low, high = intervals[by]
        if len(self.comparisons) == 1:
            strict = self.comparisons[0] in ("<", ">")
            holds, contradicted = (low > 0, high <= 0) if strict else (low >= 0, high < 0)
            return self._measured(values, margins, mean, low, high, holds, contradicted, intervals, by)
        least, most = (_value(side, {}) for side in (self.sides[0], self.sides[2]))
        narrow = self._intervals(values, redrawn, EQUIVALENCE)[by]
        holds, contradicted = least < narrow[0] and narrow[1] < most, high < least or low > most
        return self._measured(values, margins, mean, *narrow, holds, contradicted, intervals, by)

    def _measured(self, values, margins, mean, low, high, holds, contradicted, intervals, by) -> Measured:
        detectable = None
        if by and len(margins) > 1:
            of_test, of_power = (stdtrit(len(margins) - 1, p) for p in ((1 + CONFIDENCE) / 2, POWER))
            detectable = (intervals[by][1] - intervals[by][0]) / 2 * float(1 + of_power / of_test)
        shown = self._show(values, mean, (high - low) / 2)
        return Measured(
            self.text, margins, mean, low, high, holds, contradicted, *shown, intervals, by, detectable or None
        )

    def _margin(self, values: Mapping):
        """The margin of numbers, or of arrays (draws,)."""
        if len(self.comparisons) == 2:
            return self._evaluate(self.sides[1], values)
        left, right = (self._evaluate(side, values) for side in self.sides)
        if self.comparisons[0] == "==":
            return -abs(left - right)
        return left - right if ">" in self.comparisons[0] else right - left

    def _intervals(self, values: Sequence[Values], redrawn: Sequence[Mapping], confidence: float) -> dict:
        """Intervals of the mean margin, by what they are over."""
        found = {
            SEEDS: t_interval([self._margin(v) for v in values], confidence)[1:],
            UNPAIRED: self._welch(values, confidence),
        }
        if redrawn:
            drawn = np.mean([self._margin(v) for v in redrawn], axis=0)
            found[IMAGES] = tuple(np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist())
        return found

    def _welch(self, values: Sequence[Values], confidence: float) -> tuple[float, float]:
        """Welch's interval: what each variant adds to the variance while the others stay at their means.

        Exact for sums and differences; of ratios, max and min it is the first order.
        """
        n, means = len(values), {name: math.fsum(v[name] for v in values) / len(values) for name in self.names}
        mean = math.fsum(self._margin(v) for v in values) / n
        if n == 1:
            return mean, mean
        parts = []
        for variant in {name.split(".")[0] for name in self.names}:
            own = [{k: v[k] for k in self.names if k.split(".")[0] == variant} for v in values]
            parts.append(float(np.var([self._margin(means | numbers) for numbers in own], ddof=1)) / n)
        if not (total := math.fsum(parts)):
            return mean, mean
        freedom = (n - 1) / math.fsum((part / total) ** 2 for part in parts)
        half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(total)
        return mean - half, mean + half

    def _evaluate(self, node: ast.expr, values: Mapping):
        try:
            value = _value(node, values)
        except ZeroDivisionError:
            raise ConfigError(f"'{self.text}' divides by zero") from None
        except OverflowError:
            value = math.inf
        if not np.all(abs(value) < LARGEST):
            raise ConfigError(f"'{self.text}' has a side that is {shortened(value)}, must be below {LARGEST:g} in size")
        return value

    def _show(self, values: Sequence[Values], mean: float, half: float) -> tuple[str, str, str]:
        """Quantity, value and needs of `Measured`."""
        if len(self.comparisons) == 2:
            least, middle, most = map(ast.unparse, self.sides)
            return middle, plus_minus(mean, half), f"between {least} and {most}"
        (left, right), (comparison,) = self.sides, self.comparisons
        shown, needed, named = ast.unparse(left), ast.unparse(right), bool(_names(right))
        if len(values) == 1:
            needed = f"{needed} ({_number(self._evaluate(right, values[0]))})" if named else needed
            return shown, _number(self._evaluate(left, values[0])), f"{comparison} {needed}"
        compared = [self._evaluate(left, v) - (self._evaluate(right, v) if named else 0) for v in values]
        if named:
            shown, needed = ast.unparse(ast.BinOp(left, ast.Sub(), right)), "0"
        return shown, plus_minus(math.fsum(compared) / len(compared), half), f"{comparison} {needed}"


def parse_clause(text: str) -> Clause:
    """Read a clause; ConfigError says what in it is not allowed."""
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"the clause '{text[:40]}...' is longer than {MAX_LENGTH} characters; split it into several")
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as e:
        raise _refused(text, f"it is not an expression ({e})") from None
    comparisons = tuple(COMPARISONS.get(type(op), "") for op in getattr(node, "ops", ()))
    if comparisons not in {(sign,) for sign in COMPARISONS.values()} | BETWEEN:
        either = f"exactly one of {' '.join(COMPARISONS.values())}, or < or <= twice around a middle"
        raise _refused(text, f"it must hold {either}")
    clause = Clause(text.strip(), (node.left, *node.comparators), comparisons)
    for side in clause.sides:
        _check(side, text)
    if len(comparisons) == 2 and (_names(clause.sides[0]) or _names(clause.sides[2])):
        raise _refused(text, "the two ends must be numbers")
    if not _names(clause.sides[len(comparisons) - 1]):
        raise _refused(text, f"its {'middle' if len(comparisons) == 2 else 'left side'} must name something measured")
    return clause


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Mean of `values` and the ends of its t-interval; a single value stands for itself."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, mean, mean
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * deviation / math.sqrt(n)
    return mean, mean - half, mean + half


def plus_minus(mean: float, half: float) -> str:
    """`mean ± half`, cut to two digits of the half-width (at most four decimals).

    >>> plus_minus(19.8871, 0.4321)
    '19.89 ± 0.43'
    """
    if half == 0:
        return f"{mean:.6g} ± 0"
    decimals = min(4, max(0, 1 - math.floor(math.log10(half))))
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _names(node: ast.expr) -> set[str]:
    if isinstance(node, ast.Attribute | ast.Name):
        return {ast.unparse(node)}
    # a call's function is a name in the tree, but not a measured one
    children = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    return {name for child in children for name in _names(child)}


def _check(node: ast.AST, text: str) -> None:
    """Refuse every node but arithmetic, max, min, abs, finite numbers and names."""
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            parts = [left, right]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            parts = [operand]
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in FUNCTIONS:
            if name == "abs" and len(parts) != 1 or name != "abs" and len(parts) < 2:
                raise _refused(text, f"{name}() has {len(parts)} arguments")
        case ast.Constant(value=value) if type(value) in (int, float) and math.isfinite(value):
            parts = []
        case ast.Name() | ast.Attribute(value=ast.Name()):
            parts = []
        case _:
            raise _refused(text, f"'{ast.unparse(node)}' is neither a number, a name nor one of + - * / max min abs")
    for part in parts:
        _check(part, text)


def _value(node: ast.expr, values: Mapping):
    match node:
        case ast.BinOp():
            return OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
        case ast.UnaryOp():
            return -_value(node.operand, values)
        case ast.Call():
            return FUNCTIONS[node.func.id](*(_value(arg, values) for arg in node.args))
        case ast.Constant():
            return node.value
    return values[ast.unparse(node)]


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"'{text}' is not a clause: {why}; a clause compares measured numbers, as in "
        "'base_indi.fine_r1 - base.fine_r1 >= 10'"
    )
