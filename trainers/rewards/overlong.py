"""Soft overlong punishment: the last stretch before the limit costs more and more (DAPO, arXiv:2503.14476, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.errors import ConfigError
from turnwise.trainers.bounds import within
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms
from turnwise.types import Group

__all__ = ["Overlong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlong:
    """Adds the term `overlong` to the last turn, by the tokens n that the policy sampled in the whole trajectory:

        penalty * clip((limit - buffer - n) / buffer, -1, 0)

    0 up to limit - buffer, then falling linearly to -penalty at `limit`, and never below (verl's goes on falling beyond the
    limit). Context and tool results are nobody's verbosity and do not count.
    """

    limit: int = 20480
    """Sampled tokens of one trajectory; the default is the paper's."""
    buffer: int = 4096
    """Tokens before the limit over which the penalty grows."""
    penalty: float = 1.0

    def __post_init__(self) -> None:
        within("overlong.penalty", self.penalty)
        if not 1 <= self.buffer <= self.limit:
            raise ConfigError(f"overlong.buffer: expected 1 to limit ({self.limit}), got {self.buffer}.")

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        alive = (trajectory for group in groups for trajectory in group.survivors)
        lengths = {t.leaf: sum(len(turn.action_ids) for turn in t.turns if not turn.given) for t in alive if t.leaf}
        return add_terms(groups, {leaf: {"overlong": self._cost(length)} for leaf, length in lengths.items()})

    def _cost(self, length: int) -> float:
        return self.penalty * min(0.0, max(-1.0, (self.limit - self.buffer - length) / self.buffer))
