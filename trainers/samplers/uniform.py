"""Uniform sampling: environments by their weight, difficulty levels evenly, a fresh seed for every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from turnwise.agents.episode import Problem
from turnwise.types import Group

__all__ = ["Uniform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Every task is new; how earlier ones went changes nothing."""

    def start(self, envs: Sequence[tuple[str, float, Sequence[int]]]) -> Mapping[str, Any]:
        return {"envs": [[env_id, weight, list(levels)] for env_id, weight, levels in envs], "asked": 0}

    def ask(self, state: Mapping[str, Any], n: int, rng: np.random.Generator) -> list[Problem]:
        envs = state["envs"]
        weights = np.array([weight for _, weight, _ in envs], dtype=float)
        problems: list[Problem] = []
        for index in rng.choice(len(envs), size=n, p=weights / weights.sum()):
            env_id, _, levels = envs[int(index)]
            options: dict[str, Any] = {"split": "train"}
            if levels:
                options["difficulty"] = int(rng.choice(levels))
            problems.append(Problem(env_id, int(rng.integers(2**62)), options))
        return problems

    def tell(self, state: Mapping[str, Any], groups: Sequence[Group]) -> Mapping[str, Any]:
        return {**state, "asked": state["asked"] + len(groups)}
