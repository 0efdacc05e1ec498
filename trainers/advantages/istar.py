"""iStar: the return against the group, plus implicit step rewards of an online process reward model (OPRL, arXiv:2509.19199)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from turnwise.errors import ConfigError
from turnwise.trainers.batch import Batch
from turnwise.trainers.bounds import within
from turnwise.trainers.comparison import Cells

__all__ = ["IStar"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IStar:
    """A_{i,k} = A^E_i + weight * A^S_{i,k}.

    The implicit step reward of turn k is the reward term `term`; like every term it is part of `Batch.rewards`, so R_i, the
    return of the environment, is what is left without it. A^E is R_i and A^S the step reward, each against its mean:
    leave-one-out, (x - mean) * n / (n - 1), over the n trajectories and over all distinct turns of all trajectories of the
    group (the release averages only each trajectory's first turn). `std` divides by the population standard deviation instead.

    A^S credits a turn with its own step reward only, nothing to go: the process model is trusted to have seen ahead.
    Left out: the model itself and its training (a reward shaper), and the scaling by the batch's largest step return.
    """

    term: str = "implicit_prm"
    """Name of the reward term that holds the step rewards."""
    weight: float = 1.0
    """Of A^S."""
    std: bool = False
    """Divide by the spread in place of leave-one-out."""
    eps: float = 1e-6
    """Added to the spread, in units of reward."""

    def __post_init__(self) -> None:
        within("istar.weight", self.weight)
        within("istar.eps", self.eps)

    def __call__(self, batch: Batch) -> Tensor:
        """[B, T] in units of reward (of spreads with `std`); 0 for a group of one. Raises ConfigError without the term.

        A^S is not 0 where all returns are equal: groups of all successes or all failures still learn from it.
        """
        if self.term not in batch.terms:
            known = ", ".join(sorted(batch.terms)) or "none"
            raise ConfigError(
                f"istar: expected the reward term {self.term!r}, the batch has {known}; add a reward that makes it."
            )
        steps, size = batch.terms[self.term].to(batch.rewards), batch.group_size()
        returns = ((batch.rewards - steps) * batch.turn_mask).sum(1)
        episode = torch.where(batch.group_varies(returns), returns - batch.group_sum(returns) / size.clamp(min=1), 0)
        episode = episode * size / (size - 1).clamp(min=1)
        step = self._against_mean(steps, Cells.of(batch))
        return batch.to_tokens(torch.where(size[:, None] > 1, episode[:, None] + self.weight * step, 0))

    def _against_mean(self, values: Tensor, cells: Cells) -> Tensor:
        if self.std:
            return cells.centred(values) / (cells.variance(values, 0).sqrt() + self.eps)
        return cells.centred(values) * cells.count() / (cells.count() - 1).clamp(min=1)
