"""SQL in real sessions of the embedded sandbox: the file comes in, changes stay in, forks part, grading runs there."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

import pytest

from turnwise.errors import ConfigError
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.protocol import Sandbox, Session, SessionSpec, Status
from turnwise.tool_servers.sql.grader import Grader
from turnwise.tool_servers.sql.variants import neighbours_of

GOLD = "SELECT name FROM emp WHERE pay > 15"
COUNT = {"sql": "SELECT count(*) FROM emp"}


def built() -> bytes:
    db = sqlite3.connect(":memory:")
    db.executescript("CREATE TABLE emp(id INTEGER PRIMARY KEY, name TEXT, pay INT); INSERT INTO emp VALUES (1,'a',10),(2,'b',20)")
    content = db.serialize()
    db.close()
    return content


BASE = built()


def play(script: Callable[[Sandbox], Awaitable[None]], profile: str = "sql") -> None:
    async def run() -> None:
        async with EmbeddedSandbox(profiles=(profile,)) as sandbox:
            await script(sandbox)

    asyncio.run(run())


def spec(id: str, **settings: object) -> SessionSpec:
    return SessionSpec(id, "sql", files={"db.sqlite": BASE}, settings={"database": "db.sqlite", **settings})


async def rows(session: Session, seq: int, sql: str) -> list[list[object]]:
    result = await session.call(seq, "query", {"sql": sql})
    assert result.status is Status.OK, result
    return result.value["rows"]


def test_queries_errors_and_the_file() -> None:
    async def script(sandbox: Sandbox) -> None:
        session = await sandbox.open(spec("a"))
        assert await rows(session, 1, GOLD) == [["b"]]
        refused = await session.call(2, "query", {"sql": "SELECT nme FROM emp"})
        assert refused.status is Status.ERROR and refused.err == "No such column: nme. Columns: emp(id, name, pay)."
        assert (await session.call(3, "query", {"sql": "DELETE FROM emp"})).err == "The database is read-only: only SELECT works."
        assert await session.get("db.sqlite") == BASE
        with pytest.raises(ConfigError, match="no file 'nope'"):
            await sandbox.open(SessionSpec("b", "sql", settings={"database": "nope"}))

    play(script)


def test_the_sandbox_ends_what_sqlite_cannot() -> None:
    async def script(sandbox: Sandbox) -> None:
        session = await sandbox.open(spec("a", query_s=60.0))
        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"
        result = await session.call(1, "query", {"sql": endless}, wall_s=0.3)
        assert result.status is Status.TIMEOUT and result.restarted
        assert await rows(session, 2, COUNT["sql"]) == [[2]]

    play(script)


def test_forks_of_a_writable_database_part() -> None:
    async def script(sandbox: Sandbox) -> None:
        session = await sandbox.open(spec("a", mode="writable"))
        await rows(session, 1, "INSERT INTO emp VALUES (3, 'c', 30)")
        twin, other = await session.fork(["b", "c"])
        await rows(twin, 2, "DELETE FROM emp")
        await rows(session, 2, "INSERT INTO emp VALUES (4, 'd', 40)")
        assert [await rows(s, 3, COUNT["sql"]) for s in (session, twin)] == [[[4]], [[0]]]
        assert await rows(other, 2, COUNT["sql"]) == [[3]]
        state = await other.call(3, "state", {"tables": ["emp"]})
        grader = Grader([BASE])
        gold = grader.gold_state(["INSERT INTO emp VALUES (3, 'c', 30)"])
        assert grader.judge_state(gold, 0, state.value).score == 1.0
        state = await twin.call(4, "state", {"tables": ["emp"]})
        assert grader.judge_state(gold, 0, state.value).score == 0.0

    play(script)


def test_grading_in_the_sandbox() -> None:
    async def script(sandbox: Sandbox) -> None:
        grader = Grader([BASE, *neighbours_of(BASE, GOLD, keep=2, tries=6)])
        gold = grader.gold(GOLD)
        assert (await grader.grade_in_sandbox(sandbox, "right", gold, "SELECT name FROM emp WHERE NOT pay <= 15")).score == 1.0
        wrong = await grader.grade_in_sandbox(sandbox, "wrong", gold, "SELECT 'b'")
        assert wrong.score == 0.0 and "database" in wrong.reason
        hack = await grader.grade_in_sandbox(sandbox, "hack", gold, "DELETE FROM emp")
        assert hack.score == 0.0 and "read-only" in hack.reason

    play(script)


def test_duckdb() -> None:
    pytest.importorskip("duckdb")

    async def script(sandbox: Sandbox) -> None:
        settings = {"engine": "duckdb", "script": "CREATE TABLE t AS SELECT range AS a FROM range(5)", "query_s": 1.0}
        session = await sandbox.open(SessionSpec("a", "duckdb", settings=settings))
        assert await rows(session, 1, "SELECT sum(a) FROM t") == [[10]]
        (twin,) = await session.fork(["b"])
        assert await rows(twin, 2, "SELECT max(a) FROM t") == [[4]]
        bomb = await session.call(2, "query", {"sql": "SELECT length(repeat('x', 4000000000))"}, wall_s=1.5)
        assert bomb.status is Status.ERROR and bomb.err == "The function repeat() is not available here: it is not on the list."
        assert await rows(session, 3, "SELECT sum(a) FROM t") == [[10]]

    play(script, "duckdb")
