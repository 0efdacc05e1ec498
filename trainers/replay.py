"""Re-execute the training of a recorded run and compare it, number by number, to the last bit.

From the event log (`trainers.recording`): what was sampled and what the environments answered is taken from there; the model, the
warm-start, rewards, advantages, updates and the sampler are computed again. `live` samples and plays again too, for runs that no
clock had a part in (lock-step or eta = 0, inline environments).
"""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from turnwise.agents.episode import Problem
from turnwise.agents.store import read_groups
from turnwise.errors import ConfigError
from turnwise.seeds import child
from turnwise.trainers import checkpoint
from turnwise.trainers.cluster.settings import Cluster
from turnwise.trainers.engines.torch import Torch
from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.recipe import Evaluate, Recipe, load
from turnwise.trainers.recording import read_events, unpack
from turnwise.trainers.run import run
from turnwise.types import Group, Trajectory

__all__ = ["Difference", "Replay", "comparable", "recorded_steps", "replay"]

_OF_THE_ENGINE = ("sync/bytes", "sync/probe_difference")
"""How many bytes it was given and how closely it computes: what the embedded engine cannot repeat for another one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first that was found."""

    step: int
    what: str
    """A metric, or "tokens" of an episode."""
    recorded: Any
    replayed: Any

    def __str__(self) -> str:
        return f"step {self.step}, {self.what}: {self.recorded!r} was recorded, {self.replayed!r} came of the replay"


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it."""

    first: int
    """The step it began with."""
    steps: int
    """How many were compared."""
    metrics: int
    """Numbers that were compared."""
    difference: Difference | None

    @property
    def equal(self) -> bool:
        return self.difference is None


async def replay(folder: Path, *, live: bool = False, start: str = "", console: Console | None = None) -> Replay:
    """Replay the run in `folder` as far as it was recorded, from its beginning or from a checkpoint ("step-50").

    Nothing in `folder` is changed. Raises ConfigError for a folder without a log, or an unknown checkpoint.
    """
    recipe = load(folder / "recipe.toml")
    metrics = read_metrics(folder / "metrics.jsonl")
    steps = recorded_steps(folder)
    until = min(len(metrics), len(steps))
    first = _first(folder, start)
    if not first < until:
        raise ConfigError(f"{folder}: nothing to replay: {until} steps were recorded, and it would begin with step {first}.")
    quiet = replace(recipe, evaluate=Evaluate(tasks=0), cluster=Cluster())
    pool = None if live else _Recorded(recipe, steps)
    quiet = quiet if live else replace(quiet, engine=Torch())
    with TemporaryDirectory(prefix="turnwise-replay-") as name:
        out = Path(name)
        if start:
            _bring(folder, out, start)
        console = console or Console(file=io.StringIO())
        await run(quiet, out, resume=bool(start), console=console, until=until, rollouts=pool)
        again = read_metrics(out / "metrics.jsonl")
        same = not recipe.cluster.used and (live or isinstance(recipe.engine, Torch))
        lines = (metrics[first:until], again[first - until :])
        old, new = ([comparable(m, without=() if same else _OF_THE_ENGINE) for m in one] for one in lines)
        found = _metrics_differ(old, new)
        if found is None and live:
            found = _tokens_differ(steps, recorded_steps(out, first), first, until)
    return Replay(first, until - first, sum(map(len, old)), found)


def recorded_steps(folder: Path, first: int = 0) -> dict[int, list[Group]]:
    """By step, the groups as they were rolled out; `first` is the step with which trajectories.jsonl begins."""
    stored = read_groups(folder / "trajectories.jsonl")
    steps: dict[int, list[Group]] = {}
    for event in read_events(folder / "events.jsonl"):
        if event["event"] == "learned":
            own = [(packed, next(stored)) for packed in event["groups"]]
            if event["step"] >= first:
                steps[event["step"]] = [unpack(packed, trajectories) for packed, trajectories in own]
    return steps


class _Recorded:
    """A pool that plays nothing: it gives what was rolled out for the same problems then."""

    def __init__(self, recipe: Recipe, steps: Mapping[int, list[Group]]) -> None:
        self._groups = {child(recipe.seed, "step", step): (step, groups) for step, groups in steps.items()}

    async def collect(self, problems: Sequence[Problem], seed: int) -> list[Group]:
        if seed not in self._groups:
            await asyncio.Event().wait()  # a batch that was in flight when the record ends: nobody takes it
        step, groups = self._groups[seed]
        for problem, group in zip(problems, groups, strict=True):
            played = {(t.env_id, t.seed) for t in group.trajectories}
            if played - {(problem.env_id, problem.seed)}:
                raise ConfigError(
                    f"replay: at step {step} the sampler chose {problem.env_id} {problem.seed}, recorded: {played}."
                )
        return groups

    async def close(self) -> None:
        pass


def _first(folder: Path, start: str) -> int:
    path = folder / "checkpoints" / start
    if start and not (path / "trainer.pt").is_file():
        known = sorted(p.name for p in (folder / "checkpoints").glob("step-*"))
        raise ConfigError(f"replay: {folder} has no checkpoint {start!r}. Known: {', '.join(known) or 'none'}.")
    return int(start.removeprefix("step-")) if start else 0


def _bring(folder: Path, out: Path, start: str) -> None:
    """What a resume needs, in a folder of its own."""
    shutil.copytree(folder / "checkpoints" / start, out / "checkpoints" / start)
    (out / "checkpoints" / checkpoint.LATEST).write_text(start)
    for name in ("base", "metrics.jsonl", "trajectories.jsonl", "events.jsonl"):
        source = folder / name
        if source.is_dir():
            shutil.copytree(source, out / name)
        elif source.is_file():
            shutil.copy(source, out / name)


def comparable(line: Mapping[str, Any], *, without: Collection[str] = ()) -> dict[str, Any]:
    """A line of metrics without what a clock measured, and `without` what two runs need not have in common."""
    return {k: v for k, v in line.items() if not k.endswith("seconds") and k not in without}


def _metrics_differ(recorded: Sequence[Mapping[str, Any]], replayed: Sequence[Mapping[str, Any]]) -> Difference | None:
    for one, two in zip(recorded, replayed, strict=True):
        for name in [*one, *(two.keys() - one.keys())]:
            a, b = one.get(name), two.get(name)
            if a != b and not (a != a and b != b):
                return Difference(int(one["step"]), name, a, b)
    return None


def _tokens_differ(
    recorded: Mapping[int, list[Group]], replayed: Mapping[int, list[Group]], first: int, until: int
) -> Difference | None:
    for step in range(first, until):
        for old, new in zip(_told(recorded[step]), _told(replayed[step]), strict=True):
            if old != new:
                return Difference(step, f"tokens of {old[0]}", old[1:], new[1:])
    return None


def _told(groups: Sequence[Group]) -> Iterator[tuple[Any, ...]]:
    def said(trajectory: Trajectory) -> list[Any]:
        return [(turn.action_ids, turn.logprobs, turn.observation, turn.reward) for turn in trajectory.turns]

    return ((t.task.id, t.stop.value, said(t)) for group in groups for t in group.trajectories)
