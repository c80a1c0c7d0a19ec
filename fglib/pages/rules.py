"""Rules of the claims ledger: comparisons of measured numbers, such as `base_indi.fine_r1 - base.fine_r1 >= 10`.

A clause is read into Python's syntax tree and evaluated node by node, so nothing but arithmetic can happen. It is
evaluated once per seed (variants are paired by seed); the margin is the side that should be larger minus the
other, so a positive margin speaks for the clause.
"""

import ast
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from fglib.errors import ConfigError, shortened

CONFIDENCE = 0.95
LARGEST = 1e100  # size of a side; its squares and sums stay finite
MAX_LENGTH = 300  # characters; keeps the syntax tree far from Python's limits

COMPARISONS = {ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "=="}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
FUNCTIONS = {"max": max, "min": min, "abs": abs}

Values = Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """A clause with its numbers. Margins are one per seed; mean, low, high are theirs (95 % t-interval)."""

    text: str
    margins: tuple[float, ...]
    mean: float
    low: float
    high: float
    holds: bool
    undecided: bool  # the mean holds, the interval does not
    quantity: str  # what is compared with a number: the left side, or its difference to the right one
    value: str  # mean of the quantity ± half-width of its interval
    needs: str  # the comparison that the value has to meet

    def __str__(self) -> str:
        undecided = " (undecided: the interval of the margin includes 0)" if self.undecided else ""
        return f"{self.quantity} = {self.value}, needs {self.needs}{undecided}"


@dataclass(frozen=True)
class Clause:
    """A comparison of two expressions. Names are `variant.metric`, or plain for a computed construction."""

    text: str
    left: ast.expr
    comparison: str
    right: ast.expr

    @property
    def names(self) -> list[str]:
        """Names in the clause, each once, sorted."""
        return sorted(_names(self.left) | _names(self.right))

    def measure(self, values: Sequence[Values]) -> Measured:
        """Evaluate per seed; `values` holds one mapping of names to numbers per seed.

        `>` and `<` hold when the whole interval of the mean margin is above 0, `>=` and `<=` when none of it is
        below, `==` when every seed is exactly equal.
        """
        pairs = [(self._evaluate(self.left, v), self._evaluate(self.right, v)) for v in values]
        if self.comparison == "==":
            margins = [-abs(left - right) for left, right in pairs]
        else:
            margins = [left - right if ">" in self.comparison else right - left for left, right in pairs]
        mean, low, high = t_interval(margins)
        enough = operator.gt if self.comparison in ("<", ">") else operator.ge
        if self.comparison == "==":
            holds, undecided = not any(margins), False
        else:
            holds = enough(low, 0)
            undecided = not holds and enough(mean, 0)
        return Measured(self.text, tuple(margins), mean, low, high, holds, undecided, *self._show(pairs))

    def _evaluate(self, node: ast.expr, values: Values) -> float:
        try:
            value = _value(node, values)
        except ZeroDivisionError:
            raise ConfigError(f"'{self.text}' divides by zero") from None
        except OverflowError:
            value = math.inf
        if not abs(value) < LARGEST:
            raise ConfigError(f"'{self.text}' has a side that is {shortened(value)}, must be below {LARGEST:g} in size")
        return value

    def _show(self, pairs: Sequence[tuple[float, float]]) -> tuple[str, str, str]:
        """Quantity, value and needs of `Measured`."""
        left, right, named = ast.unparse(self.left), ast.unparse(self.right), bool(_names(self.right))
        if len(pairs) == 1:
            needed = f"{right} ({_number(pairs[0][1])})" if named else right
            return left, _number(pairs[0][0]), f"{self.comparison} {needed}"
        if named:
            left, right = ast.unparse(ast.BinOp(self.left, ast.Sub(), self.right)), "0"
        mean, low, _ = t_interval([a - b if named else a for a, b in pairs])
        return left, plus_minus(mean, mean - low), f"{self.comparison} {right}"


def parse_clause(text: str) -> Clause:
    """Read a clause; ConfigError says what in it is not allowed."""
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"the clause '{text[:40]}...' is longer than {MAX_LENGTH} characters; split it into several")
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as e:
        raise _refused(text, f"it is not an expression ({e})") from None
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in COMPARISONS:
        raise _refused(text, f"it must hold exactly one of {' '.join(COMPARISONS.values())}")
    clause = Clause(text.strip(), node.left, COMPARISONS[type(node.ops[0])], node.comparators[0])
    for side in (clause.left, clause.right):
        _check(side, text)
    if not _names(clause.left):
        raise _refused(text, "its left side must name something measured")
    return clause


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of `values` and the ends of its 95 % t-interval; a single value stands for itself."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, mean, mean
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * deviation / math.sqrt(n)
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


def _value(node: ast.expr, values: Values) -> float:
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
