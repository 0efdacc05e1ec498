"""VSPO: tasks that taught nothing make room for another go at those that taught most (arXiv:2512.07478)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from turnwise.agents.episode import Problem
from turnwise.errors import ConfigError
from turnwise.trainers.samplers.uniform import Uniform
from turnwise.types import Group

__all__ = ["VSPO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VSPO:
    """A group whose rewards are all alike has no advantage. For each such group of the last step, one task of this step is drawn
    from the last step's others, in proportion to their value

        V = (best - mean R) * std R        std of the population, over survivors: difficulty times uncertainty

    with fresh rollouts; the rest are new tasks. `best` is the highest reward there is. A task is drawn at most `repeats` times
    a step, which is how one task is kept from dominating: the paper damps its advantages by a smoothing clip whose form is not
    known to us. Replacing within the step (rollouts made, then thrown away) is left out.
    """

    best: float = 1.0
    repeats: int = 2

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError(f"sampler.repeats: expected at least 1, got {self.repeats}.")

    def start(self, envs: Sequence[tuple[str, float, Sequence[int]]]) -> Mapping[str, Any]:
        return {**Uniform().start(envs), "idle": 0, "again": []}

    def ask(self, state: Mapping[str, Any], n: int, rng: np.random.Generator) -> list[Problem]:
        again: list[list[Any]] = state["again"] * self.repeats
        values = np.array([value for *_, value in again], dtype=float)
        count = min(n, state["idle"], int((values > 0).sum()))
        chosen = rng.choice(len(again), size=count, replace=False, p=values / values.sum()) if count else []
        known = [again[int(index)] for index in chosen]
        repeated = [Problem(env_id, seed, {"split": "train", "difficulty": level}) for env_id, seed, level, _ in known]
        return [*Uniform().ask(state, n - count, rng), *repeated] if n > count else repeated

    def tell(self, state: Mapping[str, Any], groups: Sequence[Group]) -> Mapping[str, Any]:
        judged = [group for group in groups if len(group.survivors) > 1]
        values = [self._value([t.reward for t in group.survivors]) for group in judged]
        again = [
            [group.survivors[0].env_id, group.survivors[0].seed, group.task.difficulty, value]
            for group, value in zip(judged, values, strict=True)
            if value > 0
        ]
        return {**Uniform().tell(state, groups), "idle": sum(value <= 0 for value in values), "again": again}

    def _value(self, rewards: Sequence[float]) -> float:
        if max(rewards) - min(rewards) <= 1e-9 * max(map(abs, rewards)):
            return 0.0
        return max(0.0, self.best - fmean(rewards)) * pstdev(rewards)
