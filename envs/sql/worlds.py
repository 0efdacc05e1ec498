"""The databases of a generated task: the one that is explored, and its neighbours, which only the grader sees.

All have the task's schema and rows of their own. Rows are drawn again until the gold answer decides: not empty, not too long, not
the same as on the first database, and nothing in it that is rounded lies at the edge. So a query that is right by luck on the
first is wrong on a neighbour.
"""

from __future__ import annotations

import math
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, Self

from typing_extensions import override

from turnwise.envs.sql.rows import as_script, in_sqlite, rows_of
from turnwise.envs.sql.schema import schema_of
from turnwise.errors import EnvFailure
from turnwise.tool_servers.sql.compare import Table, difference
from turnwise.tool_servers.sql.grader import Answer, Gold
from turnwise.types import Task

__all__ = ["NEIGHBOURS", "Databases", "Engine", "GeneratedDatabases", "World"]

Engine = Literal["sqlite", "duckdb"]
NEIGHBOURS = 3
"""Databases that only the grader sees."""
_MOST_ROWS = 60
_TRIES = 2_000


@dataclass(frozen=True, slots=True)
class World:
    """One database, ready for a session, and what the gold query answers on it."""

    content: bytes | str | Path
    """An SQLite file, SQL that builds the database, or where a large SQLite file lies, <folder>/<db_id>/<name>.sqlite."""
    gold: Gold


class Databases(ABC):
    """The explored database of a task, then its neighbours, each made when it is asked for. Forks share them."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._made: list[World] = []
        self._lock = threading.Lock()

    @abstractmethod
    def _next(self, made: Sequence[World]) -> World | None:
        """The one after those; None after the last."""

    def first(self) -> World:
        """The one that is explored."""
        return next(iter(self))

    def __iter__(self) -> Iterator[World]:
        for number in count():
            with self._lock:
                if number == len(self._made):
                    world = self._next(self._made)
                    if world is None:
                        return
                    self._made.append(world)
                world = self._made[number]
            yield world

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {**self.__dict__, "_lock": None, "_made": [*self._made]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())


class GeneratedDatabases(Databases):
    """Of a generated task; equal tasks, equal databases."""

    def __init__(self, task: Task, engine: Engine = "sqlite") -> None:
        super().__init__(task)
        self._engine = engine
        self._attempts = iter(range(_TRIES))

    @override
    def _next(self, made: Sequence[World]) -> World | None:
        if len(made) > NEIGHBOURS:
            return None
        task, about = self.task, self.task.metadata
        schema = schema_of(about["seed"], task.difficulty)
        first = made[0].gold.answers[0].table if made else None
        for attempt in self._attempts:
            rows = rows_of(schema, (about["seed"], about["number"], attempt))
            with closing(in_sqlite(schema, rows)) as db:
                table = _answered(db, task.answer)
                if _decides(table, first) and not (about["unrounded"] and _at_an_edge(db, about["unrounded"])):
                    content = as_script(schema, rows) if self._engine == "duckdb" else db.serialize()
                    places = tuple(range(len(table.rows))) if about["ordered"] else None
                    return World(content, Gold(task.answer, (Answer(table, places),)))
        raise EnvFailure("sql", f"task {task.id}: no database among {_TRIES} on which its gold query decides.")


def _answered(db: sqlite3.Connection, sql: str) -> Table:
    cursor = db.execute(sql)
    return Table(tuple(d[0] for d in cursor.description), tuple(cursor.fetchmany(_MOST_ROWS + 1)))


def _decides(table: Table, first: Table | None) -> bool:
    cells = [cell for row in table.rows for cell in row]
    few = len(table.rows) <= _MOST_ROWS
    return few and any(cell not in (None, 0, 1) for cell in cells) and (first is None or bool(difference(first, table)))


def _at_an_edge(db: sqlite3.Connection, unrounded: str) -> bool:
    """Whether a number would be rounded up by one who calculates a little otherwise, and down by another."""
    cells: Sequence[Any] = [cell for row in db.execute(unrounded) for cell in row]
    return any(isinstance(c, float) and abs(math.fmod(abs(c) * 100, 1) - 0.5) < 1e-6 for c in cells)
