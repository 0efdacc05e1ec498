"""Plain tables of a recipe: the environments of a mixture, the evaluation, the adapters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from turnwise.errors import ConfigError
from turnwise.trainers.bounds import within

__all__ = ["EnvChoice", "Evaluate", "Lora"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvChoice:
    """One environment of the mixture."""

    id: str
    weight: float = 1.0
    difficulty: tuple[int, ...] = ()
    """Levels to train and evaluate on; () is the environment's default."""
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    """For the environment's constructor."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ConfigError(f"env.weight: must be above 0, got {self.weight} for {self.id}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Success on held-out tasks."""

    tasks: int = 256
    """Test tasks before, between and after the stages; 0 never evaluates."""
    every: int = 10
    """Training steps between two points of the learning curve; 0 is none."""
    curve_tasks: int = 64
    """Test tasks of such a point."""

    def __post_init__(self) -> None:
        for name in ("tasks", "every", "curve_tasks"):
            within(f"evaluate.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters through peft (arXiv:2106.09685)."""

    rank: int = 16
    alpha: int = 32
    targets: str = "all-linear"

    def __post_init__(self) -> None:
        within("lora.rank", self.rank, 1)
        within("lora.alpha", self.alpha, 1)
