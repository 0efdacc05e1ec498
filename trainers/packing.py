"""How the rows of a batch go through the model: in which order, how many at once, whole or a row per turn."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from turnwise.errors import ConfigError
from turnwise.trainers.batch import Batch

__all__ = ["micro_batches", "one_row_per_turn"]


def micro_batches(batch: Batch, max_tokens: int) -> list[Tensor]:
    """Indices of rows that go through the model together; every row once, rows of like length together.

    Rows times longest length stays within `max_tokens` (a single longer row goes alone). `batch.rows(part).trim()` is that wide.
    """
    if max_tokens < 1:
        raise ConfigError(f"max_tokens: expected at least 1, got {max_tokens}.")
    parts: list[list[int]] = []
    widest = 0
    for row in torch.argsort(batch.lengths, descending=True, stable=True).tolist():
        if parts and (len(parts[-1]) + 1) * widest <= max_tokens:
            parts[-1].append(row)
        else:
            parts.append([row])
            widest = max(1, int(batch.lengths[row]))
    return [torch.tensor(part, device=batch.lengths.device) for part in parts]


def one_row_per_turn(batch: Batch) -> tuple[Batch, Tensor]:
    """A row for each turn: what came before as context, only its tokens trained, what came after gone.

    Returns (rows, source): `source` [R] is the row of `batch` that each comes from, and columns stay where they were, so
    `advantages[source]` fits. Statistics and denominators still see trajectories (`Batch.trajectory`), never rows; advantages
    are computed before. Turns without trained tokens and failed trajectories give no row.
    """
    source, turn = torch.nonzero(batch.trains, as_tuple=True)
    rows = batch.rows(source)
    own = rows.turn == turn[:, None]
    position = torch.arange(batch.tokens.shape[1], device=batch.tokens.device)
    lengths = torch.where(own, position + 1, 0).amax(1)
    keep = position < lengths[:, None]
    split = replace(
        rows,
        tokens=torch.where(keep, rows.tokens, 0),
        turn=torch.where(own, rows.turn, -1),
        logprobs=torch.where(own, rows.logprobs, 0),
        entropies=torch.where(own, rows.entropies, 0),
        lengths=lengths,
        split=True,
    )
    return split, source
