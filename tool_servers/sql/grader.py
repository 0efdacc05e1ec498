"""Grades SQL by what it answers, on several databases of one schema, so that neither luck nor tampering earns a reward.

The gold query runs beforehand, alone, on connections of its own; a prediction runs alone, on its own copy, behind the walls of
`worker.Sqlite`. Score 1 needs the same rows on every database: as a multiset, in the gold's order where its outermost SELECT has
an ORDER BY (rows of equal sort keys may swap), columns in any order (`compare`). A gold that could not tell a right answer from a
constant, or whose own answer is not determined (ties at its LIMIT), is refused when it is made: `Grader.gold`.

Where the prediction runs
    `grade`             in this process: quick, for text you trust not to attack SQLite itself, and for tests
    `grade_in_sandbox`  in sessions of a sandbox: for what a policy in training writes
    `judge`             only compares results that you got some other way (DuckDB, a remote server)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Sandbox, SessionSpec, Status
from turnwise.tool_servers.sql.compare import TOLERANCE, Table, difference
from turnwise.tool_servers.sql.order import Plan, plan_of
from turnwise.tool_servers.sql.worker import Caps, QueryError, Sqlite

__all__ = ["Answer", "Gold", "GoldState", "Grader", "Verdict"]

CAPS = Caps(max_rows=100_000, max_kb=65_536, query_s=5.0, count_rows=0)
"""Of one query while grading. A gold whose result is larger is refused."""
Result = Mapping[str, Any] | str
"""What `query` answered, or the message of its error."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """1.0 or 0.0, and why not."""

    score: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gold query answers on one database."""

    table: Table
    places: tuple[int, ...] | None = None
    """Equal numbers: rows that may swap; None: all may."""
    doubt: str = ""
    """Why this answer does not decide, "" if it does."""


@dataclass(frozen=True, slots=True)
class Gold:
    """A gold query and its answers, one per database of the grader; those in doubt are not compared."""

    sql: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class GoldState:
    """The tables after the gold statements, per database."""

    states: tuple[Mapping[str, Table], ...]


class Grader:
    """For one database and its neighbours (`variants.neighbours_of`); they must share their schema."""

    def __init__(self, databases: Sequence[bytes | Path], *, caps: Caps = CAPS, tolerance: float = TOLERANCE) -> None:
        """`databases`: SQLite files or their bytes, the original first. Bytes are copied for each run, files opened read-only."""
        if not databases:
            raise ConfigError("sql grader: expected at least one database, got none.")
        self.databases, self.caps, self.tolerance = tuple(databases), caps, tolerance

    # --- queries --------------------------------------------------------------------------------------------------

    def gold(self, sql: str, *, ordered: bool | None = None, strict: bool = True) -> Gold:
        """The answers of a gold query; `ordered` overrides what its syntax says.

        ConfigError if it fails, or, unless `strict` is off, if its answer is not determined or a constant would do as well.
        """
        plan = plan_of(sql)
        if ordered is not None and ordered != plan.ordered:
            plan = Plan(ordered, limited=False)
        answers = tuple(self._answer(database, sql, plan) for database in self.databases)
        if strict and answers[0].doubt:
            raise ConfigError(f"gold query: {answers[0].doubt}: {sql[:200]}")
        if strict and not self._varied([a.table for a in answers if not a.doubt]):
            raise ConfigError(
                f"gold query: the answer is the same on all {len(answers)} databases, so a constant would pass; "
                f"add neighbours whose answers differ (variants.neighbours_of): {sql[:200]}"
            )
        return Gold(sql, answers)

    def grade(self, gold: Gold, sql: str) -> Verdict:
        """Run a prediction here, database by database, until one differs."""
        for index, database in enumerate(self.databases):
            if not gold.answers[index].doubt and (wrong := self._wrong(gold, index, self._run(database, sql))):
                return Verdict(0.0, wrong)
        return Verdict(1.0)

    async def grade_in_sandbox(self, sandbox: Sandbox, session_id: str, gold: Gold, sql: str) -> Verdict:
        """As `grade`, each database in a fresh session `<session_id>.<number>`. SandboxFailure is never a score."""
        settings = {"database": "grading.sqlite", "max_rows": self.caps.max_rows, "max_kb": self.caps.max_kb}
        settings |= {"query_s": self.caps.query_s, "count_rows": 0}
        limits = Limits(wall_s=2 * self.caps.query_s + 5, value_kb=2 * self.caps.max_kb)
        for index, database in enumerate(self.databases):
            if gold.answers[index].doubt:
                continue
            content = database if isinstance(database, bytes) else database.read_bytes()
            session = await sandbox.open(
                SessionSpec(f"{session_id}.{index}", "sql", limits, {"grading.sqlite": content}, settings=settings)
            )
            try:
                result = await session.call(1, "query", {"sql": sql})
            finally:
                await session.close()
            answer = result.value if result.status is Status.OK else f"{result.status}: {result.err[-300:]}"
            if wrong := self._wrong(gold, index, answer):
                return Verdict(0.0, wrong)
        return Verdict(1.0)

    def judge(self, gold: Gold, results: Sequence[Result]) -> Verdict:
        """Compare results of `query`, one per database; a str is the message of an error."""
        if len(results) != len(self.databases):
            raise ConfigError(f"sql grader: expected {len(self.databases)} results, one per database, got {len(results)}.")
        for index, result in enumerate(results):
            if not gold.answers[index].doubt and (wrong := self._wrong(gold, index, result)):
                return Verdict(0.0, wrong)
        return Verdict(1.0)

    # --- changes --------------------------------------------------------------------------------------------------

    def gold_state(self, statements: Sequence[str], tables: Sequence[str] | None = None) -> GoldState:
        """The tables (default: all) after the gold statements. ConfigError if one fails or nothing changes."""
        before, after = [], []
        for database in self.databases:
            before.append(self._state(database, (), tables))
            after.append(self._state(database, statements, tables))
            if isinstance(after[-1], str):
                raise ConfigError(f"gold statements: {after[-1]}")
        if before == after:
            raise ConfigError("gold statements: expected a change in at least one table, got none: doing nothing would pass.")
        return GoldState(tuple(after))

    def grade_state(self, gold: GoldState, statements: Sequence[str]) -> Verdict:
        """Run statements here, each database on a copy; refused ones change nothing, the state at the end counts."""
        for index, database in enumerate(self.databases):
            wanted = gold.states[index]
            found = self._state(database, statements, list(wanted), forgiving=True)
            if wrong := found if isinstance(found, str) else self._other(wanted, found):
                return Verdict(0.0, wrong)
        return Verdict(1.0)

    def judge_state(self, gold: GoldState, index: int, state: Mapping[str, Any] | str) -> Verdict:
        """Compare what the tool `state` of a session on database `index` answered; a str is the message of its error."""
        if isinstance(state, str):
            return Verdict(0.0, state)
        wrong = self._other(gold.states[index], {name: Table.of(result) for name, result in state.items()})
        return Verdict(0.0 if wrong else 1.0, wrong)

    # --- below ----------------------------------------------------------------------------------------------------

    def _run(self, database: bytes | Path, sql: str) -> Result:
        with closing(Sqlite(database, caps=self.caps)) as connection:
            try:
                return connection.run(sql)
            except QueryError as error:
                return str(error)

    def _table(self, database: bytes | Path, sql: str) -> Table:
        result = self._run(database, sql)
        if isinstance(result, str) or not result["complete"]:
            why = result if isinstance(result, str) else f"its result is larger than {self.caps.max_rows:,} rows or max_kb"
            raise ConfigError(f"gold query: {why}: {sql[:200]}")
        return Table.of(result)

    def _answer(self, database: bytes | Path, sql: str, plan: Plan) -> Answer:
        table = self._table(database, sql)
        strictly = tuple(range(len(table.rows))) if plan.ordered else None
        if not plan.unlimited or not (plan.ordered or plan.limited):
            return Answer(table, strictly)
        try:
            whole = self._table(database, plan.unlimited)
        except ConfigError:  # the query that tells ties is ours, and may not compile where the gold does
            return Answer(table, strictly)
        keys = [tuple(row[k] for k in plan.keys) for row in whole.rows]
        groups: list[int] = []
        for i, key in enumerate(keys):
            groups.append(groups[-1] + (key != keys[i - 1]) if i else 0)
        start, end, width = plan.offset, plan.offset + len(table.rows), len(table.columns)
        if any(0 < cut < len(keys) and self._torn(whole, groups, cut, width) for cut in (start, end)):
            why = (
                "rows of equal sort keys are cut apart by its LIMIT" if plan.ordered else "LIMIT without ORDER BY keeps any rows"
            )
            return Answer(table, strictly, f"its answer is not determined, {why}")
        if Counter(row[:width] for row in whole.rows[start:end]) != Counter(table.rows):
            return Answer(table, strictly)
        return Answer(table, tuple(groups[start:end]) if plan.ordered else None)

    def _torn(self, whole: Table, groups: Sequence[int], cut: int, width: int) -> bool:
        """Whether a cut parts rows that may swap and are not the same."""
        if groups[cut - 1] != groups[cut]:
            return False
        return len({row[:width] for row, group in zip(whole.rows, groups, strict=True) if group == groups[cut]}) > 1

    def _varied(self, tables: Sequence[Table]) -> bool:
        return any(difference(tables[0], other, permute=False, tolerance=self.tolerance) for other in tables[1:])

    def _wrong(self, gold: Gold, index: int, result: Any) -> str:
        """Why a result is not the gold answer; "" if it is."""
        where = f" (database {index})" if index else ""
        if isinstance(result, str):
            return f"the query failed{where}: {result}"
        try:
            complete, table = result["complete"], Table.of(result)
        except (TypeError, KeyError, ValueError) as error:
            raise SandboxFailure("sql", f"expected a result of the tool query, got {str(result)[:100]}") from error
        if not complete:
            return f"the result is too large{where}"
        answer = gold.answers[index]
        wrong = difference(answer.table, table, answer.places, tolerance=self.tolerance)
        return f"{wrong}{where}" if wrong else ""

    def _state(
        self, database: bytes | Path, statements: Sequence[str], tables: Sequence[str] | None, *, forgiving: bool = False
    ) -> Mapping[str, Table] | str:
        with closing(Sqlite(database, writable=True, caps=self.caps)) as connection:
            try:
                for statement in statements:
                    try:
                        connection.run(statement)
                    except QueryError:
                        if not forgiving:
                            raise
                names = [n for n, sql in connection.schema() if "TABLE" in sql[:20].upper()] if tables is None else tables
                return {name: Table.of(result) for name, result in connection.state(names).items()}
            except QueryError as error:
                return str(error)

    def _other(self, wanted: Mapping[str, Table], found: Mapping[str, Table]) -> str:
        for name, table in wanted.items():
            if name not in found or found[name].columns != table.columns:
                return f"table {name} is gone or has other columns"
            if wrong := difference(table, found[name], permute=False, tolerance=self.tolerance):
                return f"table {name}: {wrong}"
        return ""
