"""Replay: tasks that were solved, but rarely, come back together with what solved them (DeepSearch, arXiv:2509.25454)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from turnwise.agents.episode import Problem
from turnwise.agents.store import decode, encode
from turnwise.errors import ConfigError
from turnwise.trainers.samplers.uniform import Uniform
from turnwise.types import Group

__all__ = ["Replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A task of which a share above 0 and up to `rare` of the rollouts was solved is kept with its solutions; up to `share` of
    each step's tasks are such ones, in turn, the rest are new. A task that is solved more often when it comes back is let go.

    The solutions go with the task as `Problem.past`. What to do with them is the rollout strategy's business: `mcts` needs no
    search then and puts one into the group, `restart` with `source = "own"` begins at one's states, others take no notice.
    Only rollouts that are new and begin at the task count: a solution from the cache, or a restart, does not say how hard a task
    is. Beyond `tasks` kept, the oldest goes; the same for `solutions` of one task.
    """

    share: float = 0.25
    """Most of a step's tasks that come back, in [0, 1]."""
    rare: float = 0.25
    """Solved share of a task's rollouts up to which it is kept, in (0, 1] (DeepSearch: 0.25)."""
    tasks: int = 256
    solutions: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not 0 < self.rare <= 1:
            raise ConfigError(f"sampler: expected share in [0, 1] and rare in (0, 1], got {self.share} and {self.rare}.")
        if self.tasks < 1 or self.solutions < 1:
            raise ConfigError(f"sampler: expected tasks and solutions of at least 1, got {self.tasks} and {self.solutions}.")

    def start(self, envs: Sequence[tuple[str, float, Sequence[int]]]) -> Mapping[str, Any]:
        return {**Uniform().start(envs), "kept": []}

    def ask(self, state: Mapping[str, Any], n: int, rng: np.random.Generator) -> list[Problem]:
        kept: list[list[Any]] = state["kept"]
        count = min(len(kept), int(self.share * n))
        again = [
            Problem(env_id, seed, {"split": "train", "difficulty": level}, tuple(decode(line)))
            for env_id, seed, level, line in kept[:count]
        ]
        return [*(Uniform().ask(state, n - count, rng) if n > count else ()), *again]

    def tell(self, state: Mapping[str, Any], groups: Sequence[Group]) -> Mapping[str, Any]:
        kept = {(env_id, seed, level): line for env_id, seed, level, line in state["kept"]}
        for group in groups:
            if not group.survivors:
                continue
            first = group.survivors[0]
            key = (first.env_id, first.seed, group.task.difficulty)
            known = decode(kept[key]) if key in kept else []
            said = {t.ids for t in known}
            fresh = [t for t in group.survivors if t.turns and not t.turns[0].given and t.ids not in said]
            solved = [t for t in fresh if t.outcome >= 1]
            line = kept.pop(key, None)  # what came back goes to the end of the queue
            if fresh and len(solved) > self.rare * len(fresh):
                continue
            if solutions := [*known, *solved][-self.solutions :]:
                kept[key] = encode(solutions) if solved or line is None else line
        rows = [[*key, line] for key, line in kept.items()]
        return {**Uniform().tell(state, groups), "kept": rows[-self.tasks :]}
