"""The live parts of a run: what its stages hand to one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds, play_all
from turnwise.trainers.curve import Point
from turnwise.trainers.engines.protocol import PolicyEngine
from turnwise.trainers.recipe import Recipe
from turnwise.types import Trajectory

if TYPE_CHECKING:
    from turnwise.trainers.cluster.fleet import Fleet

__all__ = ["Live", "limits_of", "progress", "sampling_of", "worlds_of"]


@dataclass(slots=True)
class Live:
    """The live parts of a run."""

    recipe: Recipe
    folder: Path
    console: Console
    worlds: Worlds
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate
    engine: PolicyEngine
    points: list[Point]
    success: list[tuple[int, float]]
    """Training success by step."""
    fleet: Fleet | None = None
    """The actors of a run on a cluster."""

    @property
    def agent(self) -> ModelAgent:
        return ModelAgent(self.engine, self.template, sampling_of(self.recipe), self.recipe.max_context)

    async def play(
        self, starts: Sequence[tuple[Problem, int]], done: Callable[[Trajectory], None] = lambda _: None
    ) -> list[Trajectory]:
        """Single episodes of the policy from (problem, seed), in that order."""
        if self.fleet is not None:
            return await self.fleet.pool().play_all(starts, done)
        limits, concurrency = limits_of(self.recipe), self.recipe.concurrency
        return await play_all(self.worlds, self.agent, starts, limits=limits, concurrency=concurrency, done=done)


def worlds_of(recipe: Recipe) -> Worlds:
    """The environments of a recipe."""
    kwargs = {choice.id: choice.kwargs for choice in recipe.env}
    return Worlds(per_env=kwargs, close_deadline_s=min(10.0, recipe.step_deadline_s))


def sampling_of(recipe: Recipe) -> Sampling:
    return Sampling(max_tokens=recipe.max_new_tokens, temperature=recipe.temperature)


def limits_of(recipe: Recipe) -> Limits:
    return replace(Limits(), max_turns=recipe.max_turns, step_deadline_s=recipe.step_deadline_s, retry=recipe.retry)


def progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # a log file wants lines, not bars
    )
