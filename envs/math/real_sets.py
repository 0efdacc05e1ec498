"""Sets of real numbers in all the ways they are written: intervals, inequalities, words.

    (-\\infty,-1]\\cup[4,\\infty)   x <= -1 or x >= 4   \\{x \\mid x \\le -1 \\text{ or } 4 \\le x\\}   x is at most -1 or x > ...
    (-3,5]   -3 < x <= 5   x > -3 and x <= 5            \\mathbb{R}   all real numbers   (-\\infty,\\infty)
    x \\ne 3   \\mathbb{R}\\setminus\\{3\\}   all real numbers except 3   (-\\infty,3)\\cup(3,\\infty)

Everything here is linear in the length of the text. Ends are numbers where they can be read, else texts for others to compare.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from turnwise.envs.math.grading import read_number

__all__ = ["RealSet", "Span", "real_set", "same_set", "says_set"]

_INFINITE = {r"\infty": "inf", r"+\infty": "inf", r"-\infty": "-inf"}
_WORDS = (
    (r"\\left|\\right|\\text|\\[,;:!]|\\quad|\\displaystyle", " "),
    (r"(?:is )?(?:greater|more|larger) than or equal to|(?:is )?at least", "\u2265"),
    (r"(?:is )?(?:less|smaller) than or equal to|(?:is )?at most", "\u2264"),
    (r"(?:is )?(?:greater|more|larger) than", ">"),
    (r"(?:is )?(?:less|smaller) than", "<"),
    (r"(?:is )?not equal to|!=|\\neq?(?![a-z])", "\u2260"),
    (r"<=|=<|\\leq?(?:slant)?(?![a-z])", "\u2264"),
    (r">=|\\geq?(?:slant)?(?![a-z])", "\u2265"),
    (r"\\lt(?![a-z])", "<"),
    (r"\\gt(?![a-z])", ">"),
    (r"\\cup(?![a-z])|\u222a|\\lor(?![a-z])|\bor\b", "|or|"),
    (r"\\land(?![a-z])|\band\b", "|and|"),
    (r"\\mathbb\{R\}|\\mathbb R|\u211d|\b(?:all |any )?real numbers?\b|\b(?:all |any )?reals\b", "\u211d"),
    (r"\\setminus(?![a-z])|\\backslash(?![a-z])|\bexcept(?: for)?\b|\bother than\b|\bbut not\b", "|but|"),
    (r"\\in(?![a-z])|\u2208", "\u2208"),
    (r"\\mid(?![a-z])|\bsuch that\b|\bwith\b|\bwhere\b", "|:|"),
    (r"\u221e|\binfinity\b", r"\\infty"),
    (r"\u2212", "-"),
)
"""Patterns of what is written, and what it is read as."""
_WORD_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), usual) for pattern, usual in _WORDS)
_RELATION = re.compile("([<>\u2264\u2265\u2260])")
_BUILDER = re.compile(r"\\?\{\s*([A-Za-z])\s*(?:\u2208\s*\u211d\s*)?(?:\|:\||[|:])(.+?)\\?\}")
_MEMBER = re.compile(r"[A-Za-z]\s*\u2208\s*")
_ALL_BUT = re.compile(r"\u211d(?:\s*[A-Za-z])?\s*(?:\|but\||-(?=\s*\\?\{)|\\(?=\\?\{))\s*(.+)")
_SPAN = re.compile(r"([(\[])([^()\[\],]+(?:\([^()\[\],]*\))?),([^()\[\],]+(?:\([^()\[\],]*\))?)([)\]])")
_FLIPPED = {"<": ">", ">": "<", "\u2264": "\u2265", "\u2265": "\u2264", "\u2260": "\u2260"}


class Span(NamedTuple):
    """An interval; its ends are numbers, "inf", "-inf", or texts that nobody has read."""

    low: Fraction | str
    low_closed: bool
    high: Fraction | str
    high_closed: bool


RealSet = tuple[Span, ...]
"""Intervals that do not touch, in order; as they were written where an end could not be read."""
_ALL: RealSet = (Span("-inf", False, "inf", False),)


def says_set(answer: str) -> bool:
    """Whether there is more to it than brackets: a relation, words, or the set of all real numbers."""
    return bool(re.search("[<>\u2264\u2265\u2260\u211d|]", _read_words(answer)))


def real_set(answer: str) -> RealSet | None:
    """The set that an answer (in math delimiters or not) stands for; None if it is none, or says two things at once."""
    text = _read_words(answer)
    names = set(re.findall(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", text)) if _RELATION.search(text) else set[str]()
    return None if len(names) > 1 else _set_of(text, "".join(names))


def _set_of(text: str, name: str) -> RealSet | None:
    pieces = _split(text)
    if len(pieces) > 1:
        sets = [_set_of(piece.strip(), name) for piece in pieces]
        return None if None in sets else _merged(span for found in sets if found for span in found)
    if builder := _BUILDER.fullmatch(text):
        return _set_of(builder[2].strip(), name)
    text = _MEMBER.sub("", text, count=1) if _MEMBER.match(text) else text
    text = re.sub(r"^\u211d\s*(?:[A-Za-z]\s*)?(?:,|\|:\|)", "", text).strip()
    if text == "\u211d":
        return _ALL
    if excluded := _ALL_BUT.fullmatch(text):
        return _all_but(re.split(r",|\|and\||\|or\|", excluded[1].strip().removeprefix("\\").strip("{} \\")))
    spans = _piece(text, name)
    return None if spans is None else _merged(spans)


def _split(text: str) -> list[str]:
    """At each "or" outside braces, if it is not among what is left out of a set."""
    if "|but|" in text:
        return [text]
    parts, depth = [""], 0
    for word in re.split(r"(\|or\||[{}])", text):
        depth += (word == "{") - (word == "}")
        if word == "|or|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += word
    return parts


def same_set(a: RealSet, b: RealSet, same: Callable[[str, str], bool]) -> bool:
    """Whether two sets are equal; `same` compares ends that could not be read."""
    left = list(b)
    for span in a:
        match = next((other for other in left if _same_span(span, other, same)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _same_span(a: Span, b: Span, same: Callable[[str, str], bool]) -> bool:
    if (a.low_closed, a.high_closed) != (b.low_closed, b.high_closed):
        return False
    return all(
        x == y or (isinstance(x, str) and isinstance(y, str) and same(x, y)) for x, y in ((a.low, b.low), (a.high, b.high))
    )


def _read_words(answer: str) -> str:
    text = answer.strip()
    for left, right in (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), (r"\boxed{", "}")):
        if text.startswith(left) and text.endswith(right) and len(text) > len(left) + len(right):
            text = text[len(left) : len(text) - len(right)].strip()
    text = re.sub(r"\\(?:text|textbf|mbox|mathrm)\s*\{([^{}]*)\}", r" \1 ", text.removesuffix("."))
    for pattern, usual in _WORD_PATTERNS:
        text = pattern.sub(f" {usual} ", text)
    return re.sub(r"\s*([-+<>\u2264\u2265\u2260,=(){}\[\]|:])\s*", r"\1", " ".join(text.split())).strip()


def _end(text: str) -> Fraction | str:
    text = text.strip()
    if text in _INFINITE:
        return _INFINITE[text]
    value = read_number(text)
    return text if value is None else value


def _piece(text: str, name: str) -> Iterable[Span] | None:
    """The spans of an interval, or of relations that all hold (joined by "and" or a comma)."""
    if match := _SPAN.fullmatch(text):
        low, high = _end(match[2]), _end(match[3])
        closed = match[1] == "[", match[4] == "]"
        return _span(low, closed[0], high, closed[1])
    parts = re.split(r"\|and\||,", text)
    if len(parts) == 1:
        return _relation(text, name)
    if len(parts) != 2 or "\u2260" in text:
        return None
    one, other = (_relation(part, name) for part in parts)
    if one is None or other is None:
        return None
    return _both(one[0], other[0], comma="," in text)


def _relation(text: str, name: str) -> list[Span] | None:
    """x < a, a < x, a < x < b, x != a."""
    sides = _RELATION.split(text)
    if not name or len(sides) not in (3, 5) or sides.count(name) != 1:
        return None
    if any(not side or (side != name and re.search(rf"(?<![A-Za-z\\]){name}(?![A-Za-z])|=", side)) for side in sides):
        return None
    if len(sides) == 3:
        relation, end = (sides[1], _end(sides[2])) if sides[0] == name else (_FLIPPED[sides[1]], _end(sides[0]))
        if end in ("inf", "-inf"):
            return None
        if relation == "\u2260":
            return [Span("-inf", False, end, False), Span(end, False, "inf", False)]
        closed = relation in "\u2264\u2265"
        below = relation in "<\u2264"
        return [Span("-inf", False, end, closed) if below else Span(end, closed, "inf", False)]
    low, first, middle, second, high = sides
    if middle != name or "\u2260" in (first, second) or (first in "<\u2264") != (second in "<\u2264"):
        return None
    if first in ">\u2265":
        low, first, second, high = high, second, first, low
    return _span(_end(low), first in "\u2264\u2265", _end(high), second in "\u2264\u2265")


def _span(low: Fraction | str, low_closed: bool, high: Fraction | str, high_closed: bool) -> list[Span] | None:
    if isinstance(low, Fraction) and isinstance(high, Fraction) and low >= high:
        return None
    closed_at_infinity = (low == "-inf" and low_closed) or (high == "inf" and high_closed)
    return None if closed_at_infinity or low == "inf" or high == "-inf" else [Span(low, low_closed, high, high_closed)]


def _both(a: Span, b: Span, *, comma: bool) -> list[Span] | None:
    """What lies below one number and above another; a comma may also stand for "or" where nothing does."""
    if a.low != "-inf":
        a, b = b, a
    if a.low != "-inf" or b.high != "inf" or not isinstance(a.high, Fraction) or not isinstance(b.low, Fraction):
        return None
    if b.low < a.high:
        return [Span(b.low, b.low_closed, a.high, a.high_closed)]
    return [a, b] if comma else None


def _all_but(points: Iterable[str]) -> RealSet | None:
    ends = [_end(re.sub(r"^[A-Za-z]=", "", point.strip())) for point in points]
    if any(end in ("inf", "-inf", "") for end in ends):
        return None
    numbers = sorted({end for end in ends if isinstance(end, Fraction)})
    if len(numbers) < len(ends) and len(ends) > 1:
        return None  # in which order?
    inner = ["-inf", *(numbers or ends), "inf"]
    return tuple(Span(low, False, high, False) for low, high in pairwise(inner))


def _merged(spans: Iterable[Span]) -> RealSet | None:
    """In order, and joined where they touch; as they are where the ends cannot be compared."""
    found = list(spans)
    if any(isinstance(end, str) and end not in ("inf", "-inf") for span in found for end in (span.low, span.high)):
        return tuple(found)
    found.sort(key=lambda span: (_place(span.low), not span.low_closed))
    merged = found[:1]
    for span in found[1:]:
        last = merged[-1]
        touching = _place(span.low) < _place(last.high) or (span.low == last.high and (span.low_closed or last.high_closed))
        if not touching:
            merged.append(span)
        elif (_place(span.high), span.high_closed) > (_place(last.high), last.high_closed):
            merged[-1] = Span(last.low, last.low_closed, span.high, span.high_closed)
    return tuple(merged)


def _place(end: Fraction | str) -> Fraction | float:
    return float(end) if isinstance(end, str) else end
