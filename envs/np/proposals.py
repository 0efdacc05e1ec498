"""Proposals as text: lists of labels, read strictly, and the checks that every problem needs.

A list is whole numbers between spaces or commas; lists are separated by semicolons, line breaks or brackets, so that `1 4; 2 3`,
`[[1, 4], [2, 3]]` and `{1, 4} {2, 3}` are the same, and `1 -> 4 -> 2` is one list. Nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

__all__ = ["Proposal", "counted", "merged", "not_once_each", "read_proposal", "repeated_or_unknown", "written"]

Proposal = tuple[tuple[int, ...], ...]
"""The lists of a proposal, none of them empty; problems whose solution is one list take the first."""

MAX_NUMBERS = 1000
"""Numbers of one proposal."""
_AS_LISTS = str.maketrans(",\n[](){}|", " ;;;;;;;;")
_NUMBER = re.compile(r"-?[0-9]{1,4}")
_SHOWN = 5
_USUAL = {str(n): n for n in range(-999, 1000)}
"""As numbers are mostly written."""


def read_proposal(text: str) -> Proposal | str:
    """The lists in `text`, or what is wrong with it."""
    plain = text.replace("->", " ").translate(_AS_LISTS)
    lists = [part.split() for part in plain.split(";")]
    if sum(map(len, lists)) > MAX_NUMBERS:
        return f"A proposal has at most {MAX_NUMBERS} numbers."
    try:
        proposal = tuple([tuple(map(_USUAL.__getitem__, words)) for words in lists if words])
    except KeyError:
        for word in chain(*lists):
            if _NUMBER.fullmatch(word) is None:
                return f"{word[:20]!r} is no whole number of up to 4 digits."
        proposal = tuple([tuple(map(int, words)) for words in lists if words])
    return proposal or "There is no number in the proposal."


def written(proposal: Iterable[Iterable[int]]) -> str:
    """The text that `read_proposal` reads back."""
    return "; ".join(" ".join(map(str, numbers)) for numbers in proposal)


def counted(count: int, one: str, many: str = "") -> str:
    """`1 set`, `2 sets`; `many` where the plural is not made with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def repeated_or_unknown(labels: Sequence[int], count: int, kind: str) -> str:
    """Which label is none of 1 to `count`, or stands twice; "" if each is known and stands once."""
    if len(set(labels)) == len(labels) and min(labels, default=1) >= 1 and max(labels, default=1) <= count:
        return ""
    unknown = [label for label in labels if not 1 <= label <= count]
    if unknown:
        return f"there is no {kind} {unknown[0]}; they are 1 to {count}."
    twice = next(label for i, label in enumerate(labels) if label in labels[:i])
    return f"{kind} {twice} is listed {labels.count(twice)} times."


def not_once_each(labels: Sequence[int], count: int, kind: str) -> str:
    """As `repeated_or_unknown`; or which of 1 to `count` are missing."""
    if sorted(labels) == [*range(1, count + 1)]:
        return ""
    flaw = repeated_or_unknown(labels, count, kind)
    if flaw or len(labels) == count:
        return flaw
    missing = sorted(set(range(1, count + 1)).difference(labels))
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return f"missing: {kind} {', '.join(map(str, missing[:_SHOWN]))}{more}."


def merged(groups: Proposal) -> Iterator[Proposal]:
    """From a group of its own for each member to `groups`: at each step one member joins the others of its group."""
    for i, group in enumerate(groups):
        alone = [(member,) for later in groups[i + 1 :] for member in later]
        for size in range(1, len(group) + 1):
            yield (*groups[:i], group[:size], *[(member,) for member in group[size:]], *alone)
