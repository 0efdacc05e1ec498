"""The event log of a run: what was admitted, what came back, what was learned; a run can be replayed from it.

OUT/events.jsonl, one object a line, in the order in which things happened:

    {"event": "admitted", "step", "version", "problems": [{"env_id", "seed", "options"}]}     a batch was begun
    {"event": "ended", "env_id", "task", "seed", "how", "turns", "versions": [low, high]}     an episode ended, in one way:
        terminated, truncated, overlong, budget, or the family of its failure
    {"event": "retried", "env_id", "seed", "family", "kind"}                       a failure that was not its end
    {"event": "lost", "what", "index", "why"}              on a cluster: a worker, engine or learner died, and is replaced
    {"event": "learned", "step", "version", "groups": [{"spent": [tokens, tool calls], "record"}]}

`step` is the training step that the batch is for, `version` that of the weights in use then (after the update, for "learned").
`record` is the line of `agents/store.py` with sampled ids, log-probabilities and what the environments answered, as rolled out;
null if no reward shaper changed it, as the same line is in trajectories.jsonl then. Every event has "t", seconds since the log
was opened, which is for people: nothing that replays reads it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from turnwise.agents.episode import Problem
from turnwise.agents.store import decode, encode
from turnwise.errors import ConfigError
from turnwise.seeds import child
from turnwise.trainers.ahead import Admitted
from turnwise.trainers.pool import RolloutPool, task_of
from turnwise.types import Failure, Group, Spent, Stop, Task, Trajectory

__all__ = ["EventLog", "Logged", "how_it_ended", "pack", "pack_admitted", "read_events", "unpack", "unpack_admitted"]


def how_it_ended(trajectory: Trajectory) -> str:
    """The one way: "terminated", "truncated", "overlong" (the token budget), "budget" (the group's), or a family of failures."""
    if trajectory.failure is not None:
        return trajectory.failure.family.value
    return "overlong" if trajectory.stop is Stop.TOKENS else trajectory.stop.value


# --- records as plain values ----------------------------------------------------------------------------------------------


def pack(group: Group, *, record: bool = True) -> dict[str, Any]:
    """A JSON-able value; without `record` the trajectories are to be found elsewhere."""
    spent = [group.spent.tokens, group.spent.tool_calls]
    return {"spent": spent, "record": encode(group.trajectories) if record else None}


def unpack(packed: Mapping[str, Any], trajectories: Sequence[Trajectory] = ()) -> Group:
    """`trajectories` are those found elsewhere."""
    rows = tuple(trajectories if packed["record"] is None else decode(packed["record"]))
    return Group(task_of(rows), rows, Spent(*packed["spent"]))


def pack_admitted(batch: Admitted) -> dict[str, Any]:
    """JSON-able, for a checkpoint."""
    groups = None if batch.groups is None else [pack(g) for g in batch.groups]
    return {"step": batch.step, "version": batch.version, "problems": _problems(batch.problems), "groups": groups}


def unpack_admitted(packed: Mapping[str, Any]) -> Admitted:
    groups = None if packed["groups"] is None else tuple(unpack(g) for g in packed["groups"])
    return Admitted(packed["step"], packed["version"], _given(packed["problems"]), groups)


def _problems(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [
        {
            "env_id": p.env_id,
            "seed": p.seed,
            "options": {k: _plain(v) for k, v in p.options.items()},
            **({"past": encode(p.past)} if p.past else {}),
        }
        for p in problems
    ]


def _given(rows: Sequence[Mapping[str, Any]]) -> tuple[Problem, ...]:
    def given(row: Mapping[str, Any]) -> Problem:
        past = tuple(decode(row["past"])) if "past" in row else ()
        return Problem(row["env_id"], row["seed"], {k: _option(v) for k, v in row["options"].items()}, past)

    return tuple(map(given, rows))


def _plain(value: Any) -> Any:
    if not isinstance(value, Task):
        return value
    fields = ("id", "prompt", "answer", "difficulty")
    return {"task": {**{f: getattr(value, f) for f in fields}, "metadata": dict(value.metadata)}}


def _option(value: Any) -> Any:
    return Task(**value["task"]) if isinstance(value, Mapping) and "task" in value else value


# --- the log --------------------------------------------------------------------------------------------------------------


class EventLog:
    """Appends to a file, flushed line by line."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self._clock = path, clock
        self._file = path.open("a", encoding="ascii")
        self._started = clock()

    def write(self, event: str, **fields: Any) -> None:
        row = {"event": event, **fields, "t": round(self._clock() - self._started, 3)}
        self._file.write(json.dumps(row, separators=(",", ":")) + "\n")
        self._file.flush()

    def ended(self, trajectory: Trajectory) -> None:
        versions = [v for turn in trajectory.turns for v in (turn.versions or (turn.version,))]
        self.write(
            "ended",
            env_id=trajectory.env_id,
            task=trajectory.task.id,
            seed=trajectory.seed,
            how=how_it_ended(trajectory),
            turns=len(trajectory.turns),
            versions=[min(versions), max(versions)] if versions else [],
        )

    def retried(self, problem: Problem, failure: Failure) -> None:
        self.write("retried", env_id=problem.env_id, seed=problem.seed, family=failure.family.value, kind=failure.kind)

    def lost(self, what: str, index: int, why: str) -> None:
        """`what` is "worker", "engine" or "learner", `index` which one of them."""
        self.write("lost", what=what, index=index, why=why)

    def learned(self, step: int, version: int, groups: Sequence[Group], *, record: bool) -> None:
        """`groups` as rolled out; `record` says whether they differ from what is in trajectories.jsonl."""
        self.write("learned", step=step, version=version, groups=[pack(g, record=record) for g in groups])

    def close(self) -> None:
        self._file.close()


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines. Raises ConfigError for a missing file or a line that is none of ours."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no event log; runs before this version wrote none.")
    with path.open(encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                row["event"]
            except (ValueError, TypeError, KeyError) as error:
                if not line.endswith("\n"):
                    return  # cut off when the program was killed
                raise ConfigError(f"{path}, line {number}: no event that turnwise wrote.") from error
            yield row


class Logged:
    """A pool whose admissions are written down."""

    def __init__(self, pool: RolloutPool, log: EventLog, seed: int, steps: int, version: Callable[[], int]) -> None:
        """`seed` and `steps` are the recipe's; `version` tells that of the weights in use."""
        self.pool, self.log, self.version = pool, log, version
        self._steps = {child(seed, "step", step): step for step in range(steps)}

    async def collect(self, problems: Sequence[Problem], seed: int) -> list[Group]:
        self.log.write("admitted", step=self._steps[seed], version=self.version(), problems=_problems(problems))
        return await self.pool.collect(problems, seed)

    async def close(self) -> None:
        await self.pool.close()
