"""One row of a dump, whatever trainer wrote it, and what must be true of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnwise.types import Turn

__all__ = ["RULES", "Facts", "Reply", "Row", "digest"]

_NO_ID = 2**20  # no vocabulary is as large


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
    group: str = ""
    """Of episodes of one task that are compared with one another; "" if the dump does not say."""
    full: bool | None = None
    """Whether there is no room for another token after it; None if the dump does not say."""
    turns: Sequence[Turn] = ()
    """Of our own dumps."""

    @property
    def aligned(self) -> bool:
        """Whether places mean the same in all of it."""
        return len(self.ids) == len(self.mask) == len(self.logprobs)

    def spans(self) -> Sequence[Reply]:
        """The replies."""
        if self.replies:
            return self.replies
        edges = [i for i in range(len(self.mask) + 1) if self._at(i) != self._at(i - 1)]
        return [Reply(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]

    @property
    def prompt(self) -> bytes:
        """Digest of what comes before the first token that is trained: rows of one prompt may be alike by chance."""
        first = next((i for i, trained in enumerate(self.mask) if trained), len(self.ids))
        return digest(self.ids[:first])

    def _at(self, index: int) -> bool:
        return 0 <= index < len(self.mask) and bool(self.mask[index])


def digest(ids: Sequence[object]) -> bytes:
    """Equal for equal ids."""
    return hashlib.blake2b(str(list(ids)).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known before a row is looked at: from the caller, from a tokenizer, or from the whole dump."""

    stops: frozenset[int] = frozenset()
    """What ends a reply; empty if unknown."""
    vocabulary: int = 0
    """Ids are below it; 0 if unknown."""
    before: int | None = None
    """The token that nearly all replies come after: the last one of the generation prompt."""
    longest_reply: int = 0
    longest_row: int = 0
    """Tokens of a row up to its last reply's end."""
    groups: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rows of each."""
    prompts: Mapping[bytes, int] = field(default_factory=dict[bytes, int])
    """Rows of each, by its digest."""


Rule = Callable[[Row, Facts], Iterator[str]]


def _format(row: Row, facts: Facts) -> Iterator[str]:
    yield from row.odd


def _lengths(row: Row, facts: Facts) -> Iterator[str]:
    if not row.aligned:
        yield f"{len(row.ids)} ids, {len(row.mask)} mask entries, {len(row.logprobs)} log-probabilities; they must be as many"


def _ids(row: Row, facts: Facts) -> Iterator[str]:
    wrong = [i for i in row.ids if isinstance(i, bool) or not isinstance(i, int) or i < 0]
    if wrong:
        yield f"{len(wrong)} ids are no token ids, such as {wrong[0]!r}"
    most = facts.vocabulary or _NO_ID
    beyond = [at for at, i in enumerate(row.ids) if i not in wrong and i >= most]
    if beyond:
        which = f"the vocabulary of {most}" if facts.vocabulary else f"any vocabulary (above {most})"
        yield f"{len(beyond)} ids are beyond {which}, the first {row.ids[beyond[0]]} at token {beyond[0]}"


def _mask(row: Row, facts: Facts) -> Iterator[str]:
    if row.mask and row.mask[0]:
        yield "the first token is trained, but nothing predicts it: the mask is shifted, or a prompt is trained"
    if not row.failed and row.ids and not any(row.mask):
        yield "nothing is trained: a row of padding in the denominator, or a lost mask"
    for reply in row.spans() if row.aligned else ():
        before = row.ids[reply.start - 1] if reply.start else facts.before
        if facts.before is not None and before != facts.before and row.ids[reply.start] == facts.before:
            yield f"token {reply.start} is trained, the end of the generation prompt ({facts.before}): the mask begins too early"


def _finite(row: Row, facts: Facts) -> Iterator[str]:
    wrong = [
        i for i, (m, p) in enumerate(zip(row.mask, row.logprobs, strict=False)) if m and not (math.isfinite(p) and p <= 1e-6)
    ]
    if wrong:
        yield f"{len(wrong)} log-probabilities are no such thing, the first {row.logprobs[wrong[0]]} at token {wrong[0]}"


def _recorded(row: Row, facts: Facts) -> Iterator[str]:
    trained = [p for m, p in zip(row.mask, row.logprobs, strict=False) if m]
    if len(trained) > 3 and not any(trained):
        yield "all log-probabilities are exactly 0: the engine's were not kept (and a ratio to them means nothing)"
    outside = [i for i, (m, p) in enumerate(zip(row.mask, row.logprobs, strict=False)) if not m and p == p and p != 0]
    if outside:
        first = f"the first {row.logprobs[outside[0]]} at token {outside[0]}"
        yield f"{len(outside)} tokens outside the mask have a log-probability, {first}: the two are shifted"


def _sampled(row: Row, facts: Facts) -> Iterator[str]:
    """A reply ends with a token that was drawn, so among its log-probabilities is one that is not 0, or its stop token."""
    if not row.aligned or not any(p for m, p in zip(row.mask, row.logprobs, strict=True) if m):
        return  # said by others
    for reply in row.spans():
        spoken = row.logprobs[reply.start : reply.end]
        prompted = facts.before is None or (reply.start and row.ids[reply.start - 1] == facts.before)
        if spoken and not any(spoken) and not (prompted and row.ids[reply.end - 1] in facts.stops):
            last = f" to {reply.end - 1}" if reply.end - reply.start > 1 else ""
            yield (
                f"token {reply.start}{last} is trained, with a log-probability of exactly 0, and is no whole reply: it is of a "
                "prompt or of an observation, and was sampled by nobody"
            )


def _stops(row: Row, facts: Facts) -> Iterator[str]:
    replies = row.spans() if facts.stops and row.aligned else ()
    for at, reply in enumerate(replies, start=1):
        said = list(row.ids[reply.start : reply.end])
        early = [i for i, token in enumerate(said[:-1]) if token in facts.stops]
        ended = bool(said) and said[-1] in facts.stops
        if early:
            yield f"the reply at token {reply.start} goes on after its stop token ({early[0] + 1} of {len(said)} tokens in)"
        if said and not ended and reply.cut is False:
            yield f"the reply at token {reply.start} ended by itself, and its stop token is not trained: nobody learns to stop"
        if ended and reply.cut is True:
            yield f"the reply at token {reply.start} was cut, and ends with a stop token that nobody sampled"
        if said and not early and not ended and reply.cut is None and any(row.logprobs[reply.start : reply.end]):
            yield from _unended(row, reply, at == len(replies), facts)


def _unended(row: Row, reply: Reply, last: bool, facts: Facts) -> Iterator[str]:
    """A reply that may have been cut: then it, or the row, is as long as any in the dump."""
    no_room = reply.end >= facts.longest_row if row.full is None else row.full
    if not (reply.end - reply.start >= facts.longest_reply or (last and no_room)):
        why = "there was room for more" if last else "the conversation goes on"
        yield f"the reply at token {reply.start} ends without a stop token, yet {why}: its stop token is lost or not trained"


def _numbers(row: Row, facts: Facts) -> Iterator[str]:
    yield from (f"{name} is {value}" for name, value in row.numbers.items() if not math.isfinite(value))


def _groups(row: Row, facts: Facts) -> Iterator[str]:
    most = max(facts.groups.values(), default=0)
    if facts.groups.get(row.group) == 1 < most:
        yield f"it is alone in its group ({row.group}), others have {most}: it has nothing to be compared with"


RULES: dict[str, Rule] = {
    "format": _format,
    "lengths": _lengths,
    "ids": _ids,
    "mask": _mask,
    "finite": _finite,
    "recorded": _recorded,
    "sampled": _sampled,
    "stops": _stops,
    "numbers": _numbers,
    "groups": _groups,
}
"""By name: what is wrong with a row, in words; nothing if all is well."""
