"""Drawing one token for each row of a batch: one uniform number a row, by the inverse of the cumulative distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.agents.engine import Sampling
from turnwise.errors import ConfigError

__all__ = ["Drawn", "RowSampling", "check_sampling", "draw"]


def check_sampling(sampling: Sampling) -> None:
    """Raises ConfigError for settings that mean nothing."""
    for name, good, rule in (
        ("max_tokens", sampling.max_tokens >= 1, "at least 1"),
        ("temperature", 0.0 <= sampling.temperature < float("inf"), "0 (greedy) or a positive number"),
        ("top_p", 0.0 < sampling.top_p <= 1.0, "in (0, 1]"),
        ("top_k", sampling.top_k >= 0, "0 (no limit) or a positive count"),
    ):
        if not good:
            raise ConfigError(f"Sampling.{name}: expected {rule}, got {getattr(sampling, name)!r}.")


@dataclass(frozen=True, slots=True)
class RowSampling:
    """The settings of N rows as tensors; None where no row needs the step, which is then left out."""

    inverse_temperature: Tensor | None
    """[N, 1]"""
    greedy: Tensor | None
    """[N] bool"""
    limited: Tensor | None
    """[F] the rows with top_k or top_p"""
    top_k: Tensor
    """[F, 1]"""
    top_p: Tensor
    """[F, 1]; infinite where there is no limit."""

    @staticmethod
    def of(rows: Sequence[Sampling], device: torch.device) -> RowSampling:
        inverse = [1 / row.temperature if row.temperature else 1.0 for row in rows]
        greedy = [row.temperature == 0 for row in rows]
        limited = [i for i, row in enumerate(rows) if row.temperature and (row.top_k or row.top_p < 1)]
        top_k = [[rows[i].top_k or torch.iinfo(torch.long).max] for i in limited]
        top_p = [[rows[i].top_p if rows[i].top_p < 1 else float("inf")] for i in limited]
        return RowSampling(
            torch.tensor(inverse, device=device)[:, None] if any(x != 1.0 for x in inverse) else None,
            torch.tensor(greedy, device=device) if any(greedy) else None,
            torch.tensor(limited, device=device) if limited else None,
            torch.tensor(top_k, dtype=torch.long, device=device),
            torch.tensor(top_p, device=device),
        )


@dataclass(frozen=True, slots=True)
class Drawn:
    """One token for each of N rows."""

    tokens: Tensor
    """[N] int64"""
    logprobs: Tensor
    """[N] float64, nats, under the distribution that was drawn from."""
    entropies: Tensor
    """[N] float64, nats, of that distribution."""


def draw(logits: Tensor, rows: RowSampling, uniforms: Tensor) -> Drawn:
    """[N, V] float32 logits and [N] float64 uniforms in [0, 1) -> tokens. Rows do not influence each other."""
    if rows.inverse_temperature is not None:
        logits = logits * rows.inverse_temperature
    if rows.limited is not None:
        logits = logits.index_copy(0, rows.limited, _limit(logits[rows.limited], rows.top_k, rows.top_p))
    shifted = logits - logits.amax(-1, keepdim=True)
    weights = shifted.exp()
    cumulative = weights.cumsum(-1, dtype=torch.float64)  # float32 sums drift by whole tokens in large vocabularies
    total = cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, uniforms[:, None] * total, right=True).clamp_(max=logits.shape[-1] - 1)
    if rows.greedy is not None:
        tokens = torch.where(rows.greedy[:, None], logits.argmax(-1, keepdim=True), tokens)
    log_total = total.log()[:, 0]
    finite = shifted.clamp_(min=torch.finfo(shifted.dtype).min)  # 0 times minus infinity would be no number
    mean = torch.linalg.vecdot(weights, finite) / total[:, 0]
    return Drawn(tokens[:, 0], finite.gather(1, tokens)[:, 0] - log_total, log_total - mean)


def _limit(logits: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Minus infinity for all but the `top_k` likeliest tokens and, of these, all but the fewest that hold `top_p` of the mass."""
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    beyond = torch.arange(logits.shape[-1], device=logits.device) >= top_k
    probs = ranked.masked_fill(beyond, -torch.inf).softmax(-1)
    beyond |= probs.cumsum(-1) - probs >= top_p
    beyond[:, 0] = False
    return logits.masked_fill(torch.zeros_like(beyond).scatter_(1, order, beyond), -torch.inf)
