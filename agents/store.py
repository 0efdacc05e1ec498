"""Trajectories on disk: JSON lines, one line for each group of trajectories that were written together.

    {"turnwise": 1, "tasks": [...], "turns": [...], "trajectories": [...]}

Turns form a tree, parents before children, so a prefix shared by forks is stored once; `parent`, `task` and `leaf` are indices
into the lists of the same line (-1: none). Lines are complete in themselves: files can be appended to, cut and concatenated.
Everything survives the round trip, token ids and floats to the last bit (a float that is not finite is written as a string).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from turnwise.errors import ConfigError
from turnwise.types import Failure, Family, Stop, Task, Trajectory, Turn

__all__ = ["VERSION", "TrajectoryWriter", "read_groups", "read_trajectories", "write_trajectories"]

VERSION = 1


class TrajectoryWriter:
    """Appends to a file; each `write` is one line, flushed. A context manager.

    A last line that a crash cut off is removed first: its record was lost then.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            _drop_cut_line(self.path)
        self._file = self.path.open("a", encoding="ascii")

    def write(self, trajectories: Sequence[Trajectory]) -> None:
        """Store trajectories; turns that they share (a forked prefix) are stored once. Raises ConfigError if a task's
        metadata is not JSON-able."""
        self._file.write(encode(trajectories) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def write_trajectories(path: Path | str, groups: Sequence[Sequence[Trajectory]]) -> None:
    """A new file (an old one is replaced) with one line a group."""
    Path(path).unlink(missing_ok=True)
    with TrajectoryWriter(path) as writer:
        for group in groups:
            writer.write(group)


def read_groups(path: Path | str) -> Iterator[list[Trajectory]]:
    """The trajectories of each line, read one line at a time. Raises ConfigError naming file and line where one is malformed."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of trajectories.")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield decode(line.decode("utf-8"))
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                raise ConfigError(f"{path}, line {number}: {_reason(error, line)}") from error


def read_trajectories(path: Path | str) -> list[Trajectory]:
    """All trajectories of a file, in the order they were written. Raises as `read_groups` does."""
    return [trajectory for group in read_groups(path) for trajectory in group]


def encode(trajectories: Sequence[Trajectory]) -> str:
    """One line, without its end."""
    tasks: dict[str, int] = {}  # by their text: every episode of a group makes its own, equal one
    turns: dict[int, int] = {}
    task_rows: list[dict[str, Any]] = []
    turn_rows: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for trajectory in trajectories:
        row, text = _task_row(trajectory.task)
        task = tasks.setdefault(text, len(task_rows))
        if task == len(task_rows):
            task_rows.append(row)
        for turn in trajectory.turns:
            if id(turn) not in turns:
                turns[id(turn)] = len(turn_rows)
                turn_rows.append(_turn_row(turn, -1 if turn.parent is None else turns[id(turn.parent)]))
        rows.append(
            {
                "task": task,
                "env_id": trajectory.env_id,
                "seed": trajectory.seed,
                "leaf": -1 if trajectory.leaf is None else turns[id(trajectory.leaf)],
                "stop": trajectory.stop.value,
                "failure": trajectory.failure and asdict(trajectory.failure),
                "final": trajectory.final,
            }
        )
    return _dumps({"turnwise": VERSION, "tasks": task_rows, "turns": turn_rows, "trajectories": rows})


def decode(line: str) -> list[Trajectory]:
    """The trajectories of one line. Raises ValueError, KeyError, TypeError or IndexError for anything else."""
    data = json.loads(line)
    if not isinstance(data, dict) or "turnwise" not in data:
        raise ValueError('expected an object with the key "turnwise"')
    if data["turnwise"] != VERSION:
        raise ValueError(f"format version {data['turnwise']!r} is not {VERSION}; read it with the turnwise that wrote it")
    tasks = [
        Task(str(t["id"]), str(t["prompt"]), str(t["answer"]), int(t["difficulty"]), dict(t["metadata"])) for t in data["tasks"]
    ]
    turns: list[Turn] = []
    for row in data["turns"]:
        turns.append(_turn(row, turns))
    return [
        Trajectory(
            _at(tasks, row["task"], "task"),
            str(row["env_id"]),
            int(row["seed"]),
            None if row["leaf"] == -1 else _at(turns, row["leaf"], "leaf"),
            Stop(row["stop"]),
            None if row["failure"] is None else _failure(row["failure"]),
            str(row.get("final", "")),  # files from before it was kept have none
        )
        for row in data["trajectories"]
    ]


def _task_row(task: Task) -> tuple[dict[str, Any], str]:
    """And its text, by which equal tasks are known."""
    row = {
        "id": task.id,
        "prompt": task.prompt,
        "answer": task.answer,
        "difficulty": task.difficulty,
        "metadata": dict(task.metadata),
    }
    try:
        return row, _dumps(row)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"task {task.id!r}: its metadata must be JSON-able, but {error}.") from error


def _turn_row(turn: Turn, parent: int) -> dict[str, Any]:
    return {
        "parent": parent,
        "observation": turn.observation,
        "context_ids": turn.context_ids,
        "action": turn.action,
        "action_ids": turn.action_ids,
        "logprobs": [_number(x) for x in turn.logprobs],
        "entropies": [_number(x) for x in turn.entropies],
        "reward": _number(turn.reward),
        "reward_terms": {name: _number(x) for name, x in turn.reward_terms.items()},
        "outcome": _number(turn.outcome),
        "valid": turn.valid,
        "tool_calls": turn.tool_calls,
        "stop_reason": turn.stop_reason,
        "version": turn.version,
        "duration_s": _number(turn.duration_s),
        **({"given": True} if turn.given else {}),
        **({"versions": turn.versions} if turn.versions else {}),
    }


def _turn(row: Mapping[str, Any], turns: Sequence[Turn]) -> Turn:
    return Turn(
        observation=str(row["observation"]),
        context_ids=tuple(map(int, row["context_ids"])),
        action=str(row["action"]),
        action_ids=tuple(map(int, row["action_ids"])),
        logprobs=tuple(map(float, row["logprobs"])),
        entropies=tuple(map(float, row["entropies"])),
        reward=float(row["reward"]),
        reward_terms={str(name): float(x) for name, x in row["reward_terms"].items()},
        outcome=float(row["outcome"]),
        valid=bool(row["valid"]),
        tool_calls=int(row["tool_calls"]),
        stop_reason=str(row["stop_reason"]),
        version=int(row["version"]),
        duration_s=float(row["duration_s"]),
        parent=None if row["parent"] == -1 else _at(turns, row["parent"], "parent"),
        given=bool(row.get("given", False)),
        versions=tuple(map(int, row.get("versions", ()))),
    )


def _failure(row: Mapping[str, Any]) -> Failure:
    family = Family(row.get("family", Family.ENVIRONMENT))  # files from before there were families have none
    return Failure(str(row["kind"]), str(row["detail"]), family)


def _at(rows: Sequence[Any], index: Any, what: str) -> Any:
    if not isinstance(index, int) or not 0 <= index < len(rows):
        raise IndexError(f"{what} {index!r} points at nothing: a parent comes before its children")
    return rows[index]


def _number(x: float) -> float | str:
    return float(x) if math.isfinite(x) else str(float(x))


def _dumps(data: Mapping[str, Any]) -> str:
    # ASCII, so that lone surrogates and line separators in a model's text can do no harm.
    return json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _drop_cut_line(path: Path) -> None:
    with path.open("r+b") as file:
        whole = sum(len(line) for line in file if line.endswith(b"\n"))
        file.truncate(whole)


def _reason(error: Exception, line: bytes) -> str:
    if not line.endswith(b"\n"):
        return "the last line is cut off (the program that wrote it was stopped); remove it to read the others."
    if isinstance(error, KeyError):
        return f"the key {error} is missing; this is no record that turnwise wrote."
    return f"{error}; this is no record that turnwise wrote."
