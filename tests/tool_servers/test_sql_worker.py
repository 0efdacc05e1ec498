"""The SQL worker, alone in a process as a session runs it: what works, what is refused, what is stopped."""

import json
import os
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turnwise.tool_servers.sandbox.profiles import PROFILES
from turnwise.tool_servers.sql.worker import Caps, QueryError, Sqlite

SCRIPT = """CREATE TABLE emp(id INTEGER PRIMARY KEY, name TEXT, pay REAL);
INSERT INTO emp VALUES (1,'ann',10.5),(2,'bob',NULL),(3,'o''x',9e999);
CREATE VIEW shown AS SELECT printf('%.1f', pay) AS pay, trim(name, 'a') AS name FROM emp;"""
DRIVER = """
import importlib.util, json, os, sys, time
spec = importlib.util.spec_from_file_location("worker", sys.argv[1])
module = importlib.util.module_from_spec(spec); sys.modules["worker"] = module; spec.loader.exec_module(module)
worker = module.Worker(json.loads(sys.argv[2]), 0)
print(json.dumps({"ready": sorted(m for m in sys.modules if m.startswith("turnwise"))}), flush=True)
for line in sys.stdin:
    tool, arguments, fork = json.loads(line)
    if fork and os.fork():
        os.wait(); continue
    try: answer = {"value": worker.handle(tool, arguments)}
    except Exception as error: answer = {"error": type(error).__name__, "message": str(error)}
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))  # getrusage would begin with our parent's peak
    answer["peak_mb"] = int(status["VmHWM"].split()[0]) // 1024
    end = time.monotonic() + 5
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end: time.sleep(0.001)  # joined, but not yet gone
    answer["threads"] = len(os.listdir("/proc/self/task"))
    print(json.dumps(answer, allow_nan=False), flush=True)
    if fork: os._exit(0)
"""


class Process:
    """A worker in a process of its own."""

    def __init__(self, folder: Path, *, profile: str = "sql", bare: bool = True, **settings: Any) -> None:
        flags = ["-I", "-S"] if bare else ["-I"]
        self.process = subprocess.Popen(
            [sys.executable, *flags, "-c", DRIVER, str(PROFILES[profile].worker), json.dumps(settings)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._read()

    def handle(self, tool: str, fork: bool = False, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([tool, arguments, fork]) + "\n")
        self.process.stdin.flush()
        return self._read()

    def rows(self, sql: str) -> list[Any]:
        return self.handle("query", sql=sql)["value"]["rows"]

    def refusal(self, sql: str) -> str:
        answer = self.handle("query", sql=sql)
        assert answer["error"] == "QueryError", answer
        return answer["message"]

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], 240)[0], "no answer in 240 s"
        return json.loads(self.process.stdout.readline() or '{"error": "died"}')


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("reader"), script=SCRIPT, query_s=1.0, memory_mb=64, max_rows=3)
    yield process
    process.close()


def database(path: Path, script: str = SCRIPT, journal: str = "delete") -> Path:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA journal_mode = {journal}")
    db.executescript(script)
    db.close()
    return path


def test_stands_alone(reader: Process) -> None:
    assert reader.ready == {"ready": []}


def test_values_are_exact_json(reader: Process) -> None:
    answer = reader.handle("query", sql="SELECT 9223372036854775807, -9e999, 1.5, NULL, x'00ff', 'ü', ''")["value"]
    assert answer["rows"] == [[9223372036854775807, {"float": "-inf"}, 1.5, None, {"blob": "00ff"}, "ü", ""]]
    assert answer["complete"] and answer["more_rows"] == 0 and answer["note"] == ""
    assert reader.rows("SELECT * FROM emp") == [[1, "ann", 10.5], [2, "bob", None], [3, "o'x", {"float": "inf"}]]
    assert reader.rows("SELECT * FROM shown") == [["10.5", "nn"], ["0.0", "bob"], ["Inf", "o'x"]]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT count(*) FROM emp;", [[3]]),
        ("-- how many?\nSELECT count(*) FROM emp -- all", [[3]]),
        ("SELECT value FROM json_each('[1, 2]')", [[1], [2]]),
        ("SELECT name FROM pragma_table_info('emp')", [["id"], ["name"], ["pay"]]),
        ("SELECT format('%5.2f|%d|%s', 1.25, 3, 'a'), trim('xaxx', 'x'), trim(1211, 1), printf(NULL)", None),
        ("SELECT row_number() OVER (ORDER BY id DESC) FROM emp", [[1], [2], [3]]),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<3) SELECT sum(x) FROM c", [[6]]),
        ("VALUES (1, 2)", [[1, 2]]),
    ],
)
def test_what_models_write_works(reader: Process, sql: str, rows: list[Any] | None) -> None:
    answer = reader.handle("query", sql=sql)
    if rows is None:  # all but the format that is no text, which is refused
        assert "printf()" in answer["message"]
        rows, sql = [[" 1.25|3|a", "a", "2"]], sql.replace(", printf(NULL)", "")
        answer = reader.handle("query", sql=sql)
    assert answer["value"]["rows"] == rows


REFUSED = {
    "INSERT INTO emp VALUES (9,'x',1)": "read-only",
    "DELETE FROM emp": "read-only",
    "DROP TABLE emp": "read-only",
    "UPDATE emp SET pay = 0": "read-only",
    "ATTACH 'made.db' AS x": "read-only",
    "VACUUM INTO 'made2.db'": "read-only",
    "VACUUM": "read-only",
    "CREATE TEMP TABLE emp(a)": "read-only",
    "CREATE TEMP VIEW emp AS SELECT 1": "read-only",
    "CREATE VIRTUAL TABLE f USING fts5(a)": "read-only",
    "BEGIN": "read-only",
    "ANALYZE": "read-only",
    "UPDATE sqlite_master SET sql = ''": "may not be modified",
    "PRAGMA writable_schema = 1": "PRAGMA writable_schema is not available",
    "PRAGMA journal_mode = WAL": "not available",
    "PRAGMA query_only = 0": "not available",
    "PRAGMA hard_heap_limit = 0": "not available",
    "PRAGMA database_list": "not available",
    "SELECT * FROM pragma_database_list": "not available",
    "SELECT load_extension('x')": "load_extension() is not available",
    "SELECT length(zeroblob(900000000))": "zeroblob() is not available",
    "SELECT hex(randomblob(900000000))": "repeatable",
    "SELECT printf('%.*c', 900000000, 'x')": "printf()",
    "SELECT printf('%.900000000c', 'x')": "printf()",
    "SELECT format('%900000000d', 1)": "printf()",
    "SELECT json_patch('{}', '{}')": "json_patch() is not available",
    "SELECT random()": "repeatable",
    "SELECT * FROM sqlite_stmt": "cannot be read",
    "SELECT * FROM dbstat": "cannot be read",
    "SELECT 1; SELECT 2": "one statement",
    "SELECT 1; DROP TABLE emp": "one statement",
    "SELECT 'a\0b'": "null character",
    "SELECT '\ud800'": "Unicode",
    "SELECT " + "(" * 900 + "1" + ")" * 900: "overflow",
    "SELECT " + "1+" * 600 + "1": "too large",
    "SELECT 1 " + "UNION SELECT 1 " * 200: "Too many terms",
    "SELECT '" + "x" * 200_000 + "'": "too large",
    "": "empty",
    " ;; ": "empty",
    "-- only a comment": "empty",
    "/* and one /* more */ ; --": "empty",
    "/* never closed": "empty",
    "SELECT * FROM nope": "No such table: nope. Tables: emp, shown.",
    "SELECT nme FROM emp": "No such column: nme. Columns: emp(id, name, pay), shown(pay, name).",
    "SELEC 1": "syntax error",
    "SELECT ?": "bindings",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_refused_with_a_reason(reader: Process, sql: str) -> None:
    assert REFUSED[sql] in reader.refusal(sql)
    assert reader.rows("SELECT count(*) FROM emp") == [[3]]


BIG = "WITH RECURSIVE d(s, n) AS (SELECT 'a', 0 UNION ALL SELECT s||s, n+1 FROM d WHERE n < 19) SELECT {} FROM d WHERE n = 19"
STOPPED = {
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c": "stopped after 1 s",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT x+1 FROM c) SELECT x||hex(x)||hex(x)||hex(x) FROM c ORDER BY 1": "",
    "SELECT count(*) FROM " + ", ".join(f"(VALUES (1),(2),(3),(4),(5),(6),(7),(8)) AS t{i}" for i in range(30)): "stopped",
    BIG.format("length(trim(s, replace(s, 'a', 'b') || 'a'))"): "too big|trim()",
    BIG.format("length(trim(s, replace(substr(s, 1, 400000), 'a', 'b') || 'a'))"): "trim()",
    BIG.format("length(s||s||s||s)"): "1 MiB",
    BIG.format("length(replace(s, 'a', 'aaaaaaaa'))"): "1 MiB",
    BIG.replace("19", "25").format("length(s)"): "1 MiB",
}


@pytest.mark.parametrize("sql", STOPPED)
def test_stopped_within_its_limits(reader: Process, sql: str) -> None:
    """One opcode of SQLite cannot be stopped; so the worst that is left of them must be short."""
    answer = reader.handle("query", sql=sql)
    assert answer["error"] == "QueryError" and any(part in answer["message"] for part in STOPPED[sql].split("|"))
    assert answer["peak_mb"] < 64 + 100


def test_rows_and_bytes_are_capped_and_counted(reader: Process) -> None:
    count = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT {}) SELECT x FROM c"
    answer = reader.handle("query", sql=count.format(4_500))["value"]
    assert answer["rows"] == [[1], [2], [3]] and answer["more_rows"] == 4_497
    assert answer["note"] == "4,497 more rows not shown." and not answer["complete"]
    assert reader.handle("query", sql=count.format(4))["value"]["note"] == "1 more row not shown."
    assert reader.handle("query", sql=count.format(3))["value"]["complete"]
    assert reader.handle("query", sql=count.format(300_000))["value"]["note"] == "more than 100,000 more rows not shown."
    long = reader.handle("query", sql=BIG.format("s, 7"))["value"]
    assert not long["complete"] and long["rows"][0][0].endswith("... (524,288 characters)") and long["rows"][0][1] == 7
    assert len(json.dumps(long)) < 80_000


def test_no_file_was_made(reader: Process) -> None:
    assert os.listdir(f"/proc/{reader.process.pid}/cwd") == []


def test_tool_errors_and_schema(reader: Process) -> None:
    assert "no tool 'drop'" in reader.handle("drop")["message"]
    assert "must be text" in reader.handle("query", sql=7)["message"]
    schema = reader.handle("schema")["value"]
    assert [name for name, _ in schema["rows"]] == ["emp", "shown"] and "PRIMARY KEY" in schema["rows"][0][1]


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("mode", ["read-only", "writable"])
def test_a_file_is_read_and_stays_as_it_is(tmp_path: Path, journal: str, mode: str) -> None:
    path = database(tmp_path / "a b?c.sqlite", journal=journal)
    before = path.read_bytes()
    process = Process(tmp_path, database=path.name, mode=mode)
    try:
        assert process.rows("SELECT count(*) FROM emp") == [[3]]
        if mode == "writable":
            assert process.handle("query", sql="DELETE FROM emp WHERE id = 1")["value"]["changed"] == 1
            assert process.rows("SELECT count(*) FROM emp") == [[2]]
    finally:
        process.close()
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_writable_changes_stay_inside_and_forks_part(tmp_path: Path) -> None:
    process = Process(tmp_path, script=SCRIPT, mode="writable")
    try:
        for sql in (
            "ALTER TABLE emp ADD COLUMN city TEXT",
            "ALTER TABLE emp RENAME COLUMN city TO town",
            "CREATE TABLE log AS SELECT name FROM emp",
            "CREATE INDEX i ON emp(pay)",
            "CREATE TRIGGER t AFTER DELETE ON emp BEGIN INSERT INTO log VALUES (old.name); END",
            "DELETE FROM emp WHERE id = 1",
            "DROP INDEX i",
            "BEGIN",
            "DELETE FROM emp",
        ):
            assert "value" in process.handle("query", sql=sql), sql
        assert "transaction" in process.handle("state", tables=["emp"])["message"]
        process.handle("query", sql="ROLLBACK")
        for sql in (
            "ATTACH 'x.db' AS x",
            "VACUUM INTO 'y.db'",
            "CREATE TEMP TABLE emp(a)",
            "CREATE VIRTUAL TABLE f USING fts5(a)",
        ):
            assert "Only SELECT and changes" in process.refusal(sql)
        assert "not available" in process.refusal("PRAGMA writable_schema = 1")
        state = process.handle("state", tables=["emp", "log"])["value"]
        assert [row[0] for row in state["emp"]["rows"]] == [2, 3] and len(state["log"]["rows"]) == 4
        assert process.handle("query", fork=True, sql="DELETE FROM emp")["value"]["changed"] == 2
        assert process.rows("SELECT count(*) FROM emp") == [[2]]
        process.handle("query", sql="DROP TABLE log")
        process.handle("query", sql="CREATE VIEW log AS SELECT 1")
        assert "No such table: log" in process.handle("state", tables=["log"])["message"]
        assert os.listdir(tmp_path) == []
    finally:
        process.close()


def test_memory_of_a_writable_copy_is_bounded(tmp_path: Path) -> None:
    process = Process(tmp_path, script="CREATE TABLE t(s)", mode="writable", memory_mb=32)
    try:
        fill = "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 1000) "
        answer = process.handle("query", sql=fill + "SELECT hex(hex(hex('" + "x" * 20_000 + "'))) FROM c")
        assert answer["error"] == "QueryError" and answer["peak_mb"] < 150, answer
        assert process.rows("SELECT count(*) FROM t") == [[0]]
    finally:
        process.close()


@pytest.mark.parametrize("settings", [{"engin": "sqlite"}, {"engine": "mysql"}, {"mode": "rw"}, {"database": "nope.db"}])
def test_wrong_settings(settings: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", DRIVER, str(PROFILES["sql"].worker), json.dumps(settings)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "sql settings" in done.stderr and done.returncode == 1


def test_the_walls_in_this_process() -> None:
    walls = Sqlite(None, SCRIPT, caps=Caps(query_s=0.2))
    assert walls.run("SELECT count(*) FROM emp")["rows"] == [[3]]
    with pytest.raises(QueryError, match=r"stopped after 0\.2 s"):
        walls.run(next(iter(STOPPED)))
    walls.close()


def test_text_that_is_no_unicode(tmp_path: Path) -> None:
    path = database(tmp_path / "x.db", "CREATE TABLE t(s TEXT); INSERT INTO t VALUES (CAST(x'41ff42' AS TEXT))")
    walls = Sqlite(path)
    assert walls.run("SELECT s, upper(s) FROM t")["rows"] == [["A�B", "A�B"]]
    walls.close()


# --- DuckDB -----------------------------------------------------------------------------------------------------------

DUCK_REFUSED = {
    "INSERT INTO emp VALUES (9,'x',1)": "not allowed",
    "EXPLAIN ANALYZE DELETE FROM emp": "Only one SELECT",
    "SELECT * FROM read_csv('/etc/passwd')": "read_csv() is not available",
    "SELECT * FROM '/etc/passwd'": "does not exist",
    "SELECT * FROM glob('/*')": "glob() is not available",
    "COPY emp TO 'out.csv'": "not allowed",
    "ATTACH 'made.db'": "not allowed",
    "INSTALL httpfs": "not allowed",
    "SET threads = 4": "not allowed",
    "CREATE TEMP TABLE emp(a INT)": "not allowed",
    "SELECT 1; SELECT 2": "one statement",
    "": "empty",
    "SELECT * FROM nope": "Tables: emp.",
    "SELECT count(*) FROM range(100000000000)": "stopped after 1 s",
    "SELECT list(range) FROM range(50000000)": "128 MB|stopped after 1 s",
}


DUCK_BOMBS = (
    "SELECT length(repeat('x', 2000000000))",
    "SELECT 'x'.repeat(2000000000)",
    "SELECT main.repeat('x', 2000000000)",
    "SELECT system.main.\"REPEAT\" /* ( /* nested */ */ ('x', 2000000000)",
    "SELECT repeat\u00a0('x', 2000000000)",
    "SELECT * FROM (VALUES (1)) AS t(a) WHERE length(lpad('x', 2000000000, 'y')) > a",
    "WITH t AS (SELECT rpad('x', 2000000000, 'y') AS a) SELECT length(a) FROM t",
    "SELECT sum(length(repeat('x', 2000000000))) OVER () FROM emp",
    "SELECT list_transform([1], lambda i: repeat('x', 2000000000))",
    "SELECT [repeat('x', 2000000000) for i in [1]]",
    "SELECT len(range(2000000000))",
    "SELECT len(generate_series(1, 2000000000))",
    "SELECT printf('%2000000000d', 1)",
    "SELECT format('{:2000000000d}', 1)",
    "SELECT array_resize([1], 2000000000)",
    "EXPLAIN ANALYZE SELECT length(repeat('x', 2000000000))",
    "SELECT CASE WHEN 1 = (SELECT count(*) FROM emp WHERE repeat(name, 2000000000) = 'x') THEN 1 END",
    "SELECT * FROM emp ORDER BY repeat(name, 2000000000)",
    "SELECT * FROM query('SELECT repeat(''x'', 2000000000)')",
    "SELECT * FROM query_table(['emp'])",
    "SELECT json_execute_serialized_sql('{}')",
    "SELECT getenv('HOME')",
    "SELECT current_setting('memory_limit')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM emp PIVOT (max(repeat(name, 2000000000)) FOR id IN (1, 2))",
    "SELECT no_such_function(1)",
)
"""Each of them names a function that is not on the lists, in one of the ways in which DuckDB lets one name a function."""
DUCK_WORKS = (
    "SELECT count(*), sum(pay), max(name), string_agg(name, ',' ORDER BY name) FILTER (WHERE id < 3) FROM emp",
    "SELECT row_number() OVER w, lag(id) OVER w, sum(id) OVER w FROM emp WINDOW w AS (ORDER BY id)",
    "SELECT extract(year FROM DATE '2020-02-01'), date_trunc('month', DATE '2020-02-03'), DATE '2020-02-01' + INTERVAL 1 DAY",
    "SELECT CAST('1' AS INT) + 2 * 3 // 4 % 5, 2 ** 3, -1, NOT true, 1 IN (1, 2), 1 BETWEEN 0 AND 2, NULL IS NULL",
    "SELECT 'a' || 'b', 'ab' LIKE 'a%', 'ab' ILIKE 'A%', 'ab' NOT LIKE 'x' ESCAPE '$', 'a' SIMILAR TO 'a', 'a' ~ 'b'",
    "SELECT substring('abc' FROM 2 FOR 1), position('b' IN 'abc'), trim(BOTH 'a' FROM 'aba'), coalesce(NULL, 1), nullif(1, 2)",
    "SELECT [1, 2][1], [i + 1 for i in [1, 2]], {'a': 1}.a, list_sum([1, 2]), 'abc'[1:2], CASE WHEN 1 = 1 THEN 2 END",
    "SELECT * FROM emp PIVOT (count(*) FOR id IN (1, 2)) ORDER BY ALL",
    "SELECT * FROM unnest([1, 2]) AS u(a), range(2) AS r(b)",
    "EXPLAIN SELECT count(*) FROM emp",
    "DESCRIBE emp",
    "FROM emp SELECT id GROUP BY ROLLUP (id) HAVING count(*) > 0 UNION ALL SELECT 1 EXCEPT SELECT 2",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i, round(avg(i) OVER (), 2) FROM n",
    "SELECT table_name FROM information_schema.tables",
)


def duck(folder: Path, **settings: Any) -> Process:
    pytest.importorskip("duckdb")
    return Process(folder, profile="duckdb", bare=False, engine="duckdb", query_s=1.0, memory_mb=128, max_rows=3, **settings)


def test_duckdb_read_only(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    duckdb.connect(str(tmp_path / "d.duckdb")).execute(SCRIPT.split(";\nCREATE VIEW")[0].replace("9e999", "'inf'")).close()
    process = duck(tmp_path, database="d.duckdb")
    try:
        assert process.rows("SELECT 1.50::DECIMAL(4,2), DATE '2020-02-01', [1, 2], 1::HUGEINT << 100, 'nan'::DOUBLE") == [
            [{"decimal": "1.50"}, "2020-02-01", [1, 2], 1 << 100, {"float": "nan"}]
        ]
        for sql, reason in DUCK_REFUSED.items():
            refusal = process.refusal(sql)
            assert any(part in refusal for part in reason.split("|")), (sql, refusal)
        assert process.handle("query", sql="SELECT * FROM range(1000)")["value"]["more_rows"] == 997
        answer = process.handle("query", fork=True, sql="SELECT count(*) FROM emp")
        assert answer["value"]["rows"] == [[3]] and answer["threads"] == 1
        for sql in DUCK_BOMBS:
            assert "() is not available here: it is not on the list." in process.refusal(sql), sql
        for sql in DUCK_WORKS:
            assert "value" in process.handle("query", sql=sql), sql
        assert os.listdir(tmp_path) == ["d.duckdb"]
    finally:
        process.close()


def test_duckdb_writable(tmp_path: Path) -> None:
    process = duck(tmp_path, script=SCRIPT.split(";\nCREATE VIEW")[0].replace("9e999", "'inf'"), mode="writable")
    try:
        process.handle("query", sql="DELETE FROM emp WHERE id = 1")
        process.handle("query", sql="CREATE TEMP TABLE emp(a INT)")
        state = process.handle("state", tables=["emp"])["value"]
        assert [row[0] for row in state["emp"]["rows"]] == [2, 3], "a temporary table hides nothing from the grader"
        assert "not allowed" in process.refusal("BEGIN")
        for sql in (
            "INSERT INTO emp VALUES (9, repeat('x', 2000000000), 1)",
            'UPDATE emp SET name = main."repeat" (name, 2000000000)',
            "CREATE TABLE made AS SELECT 'x'.repeat(2000000000) AS a",
            "CREATE MACRO bomb(n) AS repeat('x', n)",
            "CREATE VIEW seen AS SELECT * FROM read_csv('/etc/passwd')",
        ):
            assert "is not available here" in process.refusal(sql), sql
        assert "comments" in process.refusal("DELETE FROM emp WHERE repeat/*/**/*/(name, 2000000000) = 'x'")
        process.handle("query", sql="CREATE MACRO twice(n) AS 2 * n")
        assert "twice() is not available" in process.refusal("SELECT twice(1)")
        process.handle("query", sql="INSERT INTO memory.main.emp (id, name, pay) VALUES (9, upper(trim(' x ')), 1)")
        assert process.rows("SELECT name FROM memory.main.emp WHERE id = 9") == [["X"]]
        assert os.listdir(tmp_path) == []
    finally:
        process.close()


def test_the_deadline_is_kept(reader: Process) -> None:
    """The clock of the test is generous; the message says that the worker's own deadline ended the query, not this one."""
    begun = time.monotonic()
    assert "stopped after 1 s" in reader.refusal(next(iter(STOPPED)))
    assert time.monotonic() - begun < 25
