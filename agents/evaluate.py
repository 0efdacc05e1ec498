"""How well an agent does on an environment's tasks: success, pass@k, turns, tokens and tool calls, with 95 % intervals.

    evaluate = starts -> play_all -> groups -> summarize

A failure (a broken environment, engine or provider) is no attempt of the agent: it is in no mean and is counted by kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from turnwise.agents.agent import Agent
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.statistics import Estimate, pass_at_k, pass_hat_k, proportion, ratio
from turnwise.agents.worlds import Worlds, play_all
from turnwise.errors import ConfigError
from turnwise.seeds import child
from turnwise.types import Group, Task, Trajectory

__all__ = ["Evaluation", "TaskOutcome", "evaluate", "starts", "summarize"]

Levels = int | Sequence[int] | None
"""Difficulty: one level, several, or the environment's default."""
_DEFAULT_LIMITS = Limits()
_ESTIMATES = ("success", "outcome", "reward", "turns", "tokens", "tool_calls")


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """How the samples of one task went. n samples that no failure ended."""

    task: Task
    seed: int
    """Of the environment's reset: with the id and the options it is the task again."""
    outcomes: tuple[float, ...]
    """[n] how far each sample solved it, in [0, 1]."""
    rewards: tuple[float, ...]
    """[n] return of each sample."""
    failures: int

    @property
    def solved(self) -> int:
        """Samples with outcome 1."""
        return sum(outcome >= 1.0 for outcome in self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "id": self.task.id,
            "seed": self.seed,
            "difficulty": self.task.difficulty,
            "outcomes": list(self.outcomes),
            "rewards": list(self.rewards),
            "failures": self.failures,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result. Every estimate is over trajectories that did not fail; None where there were none (or no tokens)."""

    env_id: str
    split: str
    difficulty: tuple[int, ...]
    """Levels asked for, each with its share of the tasks; () is the environment's default."""
    seed: int
    samples: int
    """Asked for, of each task."""
    tasks: tuple[TaskOutcome, ...]
    success: Estimate | None
    """Share of trajectories with outcome 1."""
    by_difficulty: Mapping[int, Estimate]
    """Success of the tasks of each level that was played."""
    mean_at_k: float | None
    """Success averaged within each task first, then over tasks; equals `success` where nothing failed."""
    pass_at: Mapping[int, Estimate]
    """k -> chance that one of k samples is right; over the tasks with at least k survivors; k in powers of two."""
    all_at: Mapping[int, Estimate]
    """k -> chance that all of k samples are right (pass^k): how far the agent can be relied upon."""
    outcome: Estimate | None
    """Mean outcome: counts partial success."""
    reward: Estimate | None
    """Mean undiscounted return."""
    turns: Estimate | None
    """Of a trajectory."""
    tokens: Estimate | None
    """Sampled by the agent in a trajectory; None for agents without token ids."""
    tool_calls: Estimate | None
    """Turns of a trajectory that the environment answered with a tool's result."""
    invalid: float | None
    """Share of turns whose reply could not be parsed."""
    stops: Mapping[str, int]
    """Why trajectories ended (turnwise.types.Stop); failures are not among them."""
    failures: Mapping[str, int]
    """Failures by kind."""
    groups: tuple[Group, ...] = field(default=(), repr=False)
    """The trajectories themselves, by task."""

    @property
    def played(self) -> int:
        """Trajectories that count."""
        return sum(self.stops.values())

    @property
    def failed(self) -> int:
        """Trajectories that infrastructure ended."""
        return sum(self.failures.values())

    def to_json(self) -> dict[str, Any]:
        """Everything but the trajectories, as plain JSON values."""
        estimates = {name: getattr(self, name) for name in _ESTIMATES}
        return {
            "env_id": self.env_id,
            "split": self.split,
            "difficulty": list(self.difficulty),
            "seed": self.seed,
            "samples": self.samples,
            "played": self.played,
            "failed": self.failed,
            **{name: estimate and asdict(estimate) for name, estimate in estimates.items()},
            "success_by_difficulty": {str(k): asdict(v) for k, v in self.by_difficulty.items()},
            "mean_at_k": self.mean_at_k,
            "pass_at": {str(k): asdict(v) for k, v in self.pass_at.items()},
            "all_at": {str(k): asdict(v) for k, v in self.all_at.items()},
            "invalid": self.invalid,
            "stops": dict(self.stops),
            "failures": dict(self.failures),
            "tasks": [task.to_json() for task in self.tasks],
        }


def starts(env_id: str, *, tasks: int, samples: int, split: str, difficulty: Levels, seed: int) -> list[tuple[Problem, int]]:
    """(problem, sampling seed) of every episode, the samples of a task next to each other.

    Several levels take turns. Task i is the same whatever `tasks` and `samples` are: a longer evaluation contains the shorter.
    """
    if tasks < 1 or samples < 1:
        raise ConfigError(f"evaluate: tasks and samples must be at least 1, got tasks={tasks}, samples={samples}.")
    levels = _levels(difficulty)
    options = [{"split": split, "difficulty": level} for level in levels] or [{"split": split}]
    return [
        (Problem(env_id, child(seed, "evaluate", "task", i), options[i % len(options)]), child(seed, "evaluate", "sample", i, j))
        for i in range(tasks)
        for j in range(samples)
    ]


async def evaluate(
    worlds: Worlds,
    agent: Agent,
    env_id: str,
    *,
    tasks: int = 256,
    samples: int = 1,
    split: str = "test",
    difficulty: Levels = None,
    seed: int = 0,
    limits: Limits = _DEFAULT_LIMITS,
    concurrency: int = 64,
    done: Callable[[Trajectory], None] = lambda _: None,
) -> Evaluation:
    """Play `samples` episodes of each of `tasks` held-out tasks; `done` sees each trajectory as it ends.

    Equal seeds give equal tasks and, for an agent that honours its seed, equal trajectories. Raises ConfigError for settings
    that the environment refuses; what breaks on the way is counted in `failures`.
    """
    problems = starts(env_id, tasks=tasks, samples=samples, split=split, difficulty=difficulty, seed=seed)
    played = await play_all(worlds, agent, problems, limits=limits, concurrency=concurrency, done=done)
    groups = [_group(played[at : at + samples]) for at in range(0, len(played), samples)]
    return summarize(groups, env_id=env_id, samples=samples, split=split, difficulty=difficulty, seed=seed)


def summarize(groups: Sequence[Group], *, env_id: str, samples: int, split: str, difficulty: Levels, seed: int) -> Evaluation:
    """The statistics of trajectories that were played already, one group a task. `seed` drives the bootstrap."""
    rng = np.random.default_rng(child(seed, "evaluate", "bootstrap"))
    alive = [group.survivors for group in groups if group.survivors]
    everyone = [t for group in groups for t in group.trajectories]
    survivors = [t for ts in alive for t in ts]
    turns = [turn for t in survivors for turn in t.turns]
    right = [sum(t.outcome >= 1.0 for t in ts) for ts in alive]
    counts = [len(ts) for ts in alive]

    def estimate(value: Callable[[Trajectory], float]) -> Estimate | None:
        return ratio([sum(map(value, ts)) for ts in alive], counts, rng) if alive else None

    return Evaluation(
        env_id=env_id,
        split=split,
        difficulty=_levels(difficulty),
        seed=seed,
        samples=samples,
        tasks=tuple(map(_task_outcome, groups)),
        success=_success(alive, rng) if alive else None,
        by_difficulty={
            level: _success([ts for ts in alive if ts[0].task.difficulty == level], rng)
            for level in sorted({ts[0].task.difficulty for ts in alive})
        },
        mean_at_k=sum(c / n for c, n in zip(right, counts, strict=True)) / len(alive) if alive else None,
        pass_at=_at_powers(pass_at_k, right, counts, rng),
        all_at=_at_powers(pass_hat_k, right, counts, rng),
        outcome=estimate(lambda t: t.outcome),
        reward=estimate(lambda t: t.reward),
        turns=estimate(lambda t: len(t.turns)),
        tokens=estimate(_sampled) if any(turn.action_ids for turn in turns) else None,
        tool_calls=estimate(lambda t: sum(turn.tool_calls for turn in t.turns)),
        invalid=sum(not turn.valid for turn in turns) / len(turns) if turns else None,
        stops=_counted(t.stop.value for t in survivors),
        failures=_counted(t.failure.kind for t in everyone if t.failure),
        groups=tuple(groups),
    )


def _success(alive: Sequence[Sequence[Trajectory]], rng: np.random.Generator) -> Estimate:
    return proportion([sum(t.outcome >= 1.0 for t in ts) for ts in alive], [len(ts) for ts in alive], rng)


def _at_powers(
    estimator: Callable[[int, int, int], float], right: Sequence[int], counts: Sequence[int], rng: np.random.Generator
) -> dict[int, Estimate]:
    table: dict[int, Estimate] = {}
    k = 1
    while k <= max(counts, default=0):
        enough = [(n, c) for n, c in zip(counts, right, strict=True) if n >= k]
        per_task = [estimator(n, c, k) for n, c in enough]
        if all(value in (0.0, 1.0) for value in per_task):
            table[k] = proportion([int(value) for value in per_task], [1] * len(per_task), rng)
        else:
            table[k] = ratio(per_task, [1] * len(per_task), rng)
        k *= 2
    return table


def _levels(difficulty: Levels) -> tuple[int, ...]:
    if difficulty is None:
        return ()
    return (difficulty,) if isinstance(difficulty, int) else tuple(difficulty)


def _task_outcome(group: Group) -> TaskOutcome:
    survivors = group.survivors
    return TaskOutcome(
        group.task,
        group.trajectories[0].seed,
        tuple(t.outcome for t in survivors),
        tuple(t.reward for t in survivors),
        len(group.trajectories) - len(survivors),
    )


def _group(trajectories: Sequence[Trajectory]) -> Group:
    # A sample that failed in its reset knows no task; its siblings do.
    known = next((t for t in trajectories if not t.failed), trajectories[0])
    return Group(known.task, tuple(trajectories))


def _sampled(trajectory: Trajectory) -> int:
    return sum(len(turn.action_ids) for turn in trajectory.turns)


def _counted(kinds: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(kinds).items()))
