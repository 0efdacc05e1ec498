"""What a dump says of itself, found in a first reading of it: its stop tokens, its prompts, its groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

from turnwise.trainers.audit.rows import Facts, Row

__all__ = ["gathered"]

_FEW = 0.1
"""A stop token is seen in the middle of a reply at most so often for each time at an end: where something is wrong."""
_MOST = 0.75
"""Share of replies that come after the same token, if there is one generation prompt."""


def gathered(rows: Iterable[Row], stops: Iterable[int] = (), vocabulary: int = 0) -> Facts:
    """`stops` and `vocabulary` are those that are known; stop tokens that are not are found by where they stand."""
    ends: Counter[Hashable] = Counter()
    inside: Counter[Hashable] = Counter()
    before: Counter[Hashable] = Counter()
    groups: Counter[str] = Counter()
    prompts: Counter[bytes] = Counter()
    reply_length = row_length = 0
    for row in rows:
        prompts[row.prompt] += 1
        if row.group:
            groups[row.group] += 1
        if not row.aligned:
            continue
        spans = row.spans()
        for reply in spans:
            said = list(row.ids[reply.start : reply.end])
            if not said:
                continue
            if reply.cut is not True:
                ends[said[-1]] += 1
            inside.update(said[:-1])
            if reply.start:
                before[row.ids[reply.start - 1]] += 1
            reply_length = max(reply_length, len(said))
        row_length = max(row_length, spans[-1].end if spans else 0)
    ending = [token for token, n in ends.items() if n > 1 and isinstance(token, int) and inside[token] <= _FEW * n]
    known = frozenset(stops) or frozenset(ending if 2 * sum(ends[token] for token in ending) >= ends.total() else ())
    most = before.most_common(1)
    opens = bool(most) and before.total() > 2 and most[0][1] >= _MOST * before.total()
    token = most[0][0] if opens else None
    return Facts(
        stops=known,
        vocabulary=vocabulary,
        before=token if isinstance(token, int) else None,
        longest_reply=reply_length,
        longest_row=row_length,
        groups=dict(groups),
        prompts=dict(prompts),
    )
