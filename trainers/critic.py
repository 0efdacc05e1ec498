"""A light critic: one linear value at each turn start (or token), read from the policy's own hidden states.

The features carry no gradient into the policy, so the critic costs one dot product and can be fitted for many steps per batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["Critic", "ValueHead", "turn_starts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Critic:
    """How the value head learns: least squares on the estimator's targets."""

    level: Literal["turn", "token"] = "turn"
    """A value before each turn, or also one before each token (for estimators that say so)."""
    lr: float = 3e-3
    steps: int = 20
    """Gradient steps per batch, over all turns of it."""

    def __post_init__(self) -> None:
        within("critic.lr", self.lr)
        within("critic.steps", self.steps, 1)


class ValueHead:
    """V(h) = w . norm(h) + b at the hidden state before a turn's first token, or before any token."""

    def __init__(self, hidden: int, settings: Critic, *, device: torch.device, dtype: torch.dtype) -> None:
        self.settings = settings
        self.head = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, 1)).to(device, dtype)
        nn.init.zeros_(self.head[1].weight)  # pyright: ignore[reportArgumentType]
        nn.init.zeros_(self.head[1].bias)  # pyright: ignore[reportArgumentType]
        self.optimizer = torch.optim.AdamW(self.head.parameters(), lr=settings.lr, weight_decay=0.0)

    @torch.no_grad()
    def values(self, features: Tensor) -> Tensor:
        """[..., H] -> [...]."""
        return self.head(features)[..., 0]

    def fit(self, features: Tensor, targets: Tensor, mask: Tensor) -> float:
        """Regress [..., H] on [...] where the [...] mask holds; the mean squared error before the first step."""
        x, y = features[mask].detach(), targets[mask].detach()
        if not len(x):
            return 0.0
        first = None
        for _ in range(self.settings.steps):
            loss = (self.head(x)[:, 0] - y).square().mean()
            first = float(loss.detach()) if first is None else first
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        return first or 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])


def turn_starts(batch: Batch) -> Tensor:
    """[B, K + 1] index of the last token before each turn's first one; after the last turn, the conversation's last token."""
    rows, width = batch.tokens.shape
    depth = batch.rewards.shape[1]
    position = torch.arange(width, device=batch.tokens.device).expand(rows, width)
    start = torch.full((rows, depth + 1), width, device=batch.tokens.device)
    start.scatter_reduce_(1, batch.turn.clamp(min=0), torch.where(batch.turn >= 0, position, width), "amin")
    last = (batch.lengths - 1).clamp(min=0)[:, None]
    return torch.where(start < width, start - 1, last).clamp(min=0)
