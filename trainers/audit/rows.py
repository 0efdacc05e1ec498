"""One row of a dump, whatever trainer wrote it, and what must be true of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["RULES", "Reply", "Row"]


@dataclass(frozen=True, slots=True)
class Reply:
    """Tokens sampled in one go: [start, end) of the row."""

    start: int
    end: int
    cut: bool | None = None
    """Whether it was cut at its cap; None if the dump does not say."""


@dataclass(frozen=True, slots=True)
class Row:
    """A training row. T tokens."""

    where: str
    """In the dump, for a person."""
    ids: Sequence[Any]
    """[T] token ids, if the file is right"""
    mask: Sequence[bool]
    """[T] trained, so sampled by the policy."""
    logprobs: Sequence[float]
    """[T] of the policy that sampled, nats; 0 outside the mask."""
    replies: Sequence[Reply] = ()
    """Empty: every run of trained tokens is one."""
    numbers: dict[str, float] = field(default_factory=dict[str, float])
    """Rewards, advantages."""
    failed: bool = False
    """Broke, so that nothing of it is trained."""
    odd: Sequence[str] = ()
    """What the reader of the format already found."""

    def spans(self) -> Sequence[Reply]:
        """The replies."""
        if self.replies:
            return self.replies
        edges = [i for i in range(len(self.mask) + 1) if self._at(i) != self._at(i - 1)]
        return [Reply(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]

    def _at(self, index: int) -> bool:
        return 0 <= index < len(self.mask) and bool(self.mask[index])


Rule = Callable[[Row, frozenset[int]], Iterator[str]]


def _format(row: Row, stops: frozenset[int]) -> Iterator[str]:
    yield from row.odd


def _lengths(row: Row, stops: frozenset[int]) -> Iterator[str]:
    if not len(row.ids) == len(row.mask) == len(row.logprobs):
        yield f"{len(row.ids)} ids, {len(row.mask)} mask entries, {len(row.logprobs)} log-probabilities; they must be as many"


def _ids(row: Row, stops: frozenset[int]) -> Iterator[str]:
    wrong = [i for i in row.ids if isinstance(i, bool) or not isinstance(i, int) or i < 0]
    if wrong:
        yield f"{len(wrong)} ids are no token ids, such as {wrong[0]!r}"


def _mask(row: Row, stops: frozenset[int]) -> Iterator[str]:
    if row.mask and row.mask[0]:
        yield "the first token is trained, but nothing predicts it: the mask is shifted"
    if not row.failed and row.ids and not any(row.mask):
        yield "nothing is trained: a row of padding in the denominator, or a lost mask"


def _finite(row: Row, stops: frozenset[int]) -> Iterator[str]:
    wrong = [
        i for i, (m, p) in enumerate(zip(row.mask, row.logprobs, strict=False)) if m and not (math.isfinite(p) and p <= 1e-6)
    ]
    if wrong:
        yield f"{len(wrong)} log-probabilities are no such thing, the first {row.logprobs[wrong[0]]} at token {wrong[0]}"


def _recorded(row: Row, stops: frozenset[int]) -> Iterator[str]:
    trained = [p for m, p in zip(row.mask, row.logprobs, strict=False) if m]
    if len(trained) > 3 and not any(trained):
        yield "all log-probabilities are exactly 0: the engine's were not kept (and a ratio to them means nothing)"
    outside = [p for m, p in zip(row.mask, row.logprobs, strict=False) if not m and p == p and p != 0]
    if outside:
        yield f"{len(outside)} tokens outside the mask have a log-probability, such as {outside[0]}: the two are shifted"


def _stops(row: Row, stops: frozenset[int]) -> Iterator[str]:
    for reply in row.spans() if stops else ():
        said = list(row.ids[reply.start : reply.end])
        early = [i for i, token in enumerate(said[:-1]) if token in stops]
        if early:
            yield f"the reply at token {reply.start} goes on after its stop token ({early[0] + 1} of {len(said)} tokens in)"
        if said and said[-1] not in stops and reply.cut is False:
            yield f"the reply at token {reply.start} ended by itself, and its stop token is not trained: nobody learns to stop"
        if said and said[-1] in stops and reply.cut is True:
            yield f"the reply at token {reply.start} was cut, and ends with a stop token that nobody sampled"


def _numbers(row: Row, stops: frozenset[int]) -> Iterator[str]:
    yield from (f"{name} is {value}" for name, value in row.numbers.items() if not math.isfinite(value))


RULES: dict[str, Rule] = {
    "format": _format,
    "lengths": _lengths,
    "ids": _ids,
    "mask": _mask,
    "finite": _finite,
    "recorded": _recorded,
    "stops": _stops,
    "numbers": _numbers,
}
"""By name: what is wrong with a row, in words; nothing if all is well. `stops` are the ids that end a reply, if known."""
