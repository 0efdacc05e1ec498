"""Task samplers decide which tasks come next, and learn from how they went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from turnwise.agents.episode import Problem
from turnwise.types import Group

__all__ = ["Sampler"]


class Sampler(Protocol):
    """Ask / tell. The state is a JSON-able value that the caller keeps, so a checkpoint holds it as it is."""

    def start(self, envs: Sequence[tuple[str, float, Sequence[int]]]) -> Mapping[str, Any]:
        """The state before the first task. `envs`: (id, weight in the mixture, difficulty levels) of each environment."""
        ...

    def ask(self, state: Mapping[str, Any], n: int, rng: np.random.Generator) -> list[Problem]:
        """`n` training problems."""
        ...

    def tell(self, state: Mapping[str, Any], groups: Sequence[Group]) -> Mapping[str, Any]:
        """The state after these groups came back."""
        ...
