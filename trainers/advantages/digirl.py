"""DigiRL: a doubly robust step advantage from a critic, and trajectories chosen by instruction value (arXiv:2406.11896, section
4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from turnwise.errors import ConfigError
from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within

__all__ = ["DigiRL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DigiRL:
    """A_h = w r_H + (1 - w) (V(s_{h+1}) + r_h - V(s_h)), w = lam^(H - h), H the last turn: the return near the end, the critic
    before it.

    `form = "release"` is what its code does: V(s_{h+1}) - V(s_h) - margin + r_h + sum of gamma^(k-h) r_k, kept where above 0;
    the advantage is then 1 for kept turns and 0 for others (imitation of what went better than expected). V after the last turn
    is 0 in both. Both are for rewards that come at the end: of rewards along the way the paper's form sees only r_h and r_H.

    Two values, one critic. V_step(s_h) is the value before turn h; V_inst, the value of the instruction, is that before turn 0,
    where the conversation is the instruction and the first screen and nothing was done yet. `keep` < 1 trains only that share
    of the batch's trajectories with the largest R - V_inst (the paper keeps a tenth of a replay buffer; a step on policy is too
    small for that). **Then groups move each other.** Rows whose R - V_inst ties with the last kept are kept.

    The first term has no baseline: with lam > 0 a success pushes up every turn near its end, also where success is certain. The
    baseline is the critic: a group of one has advantages. Left out: two heads with their minimum, cross-entropy (our critic
    regresses on the return-to-go, whose mean is the same probability), the replay buffer.
    """

    needs_values: ClassVar[bool] = True
    form: Literal["paper", "release"] = "paper"
    lam: float = 0.5
    """Weight of the return, per turn to the end; `paper` only."""
    gamma: float = 0.5
    """Discount per turn; `release` only."""
    margin: float = 0.05
    """What a turn must better the critic by, in units of reward; `release` only."""
    keep: float = 1.0
    """Share of trajectories that train, in (0, 1]."""

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ConfigError(f"digirl.keep: expected a share in (0, 1], got {self.keep}.")
        within("digirl.lam", self.lam, 0, 1)
        within("digirl.gamma", self.gamma, 0, 1)

    @property
    def couples_groups(self) -> bool:
        """Whether groups move each other."""
        return self.keep < 1

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward (`release`: 0 or 1). Raises ConfigError without values."""
        values = self._values(batch)
        last = torch.arange(batch.rewards.shape[1], device=values.device) == batch.turns[:, None] - 1
        rise = torch.where(last, 0, values[:, 1:]) - values[:, :-1] + batch.rewards
        if self.form == "release":
            advantage = (rise - self.margin + batch.returns_to_go(self.gamma) > 0).to(values)
        else:
            to_end = (batch.turns[:, None] - 1 - torch.arange(batch.rewards.shape[1], device=values.device)).clamp(min=0)
            weight = self.lam ** to_end.to(values)  # of whole numbers the power would be float32
            final = (batch.rewards * last).sum(1, keepdim=True)
            advantage = weight * final + (1 - weight) * rise
        return batch.to_tokens(torch.where(batch.turn_mask & self._chosen(batch, values)[:, None], advantage, 0))

    def targets(self, batch: Batch) -> Tensor:
        """[B, K] what the critic should say at each turn start: the undiscounted return-to-go; 0 outside the turn mask."""
        return batch.returns_to_go()

    def _chosen(self, batch: Batch, values: Tensor) -> Tensor:
        """[B] bool."""
        alive = ~batch.failed
        if self.keep == 1:
            return alive
        batch.check_whole("digirl")
        gain = torch.where(alive, batch.returns - values[:, 0], -torch.inf)
        count = max(1, round(self.keep * int(alive.sum())))
        return alive & (gain >= gain.topk(min(count, len(gain))).values[-1])

    def _values(self, batch: Batch) -> Tensor:
        if batch.values is None:
            raise ConfigError("digirl: expected a batch with values, got none; add a [critic] table to the recipe.")
        batch.check("digirl", values=(batch.values, "BV"))
        return batch.values.to(batch.rewards)
