"""Whether an answer is the right number, in whatever final form it is written.

    final forms   12  -12  1,000  0.5  .5  50%  1/2  1 1/2  1e3  2^3  2**10  2^{-3}  \\frac{1}{2}  \\dfrac12  1\\frac{1}{2}  x = 5
                  0.\\overline{3}  0.1\\bar{6}  0.(3)
                  and these within $...$, \\( \\), \\boxed{}, \\text{}, one pair of brackets, or before a unit: 5\\text{ cups}
    not final     12*3+4  8-3  1/2/3  2^3^2  (1+1)/2  3\\cdot 10^2  5 or 6  twelve

What is written in a plain form is read here, exactly (0.333333 is not 1/3, 50% is not 50; math-verify takes both). LaTeX beyond
that goes to math-verify, whose LaTeX parser builds trees and calls no `eval` (its parser for plain expressions does, so it is
never used). Its time-outs need signals, which only work in the main thread: they are switched off, and what it is given is
bounded instead.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from fractions import Fraction
from threading import Lock

import sympy
from math_verify import LatexExtractionConfig, parse, verify

__all__ = ["bare", "grade_number", "read_number"]

MAX_ANSWER = 200
"""Characters; a longer answer is wrong without being looked at."""
MAX_DIGITS = 60
"""Digits of one number in an answer."""
MAX_EXPONENT = 100

# Said once per process about the missing time-outs; the bounds above are what it asks for.
logging.getLogger("math_verify").setLevel(logging.ERROR)
_MATH_VERIFY = Lock()
"""ANTLR's generated parsers share a mutable cache; one thread at a time."""

_INT = r"[0-9]+"
_USUAL = re.compile(rf"(-?[0-9]{{1,{MAX_DIGITS}}})(?:/([0-9]{{1,{MAX_DIGITS}}}))?")
"""What most answers are, and quickly read."""
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+"
_DECIMAL = rf"(?:(?:{_GROUPED}|{_INT})(?:\.[0-9]*)?|\.[0-9]+)"
_PLAIN = re.compile(rf"([-+]?)({_DECIMAL})(?:[eE]([-+]?[0-9]{{1,3}}))?\s*(%?)")
_RATIO = re.compile(rf"([-+]?)({_GROUPED}|{_INT})\s*/\s*([-+]?)({_GROUPED}|{_INT})")
_MIXED = re.compile(rf"([-+]?)({_INT})\s+({_INT})\s*/\s*({_INT})")
_FRAC = re.compile(rf"([-+]?)\s*\\frac\{{\s*([-+]?)({_GROUPED}|{_INT})\s*\}}\{{\s*([-+]?)({_GROUPED}|{_INT})\s*\}}")
_MIXED_FRAC = re.compile(rf"([-+]?)({_INT})\s*\\frac\{{\s*({_INT})\s*\}}\{{\s*({_INT})\s*\}}")
_POWER = re.compile(
    rf"([-+]?)(?:({_INT})|\(\s*([-+]?{_INT})\s*\))\s*(?:\^|\*\*)\s*(?:\{{([-+]?[0-9]{{1,4}})\}}|\(?([-+]?[0-9]{{1,4}})\)?)"
)
_REPEATING = re.compile(r"([-+]?)([0-9]*)\.([0-9]*)(?:\\(?:overline|bar)\{([0-9]+)\}|\(([0-9]+)\))")
_LATEX = re.compile(
    r"-?\s*[0-9]{0,20}\s*(?:\\frac(?:\{[0-9]{1,20}\}|\s*[0-9])(?:\{[0-9]{1,20}\}|\s*[0-9]))?\s*(?:\\text\{[A-Za-z .]*\})?"
)

_LONG = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")

_WRAPPERS = (
    ("$$", "$$"),
    ("$", "$"),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
    (r"\boxed{", "}"),
    (r"\text{", "}"),
    ("(", ")"),
    ("{", "}"),
)
_SPELLINGS = (
    (r"\dfrac", r"\frac"),
    (r"\tfrac", r"\frac"),
    (r"\cfrac", r"\frac"),
    (r"\mathrm{", r"\text{"),
    (r"\mathbf{", r"\text{"),
    (r"\left", ""),
    (r"\right", ""),
    (r"\displaystyle", ""),
    (r"\!", ""),
    (r"\%", "%"),
    (r"\ ", " "),
    ("{,}", ","),
    ("\u2212", "-"),
    ("\u2044", "/"),
    ("\u00a0", " "),
)
_SCALE = re.compile(r"\\text\{[^}]*(?:percent|half|dozen|hundred|thousand|[bm]illion)", re.IGNORECASE)
"""Units that are numbers themselves; math-verify would pass over them."""
_VARIABLE = re.compile(r"[A-Za-z]\s*=\s*")
_SHORT_FRACTION = re.compile(r"\\frac(?:\{([0-9]+)\}\s*|\s*([0-9])\s*)([0-9])")
_SPACED_GROUPS = re.compile(r"(?<=[0-9])\\,(?=[0-9]{3}(?![0-9]))")


def grade_number(answer: str, truth: Fraction) -> float:
    """1.0 if `answer` is `truth` in a final form, else 0.0. Never raises; quick for any text; callable from any thread."""
    if len(answer) > MAX_ANSWER:
        return 0.0
    if usual := _USUAL.fullmatch(answer):
        numerator, denominator = int(usual[1]), int(usual[2] or 1)
        return float(denominator != 0 and numerator * truth.denominator == denominator * truth.numerator)
    text = bare(answer)
    value = _exact(text)
    if value is not None:
        return float(value == truth)
    fit = _LATEX.fullmatch(text) is not None and not _SCALE.search(text) and any(c in "0123456789" for c in text)
    return float(fit and _verified(text, truth))


def read_number(answer: str) -> Fraction | None:
    """The number that a plain final form (see the module) stands for; None if it is none."""
    return _exact(bare(answer)) if len(answer) <= MAX_ANSWER else None


def bare(answer: str, *, brackets: bool = True, name: bool = False) -> str:
    """The answer without delimiters and other spellings of the same thing; `brackets` around the whole are one of these.

    "x = " before it is left out unless `name` is to stay.
    """
    text = answer.strip()
    for spelling, usual in _SPELLINGS:
        text = text.replace(spelling, usual)
    text = _SHORT_FRACTION.sub(r"\\frac{\1\2}{\3}", _SPACED_GROUPS.sub("", text))
    wrappers = _WRAPPERS if brackets else _WRAPPERS[:-2]
    text = _unwrapped(text.removesuffix(".").strip(), wrappers)
    variable = None if name else _VARIABLE.match(text)
    return _unwrapped(text[variable.end() :], wrappers) if variable else text


def _unwrapped(text: str, wrappers: Sequence[tuple[str, str]]) -> str:
    for _ in range(6):
        for left, right in wrappers:
            inner = text[len(left) : len(text) - len(right)]
            if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right) and _balanced(inner):
                text = inner.strip().removesuffix(".").strip()
                break
        else:
            return text
    return text


def _balanced(inner: str) -> bool:
    """Whether the brackets around `inner` belong together."""
    depth = 0
    for character in inner:
        depth += (character in "({") - (character in ")}")
        if depth < 0:
            return False
    return depth == 0 and "$" not in inner


def _exact(text: str) -> Fraction | None:
    if _LONG.search(text):
        return None
    if m := _PLAIN.fullmatch(text):
        exponent = int(m[3] or 0)
        if abs(exponent) > MAX_EXPONENT:
            return None
        value = Fraction(m[2].replace(",", "")) * Fraction(10) ** exponent / (100 if m[4] else 1)
        return _signed(m[1], value)
    if m := _RATIO.fullmatch(text) or _FRAC.fullmatch(text):
        *signs, numerator, sign, denominator = m.groups()
        return _ratio("".join([*signs, sign]), numerator, denominator)
    if m := _MIXED.fullmatch(text) or _MIXED_FRAC.fullmatch(text):
        part = _ratio("", m[3], m[4])
        return None if part is None or part >= 1 else _signed(m[1], int(m[2]) + part)
    if m := _POWER.fullmatch(text):
        return _power(m)
    if m := _REPEATING.fullmatch(text):
        block = m[4] or m[5]
        rest = Fraction(int(block), 10 ** len(block) - 1) / 10 ** len(m[3])
        return _signed(m[1], Fraction(f"{m[2] or 0}.{m[3]}0") + rest)
    return None


def _signed(signs: str, value: Fraction) -> Fraction:
    return -value if signs.count("-") % 2 else value


def _ratio(signs: str, numerator: str, denominator: str) -> Fraction | None:
    bottom = int(denominator.replace(",", ""))
    return _signed(signs, Fraction(int(numerator.replace(",", "")), bottom)) if bottom else None


def _power(match: re.Match[str]) -> Fraction | None:
    sign, base, exponent = match[1], Fraction(match[2] or match[3]), int(match[4] or match[5])
    if abs(exponent) > MAX_EXPONENT or (base == 0 and exponent <= 0):
        return None
    return _signed(sign, base**exponent)


def _verified(latex: str, truth: Fraction) -> bool:
    gold = sympy.Rational(truth.numerator, truth.denominator)
    with _MATH_VERIFY:
        found = parse(f"${latex}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)  # pyright: ignore[reportArgumentType]
        return verify(gold, found, timeout_seconds=None)
