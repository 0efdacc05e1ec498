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
      2    joins                                          5.5                 13
      3    groups and conditions on them                  5.9                 14
      4    queries inside queries                         7.1                 16
      5    windows and set operations                     8.7                 19
      6    several of these, one on another               8.9                 20
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Split, Transition, TurnEnv, split_of
from turnwise.envs.options import ToolOptions
from turnwise.envs.question_files import DataSplit, FileQuestions, Questions
from turnwise.envs.sql.datasets import FileDatabases, load_questions, notes_of
from turnwise.envs.sql.explain import bare_query, explained, not_a_query
from turnwise.envs.sql.questions import LEVELS, make_task
from turnwise.envs.sql.schema import schema_of
from turnwise.envs.sql.session import SqlSession
from turnwise.envs.sql.worlds import Databases, Engine, GeneratedDatabases
from turnwise.envs.tools import tool
from turnwise.errors import ConfigError, UnknownName
from turnwise.tool_servers.sandbox.protocol import Status
from turnwise.tool_servers.sql.grader import Grader
from turnwise.types import Task

__all__ = ["SQL"]

_JUDGE = Grader([b""])
"""Compares results; it opens nothing."""
_ARGUMENTS = {"list_tables": "", "describe": "table", "query": "sql"}
_ALL_COLUMNS: Mapping[Engine, str] = {
    "sqlite": "SELECT m.name, group_concat(c.name, '|') FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c GROUP BY 1",
    "duckdb": "SELECT table_name, string_agg(column_name, '|') FROM information_schema.columns GROUP BY 1",
}
_TRIES = 10_000


class SQL(FileQuestions):
    """Questions about databases; reward 1 for a query that is right on every database, else 0. See the module for the levels.

    data: a folder of Spider or BIRD, or one of its files, to ask its questions instead.
    data_split: the split of its questions: "auto" (as the file is called), "hash", "train" or "test".
    engine: "sqlite", or "duckdb" (the extra of that name) for generated databases.
    query_s: seconds that one query may take.
    shown_rows: rows of a result that are shown.
    needs: the weakest sandbox that will do: "namespaces", or "landlock", "rlimits" (see `turnwise.tool_servers.sandbox`);
        "process" for none but the guarded connection itself, in this process: several times as quick, for text that you trust.
    """

    metadata = {**TurnEnv.metadata, "inline": False}  # noqa: RUF012  (Gymnasium's)
    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        data: str | None = None,
        data_split: DataSplit = "auto",
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
        if data is not None and engine != "sqlite":
            raise ConfigError(f"SQL: the databases of Spider and BIRD are SQLite files, got engine={engine!r}; leave one out.")
        self.questions = None if data is None else Questions(data, load_questions(data, split=data_split))
        self.level_of_data = options.get("difficulty")
        self.engine: Engine = engine
        self.shown_rows = shown_rows
        self._session = SqlSession(engine=engine, needs=needs, query_s=query_s)
        self._databases: Databases | None = None
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
        start = f"{found}.".lower()
        notes = [f"- {at[len(start) :]}: {note}" for at, note in self._notes().items() if at.lower().startswith(start)]
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
        self._databases = FileDatabases(task) if "data" in task.metadata else GeneratedDatabases(task, self.engine)
        self._session.restart(self._databases.first)
        return super().begin(task)

    @override
    def close(self) -> None:
        self._session.close()
        super().close()

    @override
    def grade(self, answer: str) -> float:
        sql = bare_query(answer)
        self._why = not_a_query(sql) or self._difference(sql)
        return 0.0 if self._why else 1.0

    def _difference(self, sql: str) -> str:
        """Why a query is not the gold query, "" if it is: the first database on which it answers something else."""
        assert self._databases is not None, "begin() comes first"
        for number, world in enumerate(self._databases):
            wrong = _JUDGE.judge(world.gold, [self._session.alone(world, sql)]).reason
            if wrong:
                where = " (on a database with the same tables and other rows)" if number else ""
                return f"{wrong[:1].upper()}{wrong[1:].rstrip('.')}{where}."
        return ""

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
            return _shown(result.value, self.shown_rows)
        if result.status is not Status.ERROR:
            return result.err
        return explained(sql, result.err, self._columns() if "such" in result.err else {}, self.engine)

    def _creates(self) -> Mapping[str, str]:
        """Table -> its CREATE statement."""
        result = self._session.call("schema", {})
        return {name: create for name, create in result.value["rows"]}

    def _columns(self) -> Mapping[str, Iterable[str]]:
        """Table -> its columns, as a hint of what may have been meant."""
        result = self._session.call("query", {"sql": _ALL_COLUMNS[self.engine]})
        return {table: columns.split("|") for table, columns in result.value["rows"]} if result.status is Status.OK else {}

    def _notes(self) -> Mapping[str, str]:
        about = self.task.metadata
        return notes_of(about["data"]["database"]) if "data" in about else schema_of(about["seed"], self.task.difficulty).notes()


def _shown(result: Mapping[str, Any], most: int) -> str:
    """A result as text, one row a line, texts in quotes so that spaces can be seen."""
    rows: list[list[Any]] = result["rows"][:most]
    lines = [" | ".join(result["columns"]), *(" | ".join(map(_cell, row)) for row in rows)]
    if more := result["more_rows"] + len(result["rows"]) - len(rows):
        return "\n".join([*lines, f"({len(rows)} rows shown, {more:,} more left out)"])
    return "\n".join([*lines, f"({len(rows)} row{'s' * (len(rows) != 1)})", *([result["note"]] if result["note"] else [])])


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(next(iter(value.values()))) if isinstance(value, dict) else str(value)
