"""An exact calculator for text that nobody vouches for: + - * / ^, brackets, integers and decimals; every value a Fraction.

Tokens go through a shunting-yard onto a stack: no recursion, no `eval`. Length, nesting, digits and the size of every result are
bounded before the work is done, so that no expression takes more than some hundred microseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd

__all__ = ["CalculatorError", "Result", "calculate", "show"]

MAX_LENGTH = 2_000
"""Characters of an expression."""
MAX_DEPTH = 200
"""Brackets, signs and operators that wait for their right side at one point of an expression."""
MAX_DIGITS = 60
"""Digits of one literal."""
MAX_BITS = 2_048
"""Bits of a result's numerator or denominator."""

_TOKEN = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)|(\*\*|[-+*/^()])|(\S)", re.ASCII)
_SIMPLE = re.compile(r"(-?[0-9]{1,60})\s*([-+*])\s*([0-9]{1,60})", re.ASCII)
"""What most calls are: one operation on integers, too small to need a bound."""
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


_SMALL = 2**60
_Ratio = tuple[int, int]
"""Numerator, and denominator above 0, in lowest terms: several times as quick as a Fraction."""


def calculate(expression: str, *, max_length: int = MAX_LENGTH) -> Result:
    """The exact value of an expression. `^` (or `**`) binds tightest and to the right, then a sign, then * and /, then + and -.

    Raises CalculatorError for what is no expression, for a division by zero, and for anything beyond the bounds of this module.
    """
    if len(expression) > max_length:
        raise CalculatorError(f"the expression is longer than {max_length} characters.")
    if simple := _SIMPLE.fullmatch(expression):
        return _simple(int(simple[1]), simple[2], int(simple[3]))
    stack = _Stack()
    operands = stack.operands
    waiting: list[str] = []
    wants_operand = True
    for literal, token, strange in _TOKEN.findall(expression.translate(_SYNONYMS).rstrip()):
        if strange:
            raise CalculatorError(f"{_unread(expression)!r} cannot be read; use numbers, + - * / ^ and brackets.")
        if literal:
            if not wants_operand:
                raise CalculatorError(f"an operator is missing before {literal[:20]!r}.")
            operands.append(_literal(literal))
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
            if waiting:
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
    ((numerator, denominator), _) = stack.operands[0]
    value = Fraction(numerator) if denominator == 1 else Fraction(numerator, denominator)
    return Result(value, stack.operations or min(stack.fractions, 1))


def _simple(left: int, operator: str, right: int) -> Result:
    return Result(Fraction(left + right if operator == "+" else left - right if operator == "-" else left * right), 1)


def show(value: Fraction) -> str:
    """A value as the calculator writes it: `12` or `-3/4`."""
    return str(value)


def _unread(expression: str) -> str:
    """The first characters that are no token."""
    text = expression.translate(_SYNONYMS).rstrip()
    return next(text[match.start() :][:10] for match in _TOKEN.finditer(text) if match[3])


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
        self.operands: list[tuple[_Ratio, bool]] = []
        """(value, whether it is an integer as written, so that a division by another one makes a fraction)."""
        self.operations = 0
        self.fractions = 0

    def apply(self, operator: str) -> None:
        right, right_integer = self.operands.pop()
        if operator == _SIGN:
            self.operands.append(((-right[0], right[1]), right_integer))
            return
        left, left_integer = self.operands[-1]
        if operator == "/" and left_integer and right_integer:
            self.fractions += 1
        else:
            self.operations += 1
        self.operands[-1] = (_bounded(operator, left, right), False)


@lru_cache(maxsize=4096)
def _literal(text: str) -> tuple[_Ratio, bool]:
    """An operand as `_Stack` keeps it."""
    if len(text) > MAX_DIGITS:
        raise CalculatorError(f"a number has more than {MAX_DIGITS} digits.")
    if text.isdigit():
        return (int(text), 1), True
    whole, _, part = text.partition(".")
    return _reduced(int(whole + part), 10 ** len(part)), False


def _reduced(numerator: int, denominator: int) -> _Ratio:
    common = gcd(numerator, denominator)
    return (numerator, denominator) if common == 1 else (numerator // common, denominator // common)


def _bounded(operator: str, left: _Ratio, right: _Ratio) -> _Ratio:
    if operator == "^":
        return _power(left, right)
    (a, b), (c, d) = left, right
    if b == d == 1 and operator != "/":
        value = (a * c if operator == "*" else a + c if operator == "+" else a - c), 1
        if -_SMALL < value[0] < _SMALL:
            return value
    elif operator == "*":
        value = _reduced(a * c, b * d)
    elif operator == "/":
        if c == 0:
            raise CalculatorError("division by zero.")
        value = _reduced(a * d, b * c) if c > 0 else _reduced(-a * d, -b * c)
    else:
        value = _reduced(a * d + c * b if operator == "+" else a * d - c * b, b * d)
    if not (-_SMALL < value[0] < _SMALL and value[1] < _SMALL) and _bits(value) > MAX_BITS:
        raise CalculatorError("the result is too large.")
    return value


def _power(base: _Ratio, exponent: _Ratio) -> _Ratio:
    (a, b), (n, whole) = base, exponent
    if whole != 1:
        raise CalculatorError("an exponent must be an integer.")
    if a == 0 and n <= 0:
        raise CalculatorError("zero can only have a positive exponent.")
    if b == 1 and abs(a) in (0, 1):
        return base if n % 2 else (a * a, 1)
    if abs(n) > MAX_BITS or _bits(base) * abs(n) > MAX_BITS:
        raise CalculatorError("the result is too large.")
    if n >= 0:
        return a**n, b**n
    return (b**-n, a**-n) if a > 0 or n % 2 == 0 else (-(b**-n), -(a**-n))


def _bits(value: _Ratio) -> int:
    return max(value[0].bit_length(), value[1].bit_length())
