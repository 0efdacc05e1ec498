"""SQL in real sandbox sessions: what the tools say, forks, failures, limits, hostile queries, and public graders' holes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from turnwise.envs.core import split_of
from turnwise.envs.sql.schema import schema_of
from turnwise.envs.sql.sql import SQL
from turnwise.errors import ConfigError, EnvFailure, UnknownName


@pytest.fixture(scope="module")
def opened() -> Iterator[SQL]:
    made = SQL(difficulty=2, max_turns=1_000, query_s=1.0)
    yield made
    made.close()


@pytest.fixture
def env(opened: SQL) -> SQL:
    opened.reset(seed=0)
    return opened


def ask(env: SQL, sql: str) -> str:
    return env.step(env.format.call("query", {"sql": sql}))[0]


def event_table(env: SQL) -> str:
    return schema_of(env.task.metadata["seed"], env.task.difficulty).tables["event"].name


def answered(env: SQL, sql: str) -> tuple[str, float]:
    observation, reward, terminated, truncated, info = env.step(env.format.final(sql))
    assert terminated and not truncated and info["outcome"] == reward and info["reward_terms"] == {"answer": reward}
    return observation, reward


@pytest.mark.parametrize("level", SQL.levels)
def test_the_expert_looks_around_and_answers(level: int) -> None:
    env = SQL(difficulty=level)
    env.reset(seed=level, options={"split": "test"})
    assert split_of(env.task.id) == "test" and env.task.answer not in env.task.prompt
    over, reward = False, 0.0
    while not over:
        observation, reward, over, truncated, info = env.step(env.expert_action())
        assert not truncated and info["valid_action"], observation
    assert reward == 1.0 and env.turn == len(env.task.metadata["steps"]) + 1
    env.close()


def test_what_the_tools_say(env: SQL) -> None:
    table = schema_of(env.task.metadata["seed"], 2).tables["event"]
    listed = env.step(env.format.call("list_tables", {}))[0]
    assert f"{table.name}: one row for each {table.singular}" in listed.splitlines()
    described = env.step(env.format.call("describe", {"table": f" {table.name.upper()} "}))[0]
    assert described.startswith(f"CREATE TABLE {table.name}") and described.endswith("(3 rows)")
    date = next(column for column in table.columns if column.kind == "date")
    assert f"- {date.name}: {date.phrase}; YYYY-MM-DD" in described.splitlines()
    assert (
        ask(env, "SELECT ' it''s ' AS a, NULL AS b, 1.50 AS c, x'00ff' AS d;")
        == "a | b | c | d\n' it''s ' | NULL | 1.5 | 00ff\n(1 row)"
    )
    assert ask(env, "SELECT 1 WHERE 0") == "1\n(0 rows)"
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1234) SELECT i FROM n"
    assert ask(env, many).splitlines()[-2:] == ["30", "(30 rows shown, 1,204 more left out)"]
    wrong = env.step(env.format.call("describe", {"table": table.name + "x"}))[0]
    assert wrong.startswith(f"No such table: {table.name}x. Tables: ") and wrong.endswith(f"Did you mean {table.name}?")


def test_errors_help(env: SQL) -> None:
    table = schema_of(env.task.metadata["seed"], 2).tables["event"]
    date = next(column for column in table.columns if column.kind == "date").name
    assert f"Did you mean {table.name}?" in ask(env, f"SELECT * FROM {table.name[:-1]}")
    assert f"Did you mean {table.name}.{date}?" in ask(env, f"SELECT {date}x FROM {table.name}")
    assert "(Line 2, column 1.)" in ask(env, f"SELECT *\nFORM {table.name}")
    assert f"SELECT * FROM {table.name} LIMIT 3" in ask(env, f"SELECT TOP 3 * FROM {table.name}")
    assert "strftime('%Y', x)" in ask(env, f"SELECT year({date}) FROM {table.name}")


HOSTILE = {
    "INSERT INTO {} DEFAULT VALUES": "read-only",
    "DELETE FROM {}": "read-only",
    "UPDATE {} SET rowid = 1": "read-only",
    "DROP TABLE {}": "read-only",
    "CREATE TABLE mine(a)": "read-only",
    "CREATE TEMP VIEW {} AS SELECT 1": "read-only",
    "ATTACH '/tmp/other.sqlite' AS other": "read-only",
    "VACUUM INTO '/tmp/stolen.sqlite'": "",
    "BEGIN": "read-only",
    "PRAGMA writable_schema = ON": "not available",
    "PRAGMA query_only = OFF": "not available",
    "SELECT load_extension('/tmp/x.so')": "not available",
    "SELECT zeroblob(900000000)": "not available",
    "SELECT printf('%.*c', 900000000, 'x')": "widths",
    "SELECT random()": "repeatable",
    "SELECT 1; DELETE FROM {}": "one statement",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c": "stopped after 1 s",
    "": "empty",
    "-- nothing": "empty",
    "SELECT 1 WHERE '\x00' = 'a": "",
    "SELECT '\ud800'": "Unicode",
}


def test_hostile_queries_are_observations_and_change_nothing(env: SQL) -> None:
    table = event_table(env)
    before = ask(env, f"SELECT count(*), total(rowid) FROM {table}")
    for sql, said in HOSTILE.items():
        observation, reward, terminated, truncated, _ = env.step(env.format.call("query", {"sql": sql.format(table)}))
        assert said in observation and "(1 row)" not in observation and (reward, terminated, truncated) == (0.0, False, False), (
            sql
        )
    deep = ask(env, "SELECT " + "(" * 3_000 + "1" + ")" * 3_000)
    assert deep and "(1 row)" not in deep
    assert "longer than" in env.step("<answer>" + "SELECT 1 " * 200_000 + "</answer>")[0]
    assert ask(env, f"SELECT count(*), total(rowid) FROM {table}") == before


def test_right_in_other_words(env: SQL) -> None:
    gold = env.task.answer
    width = len(env.task.prompt.split("\nColumns: ")[1].split(".\nOrder")[0].split("; "))
    names = ", ".join(f"c{n}" for n in range(width))
    assert "any." in env.task.prompt or "ORDER BY" in gold
    said = [f"```sql\n{gold};\n```", f"WITH w({names}) AS ({gold}) SELECT * FROM w", f"-- mine\nSELECT * FROM ({gold}) AS mine"]
    for sql in said:
        env.reset(seed=0)
        assert answered(env, sql) == ("Correct.", 1.0), sql


def test_public_graders_holes_are_closed(env: SQL) -> None:
    """What scored with BIRD's, SkyRL's or the test suite's comparison: none of it does here, and nothing stays behind."""
    gold, table = env.task.answer, event_table(env)
    columns = len(env.task.prompt.split("\nColumns: ")[1].split(".\nOrder")[0].split("; "))
    hacks = [
        "SELECT 1",
        f"SELECT * FROM {table}",
        f"SELECT {', '.join(['NULL'] * columns)} WHERE 0",
        f"SELECT * FROM ({gold}) UNION ALL SELECT * FROM ({gold})",  # set() drops what is twice
        f"SELECT *, 1 FROM ({gold})",  # more columns than asked for
        f"SELECT * FROM ({gold}) LIMIT 0",
        f"DELETE FROM {table}",
        f"DELETE FROM {table}; {gold}",
        f"{gold}; SELECT 1",
        f"CREATE TEMP TABLE {table} AS SELECT 1",
        f"ATTACH ':memory:' AS {table}",
        f"EXPLAIN {gold}",
        f"/* {gold} */ SELECT 1",
        f"-- {gold}",
        f"'{gold}'",
        "True",
        json.dumps([[1]]),
    ]
    for sql in hacks:
        env.reset(seed=0)
        observation, reward = answered(env, sql)
        assert reward == 0.0 and observation.startswith("That is not the right answer. "), sql
    env.reset(seed=0)
    assert answered(env, gold)[1] == 1.0


def test_what_was_seen_is_no_answer(env: SQL) -> None:
    """The rows of the explored database, written down, are wrong on the others."""
    assert env._databases is not None
    seen = env._databases.first().gold.answers[0].table
    cells = ", ".join(
        f"({', '.join('NULL' if c is None else repr(c) if not isinstance(c, str) else chr(39) + c + chr(39) for c in row)})"
        for row in seen.rows
    )
    observation, reward = answered(env, f"VALUES {cells}")
    assert reward == 0.0 and "(on a database with the same tables and other rows)" in observation


def test_no_session_and_no_database_before_the_first_query() -> None:
    env = SQL()
    env.reset(seed=0)
    assert env._session._session is None and env._databases is not None and env._databases._made == []
    env.step("<answer>7</answer>")
    assert env._session._session is None and env._databases._made == []
    env.close()
    env.close()


def test_forks_go_on_alone(env: SQL) -> None:
    before = env.step(env.expert_action())[0]
    twin = env.fork()
    assert twin._session._session is not None and twin._session._session.id != env._session._session.id  # type: ignore[union-attr]
    late = twin.fork()
    twin.close()
    script = [
        env.format.call("list_tables", {}),
        env.format.call("query", {"sql": "SELECT 1"}),
        env.format.final(env.task.answer),
    ]
    steps = [[one.step(action) for action in script] for one in (env, late)]
    assert steps[0] == steps[1] and steps[0][0][0] == before and steps[0][2][1] == 1.0
    late.close()


def test_a_broken_sandbox_is_a_failure_and_no_reward(env: SQL) -> None:
    assert "(1 row)" in ask(env, "SELECT 1")
    session = env._session._session
    assert session is not None
    session.close()  # as a server that goes away does
    with pytest.raises(EnvFailure):
        ask(env, "SELECT 1")
    env.reset(seed=0)
    assert "(1 row)" in ask(env, "SELECT 1")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"engine": "duckbd"}, UnknownName, "Did you mean 'duckdb'"),
        ({"needs": "namespace"}, UnknownName, "Did you mean 'namespaces'"),
        ({"query_s": 0.0}, ConfigError, "query_s above 0"),
        ({"shown_rows": 0}, ConfigError, "shown_rows must be at least 1"),
        ({"difficulty": 7}, ConfigError, "1 to 6"),
        ({"data": "nowhere"}, ConfigError, "nowhere"),
        ({"data": ".", "engine": "duckdb"}, ConfigError, "are SQLite files"),
    ],
)
def test_wrong_options(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        SQL(**options)


def test_duckdb() -> None:
    pytest.importorskip("duckdb")
    env = SQL(engine="duckdb", difficulty=5, max_turns=100)
    observation, _ = env.reset(seed=1)
    assert "its dialect is DuckDB" in observation
    over, reward = False, 0.0
    while not over:
        observation, reward, over, _, _ = env.step(env.expert_action())
    assert reward == 1.0, observation
    env.reset(seed=1)
    table = event_table(env)
    for sql in ("SELECT * FROM read_csv('/etc/passwd')", f"DELETE FROM {table}", "COPY settings TO '/tmp/x'", "ATTACH 'x' AS y"):
        assert "rows)" not in ask(env, sql)
    assert answered(env, f"SELECT * FROM {table}")[1] == 0.0
    env.close()


def test_in_this_process_all_is_said_alike(env: SQL) -> None:
    """needs="process" leaves out the sandbox and nothing else."""
    quick = SQL(difficulty=2, max_turns=1_000, query_s=1.0, needs="process")
    first = env.reset(seed=3)
    assert quick.reset(seed=3) == first
    table = event_table(env)
    script = [env.format.call("list_tables", {}), env.format.call("describe", {"table": table})]
    script += [env.format.call("query", {"sql": sql.format(table)}) for sql in HOSTILE if "RECURSIVE" not in sql]
    for action in script:
        assert quick.step(action) == env.step(action), action
    twin = quick.fork()
    last = env.format.final(env.task.answer)
    assert twin.step(last) == quick.step(last) == env.step(last) and quick._session._session is not None
    twin.close()
    quick.close()
    with pytest.raises(ConfigError, match="only SQLite"):
        SQL(needs="process", engine="duckdb")
