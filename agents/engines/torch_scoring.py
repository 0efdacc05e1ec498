"""Texts that are scored together: what they have in common at their beginning is computed once.

A row holds branches of the texts' forest one after the other: a token sees its own text up to itself and nothing else, and stands
at its own text's position, so every log-probability is that of the text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from turnwise.agents.prefixes import walk

__all__ = ["PackedRow", "pack", "row_tensors"]

_Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(slots=True, eq=False)
class PackedRow:
    """Some texts, each token of their common beginnings once. S tokens."""

    ids: list[int] = field(default_factory=list[int])
    """[S]"""
    positions: list[int] = field(default_factory=list[int])
    """[S]"""
    branches: list[tuple[int, int, _Indices]] = field(default_factory=list[tuple[int, int, _Indices]])
    """(start, stop, what comes before): tokens start..stop of the row go on after the tokens at those indices."""
    paths: dict[int, _Indices] = field(default_factory=dict[int, _Indices])
    """Number of a text -> where its tokens are in the row."""

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, number: int, text: list[int], before: _Indices) -> None:
        """Text `number`, of which the tokens at `before` are there already."""
        start, shared = len(self.ids), len(before)
        self.ids += text[shared:]
        self.positions += range(shared, len(text))
        self.branches.append((start, len(self.ids), before))
        self.paths[number] = np.concatenate([before, np.arange(start, len(self.ids))])


def pack(texts: Sequence[list[int]], linear_cost: int) -> list[PackedRow]:
    """Rows that hold every text; the row of the first text first.

    A text joins the row of the one before it if that is less work than a row of its own; the work of S tokens together is
    S * (linear_cost + S): what each costs alone, in units of attending to one other, and attending to all.
    """

    def work(tokens: int) -> int:
        return tokens * (linear_cost + tokens)

    rows: list[PackedRow] = []
    nothing = np.arange(0)
    for number, shared in walk(texts):
        text = texts[number]
        if shared and work(len(rows[-1]) + len(text) - shared) <= work(len(rows[-1])) + work(len(text)):
            rows[-1].add(number, text, next(reversed(rows[-1].paths.values()))[:shared])
        else:
            rows.append(PackedRow())
            rows[-1].add(number, text, nothing)
    return sorted(rows, key=lambda row: min(row.paths))


def row_tensors(rows: Sequence[PackedRow], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """([N, S] ids, [N, S] positions, [N or 1, 1, S, S] additive mask) of rows, padded on the right."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row.ids, *[0] * (width - len(row))] for row in rows], device=device)
    positions = torch.tensor([[*row.positions, *[0] * (width - len(row))] for row in rows], device=device)
    seen = np.tri(width, dtype=bool)[None]
    if any(len(row.branches) > 1 for row in rows):
        seen = np.repeat(seen, len(rows), axis=0)
        for visible, row in zip(seen, rows, strict=True):
            for start, stop, before in row.branches[1:]:
                visible[start:stop, :start] = False
                visible[start:stop, before] = True
    mask = torch.zeros(len(seen), 1, width, width, dtype=dtype)
    return ids, positions, mask.masked_fill_(~torch.from_numpy(seen)[:, None], -torch.inf).to(device)
