"""What an engine of a recipe gives: the policy, ready to sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from transformers import PreTrainedModel

from turnwise.agents.engine import Engine, Load

__all__ = ["EngineChoice", "PolicyEngine", "Replicated", "scored_by_each"]


class PolicyEngine(Engine, Protocol):
    """An engine that samples the policy while it is trained."""

    @property
    def version(self) -> int:
        """Of the weights in use."""
        ...

    @property
    def sync_cost(self) -> tuple[int, float]:
        """Bytes that left the trainer at the last change of weights, and seconds for which no token was sampled."""
        ...

    @property
    def load(self) -> Load: ...

    async def differing(self, weights: Mapping[str, Any]) -> list[str]:
        """Names of the tensors in `weights` that the engine holds otherwise."""
        ...


@runtime_checkable
class Replicated(Protocol):
    """A PolicyEngine of several that must all hold the same weights."""

    async def score_each(self, ids: Sequence[int], targets: Sequence[int]) -> list[list[float]]:
        """`Engine.score`, by every one of them."""
        ...


async def scored_by_each(engine: PolicyEngine, ids: Sequence[int], targets: Sequence[int]) -> list[list[float]]:
    """`Engine.score`, by every one of an engine's replicas, or by the one that it is."""
    if isinstance(engine, Replicated):
        return await engine.score_each(ids, targets)
    return [await engine.score(ids, targets)]


class EngineChoice(Protocol):
    """A frozen description of an engine; `build` makes it real."""

    async def build(self, model: PreTrainedModel, folder: Path, *, concurrency: int, overlaps: bool) -> PolicyEngine:
        """An engine with the model's architecture and its present weights.

        Args:
            folder: the run's, for what the engine has to find on disk.
            concurrency: most episodes in flight.
            overlaps: whether it samples while the learner changes `model`.
        """
        ...
