# ruff: noqa: E501 (the code of an attack stands as it is sent)
"""Attacks by SQL (section 2c of the study): each is one statement in a session of the sql profile.

A statement is held if it ends within its time, the database is what it was, no file appears and the session goes on.
"""

from dataclasses import dataclass

__all__ = ["SCRIPT", "STATEMENTS", "Statement"]

SCRIPT = "CREATE TABLE emp(id INTEGER PRIMARY KEY, name TEXT, pay REAL);" + "".join(
    f"INSERT INTO emp VALUES({i}, 'n{i}', {i * 10});" for i in range(1, 51)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement, and the engine it is for."""

    name: str
    sql: str
    engine: str = "sqlite"
    writable: bool = False
    """Whether it runs in a session whose copy may be changed: then only files, time and memory are at stake."""


_PATH = "/tmp/MARKER.db"
_ENDLESS = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT "
STATEMENTS = (
    *(
        Statement(name=name, sql=sql)
        for name, sql in {
            "delete": "DELETE FROM emp",
            "insert": "INSERT INTO emp VALUES(999, 'x', 1)",
            "update": "UPDATE emp SET pay = 0",
            "drop": "DROP TABLE emp",
            "shadow by temporary table": "CREATE TEMP TABLE emp(id, name, pay)",
            "shadow by temporary view": "CREATE TEMP VIEW emp AS SELECT 1 AS id",
            "trigger": "CREATE TEMP TRIGGER t AFTER INSERT ON emp BEGIN DELETE FROM emp; END",
            "writable_schema": "PRAGMA writable_schema = 1",
            "journal_mode": "PRAGMA journal_mode = WAL",
            "query_only off": "PRAGMA query_only = 0",
            "two statements": "SELECT 1; DELETE FROM emp",
            "comment and statement": "SELECT 1 /* ; */; -- x\nDROP TABLE emp",
            "reads of the schema's pages": "SELECT * FROM sqlite_dbpage",
            "load_extension": "SELECT load_extension('/tmp/MARKER.so')",
            "readfile": "SELECT readfile('/etc/passwd')",
            "writefile": f"SELECT writefile('{_PATH}', 'x')",
            "edit": "SELECT edit('x', 'sh')",
            "fts3_tokenizer": "SELECT fts3_tokenizer('simple', x'4141414141414141')",
            "virtual table": "CREATE VIRTUAL TABLE temp.v USING fts5(x)",
            "series": "SELECT count(*) FROM generate_series(1, 10000000000)",
        }.items()
    ),
    *(
        Statement(name=f"{name}{', writable' * writable}", sql=sql, writable=writable)
        for writable in (False, True)
        for name, sql in {
            "attach": f"ATTACH '{_PATH}' AS x",
            "attach by uri": f"ATTACH 'file:{_PATH}?mode=rwc' AS x",
            "vacuum into": f"VACUUM INTO '{_PATH}'",
            "temp_store_directory": "PRAGMA temp_store_directory = '/tmp'",
            "endless count": f"{_ENDLESS}count(*) FROM t",
            "endless rows": f"{_ENDLESS}n FROM t",
            "endless sort": f"{_ENDLESS}n FROM t ORDER BY random()",
            "endless text": f"{_ENDLESS}group_concat(n || 'xxxxxxxxxxxxxxxxxxxxxxxx') FROM t",
            "zeroblob": "SELECT length(zeroblob(900000000))",
            "randomblob": "SELECT length(hex(randomblob(400000000)))",
            "printf": "SELECT length(printf('%.*c', 900000000, 'x'))",
            "printf width": "SELECT length(printf('%900000000d', 1))",
            "replace": "SELECT length(replace(printf('%.*c', 1000, 'x'), 'x', printf('%.*c', 100000, 'y')))",
            "cross join": "SELECT count(*) FROM emp a, emp b, emp c, emp d, emp e, emp f, emp g",
            "like": "SELECT count(*) FROM emp a, emp b, emp c WHERE hex(a.name || b.name) || hex(c.name) LIKE '%a%a%a%a%a%a%a%b%'",
            "glob": "SELECT printf('%.*c', 900, 'a') || printf('%.*c', 900, 'a') GLOB '" + "*a" * 400 + "b'",
            "deep expression": f"SELECT {'(' * 5000}1{')' * 5000}",
            "many terms": f"SELECT {' + '.join('1' * 20000)}",
            "many unions": " UNION ".join(["SELECT 1"] * 3000),
            "long statement": f"SELECT '{'x' * 2_000_000}'",
            "json bomb": "SELECT json('" + "[" * 5000 + "]" * 5000 + "')",
            "nul": "SELECT 1\0; DELETE FROM emp",
            "nothing": "",
        }.items()
    ),
    *(
        Statement(name=f"duckdb: {name}", sql=sql, engine="duckdb")
        for name, sql in {
            "delete": "DELETE FROM emp",
            "read_csv": "SELECT * FROM read_csv('/etc/passwd')",
            "read_text": "SELECT * FROM read_text('/etc/passwd')",
            "read_blob": "SELECT * FROM read_blob('/etc/passwd')",
            "glob": "SELECT * FROM glob('/*')",
            "a file as a table": "SELECT * FROM '/etc/passwd'",
            "copy to": "COPY emp TO '/tmp/MARKER.csv'",
            "copy from": "COPY emp FROM '/etc/passwd'",
            "attach": f"ATTACH '{_PATH}' AS x",
            "export": "EXPORT DATABASE '/tmp/MARKER'",
            "install": "INSTALL httpfs",
            "load": "LOAD '/tmp/MARKER.duckdb_extension'",
            "settings": "SET enable_external_access = true",
            "lock": "SET lock_configuration = false",
            "temp_directory": "SET temp_directory = '/tmp/MARKER'",
            "http": "SELECT * FROM read_csv('http://127.0.0.1:1/x')",
            "pragma": "PRAGMA enable_profiling = 'json'",
            "getenv": "SELECT getenv('HOME')",
            "endless": f"{_ENDLESS}count(*) FROM t",
            "repeat": "SELECT length(repeat('x', 4000000000))",
            "range": "SELECT count(*) FROM range(100000000000) a",
            "cross join": "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3",
            "big list": "SELECT list(range) FROM range(1000000000)",
            "deep expression": f"SELECT {'(' * 5000}1{')' * 5000}",
            "two statements": "SELECT 1; DELETE FROM emp",
        }.items()
    ),
)
