"""Reward shapers add named terms to turns, before credit is assigned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from transformers import PreTrainedModel

from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Engine
from turnwise.errors import Unsupported
from turnwise.types import Group

__all__ = ["LearningShaper", "Scene", "Shaper", "State"]

State = Mapping[str, Any]
"""What a shaper remembers between steps: numbers, strings, lists, dicts and tensors, so that a checkpoint holds it as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a shaper may look at besides the groups."""

    engine: Engine
    """With the weights that sampled the groups. They stay until the last shaper is done, so `engine.score` is one frozen scorer
    for all of a step; calls made together (`asyncio.gather`) are computed together."""
    template: ChatTemplate | None = None
    policy: PreTrainedModel | None = None
    """The model that is trained, to be copied and read, never changed; None where it lives elsewhere."""
    temperature: float = 1.0
    """At which the turns were sampled."""
    step: int = 0
    """Index of the training step, from 0."""
    steps: int = 1
    """Of the whole run."""
    seed: int = 0
    """Of this step."""
    state: State = field(default_factory=dict[str, Any])
    """The shaper's own: what `start` or the last `learn` gave."""

    def chat(self, asks: str) -> ChatTemplate:
        """The chat template; Unsupported if there is none."""
        if self.template is None:
            raise Unsupported(f"{asks}: needs the policy's chat template; pass a scene with one to `train`.")
        return self.template

    @property
    def progress(self) -> float:
        """How much of the run is over: 0 at its first step, 1 at its last."""
        return min(1.0, self.step / (self.steps - 1)) if self.steps > 1 else 1.0


class Shaper(Protocol):
    """`(groups, scene) -> groups` with more `reward_terms`; a pure function of both.

    It changes neither order nor number of trajectories, and a turn that forked rollouts share stays one object
    (`turnwise.trainers.shaping.add_terms` sees to that). What it measures with may break: the trajectory has failed then, like
    one whose environment broke; that is never a reward of 0.
    """

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]: ...


@runtime_checkable
class LearningShaper(Protocol):
    """A shaper that changes over a run. Its state is a value that the caller keeps and checkpoints."""

    def start(self, scene: Scene) -> State:
        """The state before the first step. Raises Unsupported or ConfigError for a scene that it cannot work in."""
        ...

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]: ...

    async def learn(self, groups: Sequence[Group], scene: Scene) -> tuple[State, dict[str, float]]:
        """The state after these groups (as this shaper left them), and metrics. The step's rewards come from the state before."""
        ...
