"""GDPO: each reward term in units of its own spread, before they are added (arXiv:2601.05242)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from turnwise.trainers.bounds import within
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms, check_names
from turnwise.types import Group, Trajectory, Turn

__all__ = ["GDPO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GDPO:
    """Added up as they are, terms of different sizes drown each other, and different reward vectors get the same advantage.

    With R_{i,n} the sum of term n over the turns of trajectory i, each turn's term becomes

        w_n * r_{i,k,n} / (std of R_n in the group + eps)            std with n - 1, of survivors

    and all terms are then divided by (spread of their sum over the batch + eps). Followed by an estimator that subtracts the
    group's mean (`dr_grpo`), this is GDPO exactly; as the terms stay where their turns are, it also goes before estimators of
    turns. A term whose R_n are all equal in a group (or a group of one) becomes 0, as its advantage would be. A term that a
    trajectory lacks counts as 0.

    Put it after all shapers whose terms it should see, before `weighted` if you want both.
    """

    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    """Of terms by name; 1 for those not named."""
    eps: float = 1e-4
    """Added to the spreads, in units of each term."""
    batch: bool = True
    """Divide by the spread over the batch: the step's size no longer depends on how many terms there are."""

    def __post_init__(self) -> None:
        within("gdpo.eps", self.eps)

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        """Raises UnknownName for a weight whose term no turn of the first step has."""
        check_names("gdpo", groups, self.weights, scene)
        scales = [self._scales(group) for group in groups]
        centred = [value for group, scale in zip(groups, scales, strict=True) for value in _sums(group.survivors, scale)]
        overall = _spread(centred) + self.eps if self.batch else 1.0
        changes: dict[Turn, dict[str, float]] = {}
        for group, scale in zip(groups, scales, strict=True):
            for turn in (turn for trajectory in group.survivors for turn in trajectory.turns):
                changes[turn] = {name: value * (scale[name] / overall - 1) for name, value in turn.reward_terms.items()}
        return add_terms(groups, changes)

    def _scales(self, group: Group) -> dict[str, float]:
        """What each term of a group is multiplied by."""
        names = {name for t in group.survivors for turn in t.turns for name in turn.reward_terms}
        spreads = {name: _spread([_total(t, name) for t in group.survivors]) for name in names}
        return {n: self.weights.get(n, 1.0) / (s + self.eps) if s else 0.0 for n, s in spreads.items()}


def _total(trajectory: Trajectory, name: str) -> float:
    return sum(turn.reward_terms.get(name, 0.0) for turn in trajectory.turns)


def _sums(trajectories: Sequence[Trajectory], scale: Mapping[str, float]) -> list[float]:
    """Each trajectory's scaled sum against the group's mean."""
    sums = [sum(factor * _total(t, name) for name, factor in scale.items()) for t in trajectories]
    mean = fmean(sums) if sums else 0.0
    return [value - mean for value in sums]


def _spread(values: Sequence[float]) -> float:
    """Sample standard deviation; exactly 0 for one value, and for values that differ by rounding only."""
    if len(values) < 2 or max(values) - min(values) <= 1e-9 * max(map(abs, values)):
        return 0.0
    mean = fmean(values)
    return (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
