"""What the problem templates of MathTools stand on: a part of a problem, and the numbers that go into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from typing_extensions import override

from turnwise.envs.draws import Draws

__all__ = ["Linked", "Number", "Part", "Slots", "Value", "polynomial"]

Value: TypeAlias = "int | Fraction"
Number: TypeAlias = "tuple[str, Value]"
"""A name and its value."""


@dataclass(frozen=True, slots=True)
class Part:
    """One question with one rational number as its answer."""

    text: str
    value: Value
    """By a closed form."""
    code: str
    """Python whose last line is an expression for the value, found in another way: by brute force or by sympy."""


class Linked(int):
    """A number that is known by a letter: prints as the letter, calculates as the number."""

    symbol: str

    @override
    def __str__(self) -> str:
        return self.symbol

    __repr__ = __str__


class Slots:
    """The numbers of one part, random ones and at most one that follows from the part before."""

    def __init__(self, draws: Draws, before: Number | None = None) -> None:
        self.draws = draws
        self.before = before
        self.text = self.code = ""
        """The sentence, and the line of Python, that make the linked number; empty where there is none."""

    def __call__(self, low: int, high: int) -> int:
        """A random integer, both ends included."""
        return low + self.draws.below(high - low + 1)

    def nonzero(self, most: int) -> int:
        """A random integer from -most to most that is not 0."""
        number = 1 + self.draws.below(most)
        return number if self.draws.uniform() < 0.5 else -number

    def link(self, low: int, high: int) -> int:
        """A number from `low` (at least 2) to `high`: made from the result of the part before, or random where there is none."""
        if self.before is None or self.text:
            return self(low, high)
        letter, value = self.before
        size = high - low + 1
        whole = isinstance(value, int) or value.denominator == 1
        source = letter if whole else f"{letter}.numerator + {letter}.denominator"
        number = Linked(low + (int(value) if whole else value.numerator + value.denominator) % size)
        number.symbol = letter.lower()
        what = letter if whole else f"p + q is divided by {size}, where {letter} = p/q in lowest terms"
        rest = f"{what} is divided by {size}" if whole else what
        self.text = f"Let {number} be {low} plus the remainder (0 to {size - 1}) when {rest}. "
        self.code = f"{number} = {low} + ({source}) % {size}\n"
        return number


def polynomial(coefficients: Sequence[int], variable: str = "x") -> tuple[str, str]:
    """(text, Python) of a polynomial, highest power first."""
    text = code = ""
    for power, c in zip(range(len(coefficients) - 1, -1, -1), coefficients, strict=True):
        if c == 0:
            continue
        sign, size = ("-", -c) if c < 0 else ("+", c)
        factor = "" if power and size == 1 else f"{size}"
        shown = ["", variable][power] if power < 2 else f"{variable}^{power}"
        text += f" {sign} {factor}{shown}" if text else f"{'-' * (c < 0)}{factor}{shown}"
        code += f"{sign}{size}*{variable}**{power}"
    return text or "0", code or "0"
