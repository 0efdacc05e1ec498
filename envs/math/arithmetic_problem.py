"""Random arithmetic problems as trees, and the ways through them.

A tree is plain JSON: a leaf is a literal as it is written ("7", "3/4", "0.25"), a node is [operator, left, right]. All values of
a tree stay small: magnitude at most 100,000 and a denominator that divides 3,600, so a sum or a difference of two always fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

from turnwise.envs.draws import Draws
from turnwise.envs.math.grading import read_number

__all__ = ["LEVELS", "Level", "Step", "Tree", "build_tree", "plan", "reading_order", "step_text", "text_of", "value_of"]

Tree: TypeAlias = "str | Sequence[Any]"
Rational: TypeAlias = "int | Fraction"
"""An int where it is one, which is several times as quick."""
Step: TypeAlias = tuple[str, str, str]
"""One operation: operator, left and right operand as written."""

_LARGEST, _DENOMINATOR = 100_000, 3_600
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 3}
_BOTTOMS = (2, 3, 4, 5, 6, 8, 9, 10, 12)
_DECIMALS = ("0.5", "0.25", "0.75", "1.5", "2.5", "0.2", "0.4", "0.8", "1.2", "3.6", "0.05", "1.25")


@dataclass(frozen=True, slots=True)
class Level:
    """What a difficulty level asks for. `depth` is the longest way from the root to a leaf."""

    operations: int
    depth: int
    operators: str = "+-*"
    largest: int = 50
    """Integer literals are 2 to this."""
    fractions: float = 0.0
    """Share of the literals that are fractions; as many again are decimals where `decimals` is set."""
    decimals: bool = False


LEVELS: dict[int, Level] = {
    1: Level(2, 2, largest=99),
    2: Level(3, 3),
    3: Level(4, 3),
    4: Level(5, 4, "+-*/"),
    5: Level(6, 4, "+-*/", fractions=0.3),
    6: Level(8, 5, "+-*/^", fractions=0.2, decimals=True),
    7: Level(12, 6, "+-*/^", fractions=0.2, decimals=True),
}


def build_tree(draws: Draws, level: Level) -> tuple[Tree, Fraction]:
    """A random tree and its value. The tree's text is no number itself, and the value neither stands in it nor is 0 or 1."""
    while True:
        tree, value = _grow(draws, level, level.operations, level.depth)
        if value in (0, 1) or abs(value) in _written(tree):
            continue
        if level.operations > 1 or read_number(text_of(tree, spaced=False)) is None:
            return tree, Fraction(value)


def _written(tree: Tree) -> list[Rational]:
    """Every number that can be read off the text: whole literals and their digits. A list: hashing a Fraction is slow."""
    leaves = reading_order(tree)[0]
    return [_literal_value(number) for leaf in leaves for number in ([leaf, *leaf.split("/")] if "/" in leaf else [leaf])]


@lru_cache(maxsize=4096)
def _literal_value(literal: str) -> Rational:
    value = Fraction(literal)
    return value.numerator if value.denominator == 1 else value


def _grow(draws: Draws, level: Level, operations: int, depth: int) -> tuple[Tree, Rational]:
    if operations == 0:
        literal = _literal(draws, level)
        return literal, _literal_value(literal)
    room = 2 ** (depth - 1) - 1  # operations that fit into one side
    fewest = max(0, operations - 1 - room)
    first = fewest + draws.below(min(operations - 1, room) - fewest + 1)
    left, a = _grow(draws, level, first, depth - 1)
    right, b = _grow(draws, level, operations - 1 - first, depth - 1)
    for operator in (draws.pick(level.operators), *draws.shuffled("*+-")):
        if operator == "^":
            if operations - 1 - first:
                continue  # an exponent is a small literal
            right, b = draws.pick((("2", 2), ("3", 3)))
        value = _applied(operator, a, b)
        if value is not None and abs(value) <= _LARGEST and _DENOMINATOR % value.denominator == 0:
            return [operator, left, right], value
    raise AssertionError("arithmetic: neither the sum nor the difference of two bounded values is bounded.")


def _literal(draws: Draws, level: Level) -> str:
    kind = draws.uniform() if level.fractions else 1.0
    if kind < level.fractions:
        bottom = draws.pick(_BOTTOMS)
        return f"{1 + draws.below(2 * bottom - 1)}/{bottom}"
    if level.decimals and kind < 2 * level.fractions:
        return draws.pick(_DECIMALS)
    return str(2 + draws.below(level.largest - 1))


def _applied(operator: str, a: Rational, b: Rational) -> Rational | None:
    if operator == "+":
        return a + b
    if operator == "-":
        return a - b
    if operator == "*":
        return a * b
    if operator == "/":
        return Fraction(a, b) if b else None
    return a ** int(b) if abs(a) <= _LARGEST else None


def value_of(tree: Tree) -> Rational:
    """The value of a tree."""
    if isinstance(tree, str):
        return _literal_value(tree)
    value = _applied(tree[0], value_of(tree[1]), value_of(tree[2]))
    if value is None:
        raise ZeroDivisionError("arithmetic: the tree divides by zero.")
    return value


def text_of(tree: Tree, spaced: bool) -> str:
    """The tree as an expression; brackets stand where the tree is not what precedence and reading from the left give anyway."""
    if isinstance(tree, str):
        return tree
    operator, left, right = tree
    rank = _PRECEDENCE[operator]
    a, b = _operand(left, rank + (operator == "^"), spaced), _operand(right, rank + 1, spaced)
    return f"{a} {operator} {b}" if spaced and operator != "^" else f"{a}{operator}{b}"


def _operand(tree: Tree, rank: int, spaced: bool) -> str:
    text = text_of(tree, spaced)
    bare = not ("/" in tree or tree.startswith("-")) if isinstance(tree, str) else _PRECEDENCE[tree[0]] >= rank
    return text if bare else f"({text})"


def plan(tree: Tree, operations_per_call: int) -> list[str]:
    """The calculations that lead to the value, innermost first, each with at most that many operations; no call says it twice."""
    calls: list[str] = []

    def collapse(text: str, node: Tree) -> tuple[str, int]:
        calls.append(text)
        return str(value_of(node)), 0

    def walk(node: Tree) -> tuple[str, int]:
        if isinstance(node, str):
            return node, 0
        operator, left, right = node
        a, b = walk(left), walk(right)
        while a[1] + b[1] + 1 > operations_per_call:
            if a[1] >= b[1]:
                a = collapse(a[0], left)
            else:
                b = collapse(b[0], right)
        return _joined(operator, a, b), a[1] + b[1] + 1

    text, operations = walk(tree)
    if operations:
        calls.append(text)
    return list(dict.fromkeys(calls))


def _joined(operator: str, a: tuple[str, int], b: tuple[str, int]) -> str:
    left = f"({a[0]})" if a[1] or "/" in a[0] or (operator == "^" and a[0].startswith("-")) else a[0]
    right = f"({b[0]})" if b[1] or "/" in b[0] or b[0].startswith("-") else b[0]
    return f"{left}{operator}{right}"


def step_text(step: Step) -> str:
    """One operation as the calculator takes it, in the spelling of `plan`."""
    operator, left, right = step
    return _joined(operator, (left, 0), (right, 0))


def reading_order(tree: Tree) -> tuple[list[str], list[str]]:
    """(leaves, operators) from left to right."""
    if isinstance(tree, str):
        return [tree], []
    leaves, operators = reading_order(tree[1])
    more_leaves, more_operators = reading_order(tree[2])
    return leaves + more_leaves, [*operators, tree[0], *more_operators]
