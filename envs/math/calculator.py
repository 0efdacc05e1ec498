"""An exact calculator for text that nobody vouches for: + - * / ^, brackets, integers and decimals; every value a Fraction.

Tokens go through a shunting-yard onto a stack: no recursion, no `eval`. Length, nesting, digits and the size of every result are
bounded before the work is done, so that no expression takes more than some hundred microseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

__all__ = ["CalculatorError", "Result", "calculate", "show"]

MAX_LENGTH = 2_000
"""Characters of an expression."""
MAX_DEPTH = 200
"""Brackets, signs and operators that wait for their right side at one point of an expression."""
MAX_DIGITS = 60
"""Digits of one literal."""
MAX_BITS = 2_048
"""Bits of a result's numerator or denominator."""

_TOKEN = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]*)?|\.[0-9]+)|(\*\*|[-+*/^()]))", re.ASCII)
_SYNONYMS = str.maketrans({"\u2212": "-", "\u00d7": "*", "\u00b7": "*", "\u00f7": "/", "[": "(", "]": ")"})
_SIGN = "sign"
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, _SIGN: 3, "^": 4}


class CalculatorError(ValueError):
    """An expression that cannot be calculated; the message is for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Result:
    """A value, and how many operations it took."""

    value: Fraction
    operations: int
    """Operators with two sides. A fraction of two integers in a larger expression, `3/4 + 1`, is a number and counts as none."""


class _Operand(NamedTuple):
    value: int | Fraction
    """An int as long as it can be one: that is many times quicker."""
    integer: bool
    """Whether it is an integer as written, so that a division by another one makes a fraction."""


def calculate(expression: str, *, max_length: int = MAX_LENGTH) -> Result:
    """The exact value of an expression. `^` (or `**`) binds tightest and to the right, then a sign, then * and /, then + and -.

    Raises CalculatorError for what is no expression, for a division by zero, and for anything beyond the bounds of this module.
    """
    if len(expression) > max_length:
        raise CalculatorError(f"the expression is longer than {max_length} characters.")
    stack = _Stack()
    waiting: list[str] = []
    wants_operand = True
    for token in _tokens(expression):
        if token[0] in "0123456789.":
            if not wants_operand:
                raise CalculatorError(f"an operator is missing before {token[:20]!r}.")
            stack.push_literal(token)
            wants_operand = False
        elif token == "(":
            if not wants_operand:
                raise CalculatorError("an operator is missing before '('.")
            waiting.append(token)
        elif token == ")":
            if wants_operand:
                raise CalculatorError("a number is missing before ')'.")
            _close(stack, waiting)
        elif wants_operand:
            if token not in "+-":
                raise CalculatorError(f"a number is missing before {token!r}.")
            if token == "-":
                waiting.append(_SIGN)
        else:
            operator = "^" if token == "**" else token
            _reduce(stack, waiting, _PRECEDENCE[operator] + (operator == "^"))
            waiting.append(operator)
            wants_operand = True
        if len(waiting) > MAX_DEPTH:
            raise CalculatorError(f"the expression is nested more than {MAX_DEPTH} deep.")
    if wants_operand:
        raise CalculatorError("a number is missing at the end." if expression.strip() else "the expression is empty.")
    _reduce(stack, waiting, 0)
    if waiting:
        raise CalculatorError("a bracket is not closed.")
    return Result(Fraction(stack.operands[0].value), stack.operations or min(stack.fractions, 1))


def show(value: Fraction) -> str:
    """A value as the calculator writes it: `12` or `-3/4`."""
    return str(value)


def _tokens(expression: str) -> list[str]:
    text, place, tokens = expression.translate(_SYNONYMS).rstrip(), 0, list[str]()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise CalculatorError(f"{text[place:].lstrip()[:10]!r} cannot be read; use numbers, + - * / ^ and brackets.")
        tokens.append(match[1] or match[2])
        place = match.end()
    return tokens


def _close(stack: _Stack, waiting: list[str]) -> None:
    _reduce(stack, waiting, 0)
    if not waiting:
        raise CalculatorError("a bracket is closed that was not opened.")
    waiting.pop()


def _reduce(stack: _Stack, waiting: list[str], precedence: int) -> None:
    """Apply what waits and binds at least as tightly, back to the last bracket."""
    while waiting and waiting[-1] != "(" and _PRECEDENCE[waiting[-1]] >= precedence:
        stack.apply(waiting.pop())


class _Stack:
    """The operands of a calculation in progress."""

    def __init__(self) -> None:
        self.operands: list[_Operand] = []
        self.operations = 0
        self.fractions = 0

    def push_literal(self, text: str) -> None:
        if len(text) > MAX_DIGITS:
            raise CalculatorError(f"a number has more than {MAX_DIGITS} digits.")
        integer = "." not in text
        self.operands.append(_Operand(int(text) if integer else Fraction(text), integer))

    def apply(self, operator: str) -> None:
        right = self.operands.pop()
        if operator == _SIGN:
            self.operands.append(_Operand(-right.value, right.integer))
            return
        left = self.operands.pop()
        if operator == "/" and left.integer and right.integer:
            self.fractions += 1
        else:
            self.operations += 1
        self.operands.append(_Operand(_bounded(operator, left.value, right.value), integer=False))


def _bounded(operator: str, left: int | Fraction, right: int | Fraction) -> int | Fraction:
    if operator == "^":
        return _power(left, right)
    if operator == "/" and right == 0:
        raise CalculatorError("division by zero.")
    if operator == "+":
        value = left + right
    elif operator == "-":
        value = left - right
    else:
        value = left * right if operator == "*" else Fraction(left) / right
    if _bits(value) > MAX_BITS:
        raise CalculatorError("the result is too large.")
    return value


def _power(base: int | Fraction, exponent: int | Fraction) -> int | Fraction:
    if exponent.denominator != 1:
        raise CalculatorError("an exponent must be an integer.")
    if base == 0 and exponent <= 0:
        raise CalculatorError("zero can only have a positive exponent.")
    if abs(base) in (0, 1):
        return base if exponent % 2 else base * base
    if abs(exponent) > MAX_BITS or _bits(base) * abs(exponent) > MAX_BITS:
        raise CalculatorError("the result is too large.")
    return Fraction(base) ** int(exponent)


def _bits(value: int | Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())
