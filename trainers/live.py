"""The live parts of a run: what its stages hand to one another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.episode import Limits
from turnwise.agents.worlds import Worlds
from turnwise.trainers.curve import Point
from turnwise.trainers.engines.protocol import PolicyEngine
from turnwise.trainers.recipe import Recipe

__all__ = ["Live", "limits_of", "progress"]


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

    @property
    def agent(self) -> ModelAgent:
        sampling = Sampling(max_tokens=self.recipe.max_new_tokens, temperature=self.recipe.temperature)
        return ModelAgent(self.engine, self.template, sampling, self.recipe.max_context)


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
