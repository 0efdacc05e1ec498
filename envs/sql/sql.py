"""turnwise/SQL-v0: questions about a database nobody has seen before, explored with queries and answered with one.

Databases are generated: twelve domains, four tables with keys under varying names, tables and columns that only distract, missing
values, codes, texts typed by hand, dates in two formats; what is meant is in the notes of `describe`. Question and gold query are
made from one structure, so the text says everything: columns, order, ties, rounding, what a missing value means.

The answer is one SELECT. It is run on the explored database and on others with the same tables and other rows, each in a sandbox
session of its own, and must give the gold query's rows on each: duplicates count, the order where one is asked for (rows of equal
sort keys may swap), columns in any order, NULL is only NULL, numbers to nine digits. The database is read-only; what a query does
wrong is an observation with the place and the mend. A fork forks the session.

With `data=PATH` the questions come from your copy of Spider or BIRD instead (`turnwise.envs.sql.datasets`).

Levels, and turns of the expert (tables, columns, parts of the query, the query, the answer; 200 train and 200 test tasks each):

    level  asks for                               expert turns (mean)  turn limit (mean)
      1    filters, sorting, one number                   4.0                 10
      2    joins                                          5.4                 13
      3    groups and conditions on them                  6.0                 14
      4    queries inside queries                         7.1                 16
      5    windows and set operations                     8.6                 19
      6    several of these, one on another               8.7                 19
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Split, Transition, TurnEnv, split_of
from turnwise.envs.options import ToolOptions
from turnwise.envs.question_files import FileQuestions
from turnwise.envs.sql.explain import bare_query, explained, not_a_query
from turnwise.envs.sql.questions import LEVELS, make_task
from turnwise.envs.sql.schema import schema_of
from turnwise.envs.sql.session import SqlSession
from turnwise.envs.sql.worlds import Engine, Worlds
from turnwise.envs.tools import tool
from turnwise.errors import ConfigError, UnknownName
from turnwise.tool_servers.sandbox.protocol import Status
from turnwise.tool_servers.sql.grader import Grader
from turnwise.types import Task

__all__ = ["SQL"]

_JUDGE = Grader([b""])
"""Compares results; it opens nothing."""
_ARGUMENTS = {"list_tables": "", "describe": "table", "query": "sql"}
_TRIES = 10_000


class SQL(FileQuestions):
    """Questions about databases; reward 1 for a query that is right on every database, else 0. See the module for the levels.

    engine: "sqlite", or "duckdb" (the extra of that name).
    query_s: seconds that one query may take.
    shown_rows: rows of a result that are shown.
    needs: the weakest sandbox that will do: "namespaces", or "landlock", "rlimits" (see `turnwise.tool_servers.sandbox`).
    """

    metadata = {**TurnEnv.metadata, "inline": False}  # noqa: RUF012  (Gymnasium's)
    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        engine: Engine = "sqlite",
        query_s: float = 5.0,
        shown_rows: int = 30,
        needs: str = "namespaces",
        **options: Unpack[ToolOptions],
    ) -> None:
        super().__init__(**options)
        if engine not in ("sqlite", "duckdb"):
            raise UnknownName("engine of SQL", str(engine), ("sqlite", "duckdb"))
        if shown_rows < 1 or not query_s > 0:
            raise ConfigError(f"SQL: shown_rows must be at least 1 and query_s above 0, got {shown_rows} and {query_s}.")
        self.engine: Engine = engine
        self._session = SqlSession(engine=engine, needs=needs, query_s=query_s, shown_rows=shown_rows)
        self._worlds: Worlds | None = None
        self.done: frozenset[tuple[str, str]] = frozenset()
        """(tool, argument) of what was called in this episode."""
        self._why = ""

    @tool
    def list_tables(self) -> str:
        """List the tables of the database, with what is known about them."""
        self.done |= {("list_tables", "")}
        notes = self._notes()
        return "\n".join(f"{name}: {notes[name]}" if name in notes else name for name in self._creates())

    @tool
    def describe(self, table: str) -> str:
        """Show a table: its CREATE statement, notes on its columns, and its first three rows."""
        creates = self._creates()
        found = next((name for name in creates if name.lower() == table.strip().strip('"`[]').lower()), None)
        if found is None:
            return explained(table, f"No such table: {table[:100]}. Tables: {', '.join(creates)}.", dict.fromkeys(creates, ()))
        self.done |= {("describe", found)}
        notes = [f"- {at.partition('.')[2]}: {note}" for at, note in self._notes().items() if at.startswith(f"{found}.")]
        quoted = '"' + found.replace('"', '""') + '"'
        parts = [
            creates[found],
            *(["Notes:", *notes] if notes else []),
            "First rows:",
            self._run(f"SELECT * FROM {quoted} LIMIT 3"),
        ]
        return "\n".join(parts)

    @tool
    def query(self, sql: str) -> str:
        """Run one SELECT statement and see its columns and rows; texts stand in quotes."""
        self.done |= {("query", sql)}
        return self._run(bare_query(sql))

    toolset = (list_tables, describe, query)

    @override
    def rules(self) -> str:
        name = "DuckDB" if self.engine == "duckdb" else "SQLite"
        return f"The database is read-only, its dialect is {name}. The answer is one SELECT statement.\n{super().rules()}"

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return make_task(int(rng.integers(2**62)), 0, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """Aims at the split: one database, another question about it until one falls there."""
        if self.questions is not None:
            return super().sample_task(rng, split, difficulty)
        seed = int(rng.integers(2**62))
        tasks = (make_task(seed, number, difficulty) for number in range(_TRIES))
        return next(task for task in tasks if split_of(task.id) == split)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * len(task.metadata["steps"]) + 4

    @override
    def begin(self, task: Task) -> str:
        self.done, self._why = frozenset(), ""
        worlds = Worlds(task, self.engine)
        self._worlds = worlds
        self._session.restart(lambda: worlds[0])
        return super().begin(task)

    @override
    def close(self) -> None:
        self._session.close()
        super().close()

    @override
    def grade(self, answer: str) -> float:
        worlds, sql = self._worlds, bare_query(answer)
        assert worlds is not None, "begin() comes first"
        self._why = not_a_query(sql)
        for number in range(0 if self._why else len(worlds)):
            world = worlds[number]
            verdict = _JUDGE.judge(world.gold, [self._session.alone(world, sql)])
            if verdict.score < 1.0:
                where = " (on a database with the same tables and other rows)" if number else ""
                self._why = f"{verdict.reason[:1].upper()}{verdict.reason[1:].rstrip('.')}{where}."
                break
        return 0.0 if self._why else 1.0

    @override
    def _answer(self, answer: str) -> Transition:
        transition = super()._answer(answer)
        return transition._replace(observation=f"{transition.observation} {self._why}".strip())

    @override
    def expert_action(self) -> str:
        """The first step that has not been done, or the answer."""
        for name, argument in self.task.metadata["steps"]:
            if (name, argument) not in self.done:
                return self.format.call(name, {_ARGUMENTS[name]: argument} if argument else {})
        return self.format.final(self.task.answer)

    def _run(self, sql: str) -> str:
        result = self._session.call("query", {"sql": sql})
        if result.status is Status.OK:
            return _shown(result.value)
        if result.status is not Status.ERROR:
            return result.err
        return explained(sql, result.err, self._columns() if "such" in result.err else {}, self.engine)

    def _creates(self) -> Mapping[str, str]:
        """Table -> its CREATE statement."""
        result = self._session.call("schema", {})
        return {name: create for name, create in result.value["rows"]}

    def _columns(self) -> Mapping[str, Iterable[str]]:
        """Table -> its columns, as a hint of what may have been meant."""
        return {table.name: [c.name for c in table.columns] for table in self._schema().all_tables}

    def _notes(self) -> Mapping[str, str]:
        return self._schema().notes()

    def _schema(self) -> Any:
        return schema_of(self.task.metadata["seed"], self.task.difficulty)


def _shown(result: Mapping[str, Any]) -> str:
    """A result as text, one row a line, texts in quotes so that spaces can be seen."""
    rows: list[list[Any]] = result["rows"]
    lines = [" | ".join(result["columns"]), *(" | ".join(map(_cell, row)) for row in rows)]
    count = f"({len(rows)} row{'s' * (len(rows) != 1)}{' shown' if result['more_rows'] else ''}. {result['note']}".rstrip() + ")"
    return "\n".join([*lines, count])


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(next(iter(value.values()))) if isinstance(value, dict) else str(value)
