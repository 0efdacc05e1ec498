"""The grader: right answers score, every known trick does not, and golds that decide nothing are refused."""

import sqlite3
from pathlib import Path

import pytest

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.sql.doubles import doubles
from turnwise.tool_servers.sql.grader import Gold, Grader
from turnwise.tool_servers.sql.order import plan_of
from turnwise.tool_servers.sql.variants import neighbour, neighbours_of
from turnwise.tool_servers.sql.worker import Caps, Sqlite

SCRIPT = """
CREATE TABLE dept(id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE emp(id INTEGER PRIMARY KEY, name TEXT NOT NULL, dept_id INTEGER REFERENCES dept(id), pay REAL, city TEXT,
    CHECK (pay > 0));
CREATE TRIGGER moved AFTER INSERT ON emp WHEN new.city = 'nowhere' BEGIN DELETE FROM emp; END;
CREATE VIEW rich AS SELECT name FROM emp WHERE pay > 25;
INSERT INTO dept VALUES (1,'dev'),(2,'ops'),(3,'hr');
INSERT INTO emp VALUES (1,'ann',1,10,'Oslo'),(2,'bob',1,20,'Rome'),(3,'cid',2,20,'Oslo'),(4,'dan',2,30.5,'Paris'),
    (5,'eve',3,40,'Rome'),(6,'fay',1,20,'Rome'),(7,'gus',NULL,15,NULL);
"""


def built(script: str = SCRIPT) -> bytes:
    db = sqlite3.connect(":memory:")
    db.executescript(script)
    content = db.serialize()
    db.close()
    return content


BASE = built()


def made(gold: str) -> tuple[Grader, Gold]:
    grader = Grader([BASE, *neighbours_of(BASE, gold, tries=12)])
    return grader, grader.gold(gold)


RIGHT = [
    ("SELECT name FROM emp WHERE pay > 20", "SELECT e.name AS who FROM emp e WHERE NOT e.pay <= 20 ORDER BY 1 DESC"),
    ("SELECT name, pay FROM emp", "SELECT pay, name FROM emp"),
    ("SELECT name, pay FROM emp ORDER BY pay DESC", "SELECT name, pay FROM emp ORDER BY pay DESC, name DESC"),
    ("SELECT avg(pay) FROM emp", "SELECT sum(pay) * 1.0 / count(pay) FROM emp"),
    ("SELECT count(*) FROM emp", "SELECT count(*) * 1.0 FROM emp"),
    ("SELECT city FROM emp WHERE city = 'Berlin'", "SELECT city FROM emp WHERE city LIKE 'Berlin'"),
    (
        "SELECT d.name, count(*) AS n FROM emp e JOIN dept d ON d.id = e.dept_id GROUP BY d.name ORDER BY n DESC, d.name",
        "SELECT name, (SELECT count(*) FROM emp WHERE dept_id = dept.id) c FROM dept WHERE c > 0 ORDER BY c DESC, name",
    ),
    ("SELECT name FROM emp ORDER BY id LIMIT 3", "SELECT name FROM (SELECT * FROM emp ORDER BY id) ORDER BY id LIMIT 3"),
    ("SELECT pay, pay, name FROM emp", "SELECT name, pay, pay FROM emp"),
]


@pytest.mark.parametrize(("gold", "prediction"), RIGHT)
def test_right_answers_score(gold: str, prediction: str) -> None:
    grader, answers = made(gold)
    assert grader.grade(answers, gold).score == 1.0
    verdict = grader.grade(answers, prediction)
    assert verdict.score == 1.0, verdict


HACKS = {
    "delete first, then both are empty": ("SELECT name FROM emp WHERE pay > 20", "DELETE FROM emp"),
    "update": ("SELECT sum(pay) FROM emp", "UPDATE emp SET pay = 1"),
    "several statements": ("SELECT count(*) FROM emp", "DELETE FROM emp; SELECT count(*) FROM emp"),
    "right answer, then a second statement": ("SELECT name FROM emp", "SELECT name FROM emp; DROP TABLE emp"),
    "temp table over a table": ("SELECT name FROM emp", "CREATE TEMP TABLE emp(name TEXT)"),
    "temp view over a table": ("SELECT name FROM emp", "CREATE TEMP VIEW emp AS SELECT 'x' AS name"),
    "attach": ("SELECT name FROM emp", "ATTACH ':memory:' AS emp"),
    "vacuum into a file": ("SELECT name FROM emp", "VACUUM INTO 'stolen.db'"),
    "pragma": ("SELECT name FROM emp", "PRAGMA writable_schema = ON"),
    "set(): duplicates dropped": ("SELECT city FROM emp", "SELECT DISTINCT city FROM emp"),
    "set(): duplicates added": ("SELECT DISTINCT city FROM emp", "SELECT city FROM emp"),
    "set(): rows doubled": ("SELECT name FROM emp", "SELECT name FROM emp UNION ALL SELECT name FROM emp"),
    "order ignored": ("SELECT name FROM emp ORDER BY pay", "SELECT name FROM emp ORDER BY pay DESC"),
    "superset of columns": ("SELECT name FROM emp", "SELECT * FROM emp"),
    "subset of columns": ("SELECT name, pay FROM emp", "SELECT name FROM emp"),
    "superset of rows": ("SELECT name FROM emp WHERE pay > 20", "SELECT name FROM emp"),
    "limit": ("SELECT name FROM emp WHERE pay > 20", "SELECT name FROM emp WHERE pay > 20 LIMIT 1"),
    "limit that fits the original": ("SELECT name FROM emp WHERE pay > 20", "SELECT name FROM emp ORDER BY pay DESC LIMIT 2"),
    "constant": ("SELECT count(*) FROM emp WHERE pay > 20", "SELECT 2"),
    "constant rows": ("SELECT name FROM emp WHERE pay > 20", "VALUES ('dan'), ('eve')"),
    "empty, as the gold is here": ("SELECT name FROM emp WHERE city = 'Berlin'", "SELECT name FROM emp WHERE 0"),
    "empty by another condition": ("SELECT name FROM emp WHERE city = 'Berlin'", "SELECT name FROM emp WHERE city = 'Madrid'"),
    "luck": ("SELECT name FROM emp WHERE pay > 20", "SELECT name FROM emp WHERE pay > 30"),
    "column names are not content": ("SELECT name FROM emp", "SELECT pay AS name FROM emp"),
    "the gold in a comment": ("SELECT name FROM emp WHERE pay > 20", "/* SELECT name FROM emp WHERE pay > 20 */ SELECT 1"),
    "only a comment": ("SELECT name FROM emp WHERE pay > 20", "-- SELECT name FROM emp WHERE pay > 20"),
    "nothing": ("SELECT name FROM emp", ""),
    "error": ("SELECT name FROM emp", "SELECT nme FROM emp"),
    "NULL for text": ("SELECT city FROM emp", "SELECT nullif(city, city) FROM emp"),
    "text for numbers": ("SELECT pay FROM emp", "SELECT CAST(pay AS TEXT) FROM emp"),
    "explain": ("SELECT name FROM emp", "EXPLAIN SELECT name FROM emp"),
    "columns mixed up between rows": (
        "SELECT name, id FROM emp",
        "SELECT name, (SELECT max(id) FROM emp) + (SELECT min(id) FROM emp) - id FROM emp",
    ),
    "without end": (
        "SELECT count(*) FROM emp",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c",
    ),
    "very many rows": (
        "SELECT count(*) FROM emp",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 500000) SELECT x FROM c",
    ),
}


@pytest.mark.parametrize("name", HACKS)
def test_hacks_score_nothing(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    gold, hack = HACKS[name]
    grader, answers = made(gold)
    usual, grader.caps = grader.caps, Caps(max_rows=1_000, query_s=0.5, count_rows=0)
    verdict = grader.grade(answers, hack)
    assert verdict.score == 0.0 and verdict.reason
    grader.caps = usual
    assert grader.grade(answers, gold).score == 1.0, "a trick leaves nothing behind"
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_graded_read_only(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(BASE)
    gold = "SELECT name FROM emp WHERE pay > 20"
    grader = Grader([path, *neighbours_of(path, gold, tries=6)])
    answers = grader.gold(gold)
    assert grader.grade(answers, gold).score == 1.0 and grader.grade(answers, "DELETE FROM emp").score == 0.0
    assert path.read_bytes() == BASE and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("gold", "reason"),
    [
        ("SELECT 42", "constant would pass"),
        ("SELECT name FROM emp WHERE 1 = 0", "constant would pass"),
        ("SELECT name FROM emp ORDER BY pay LIMIT 3", "cut apart by its LIMIT"),
        ("SELECT name FROM emp LIMIT 2", "LIMIT without ORDER BY"),
        ("SELECT nme FROM emp", "No such column"),
        ("SELECT name FROM emp; SELECT 1", "expected one SELECT"),
        ("DELETE FROM emp", "expected one SELECT"),
        ("SELECT FROM WHERE", "gold query"),
    ],
)
def test_golds_that_decide_nothing(gold: str, reason: str) -> None:
    grader = Grader([BASE, *(neighbour(BASE, seed=0, number=i) for i in range(3))])
    with pytest.raises(ConfigError, match=reason):
        grader.gold(gold)


def test_one_database_is_not_enough() -> None:
    grader = Grader([BASE])
    with pytest.raises(ConfigError, match="add neighbours"):
        grader.gold("SELECT name FROM emp")
    assert grader.grade(grader.gold("SELECT name FROM emp", strict=False), "SELECT name FROM rich").score == 0.0
    with pytest.raises(ConfigError, match="at least one"):
        Grader([])


def test_a_gold_too_large_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger than 2 rows"):
        Grader([BASE], caps=Caps(max_rows=2)).gold("SELECT name FROM emp", strict=False)


@pytest.mark.parametrize(
    ("sql", "ordered", "keys"),
    [
        ("SELECT a FROM t", False, ()),
        ("SELECT a FROM t ORDER BY b DESC LIMIT 3", True, (-1,)),
        ("(SELECT a FROM t ORDER BY a)", True, (-1,)),
        ("SELECT * FROM (SELECT a FROM t ORDER BY b)", False, ()),
        ("WITH c AS (SELECT a FROM t ORDER BY a) SELECT a FROM c", False, ()),
        ("SELECT group_concat(a ORDER BY a) FROM t", False, ()),
        ("SELECT rank() OVER (ORDER BY a) FROM t", False, ()),
        ("SELECT a FROM t UNION SELECT b FROM u ORDER BY 1", True, (0,)),
        ("SELECT DISTINCT a, b FROM t ORDER BY b", True, (1,)),
        ("SELECT a AS x, b FROM t ORDER BY x, 2", True, (-2, -1)),
        ("SELECT a AS x FROM t ORDER BY x * 2", True, ()),
        ("SELECT *, a FROM t ORDER BY 1", True, ()),
    ],
)
def test_only_the_outermost_order_counts(sql: str, ordered: bool, keys: tuple[int, ...]) -> None:
    plan = plan_of(sql)
    assert plan.ordered is ordered and plan.keys == keys


def test_ties_swap_and_collations_count() -> None:
    base = built("CREATE TABLE t(s TEXT, n INT); INSERT INTO t VALUES ('b',1),('B',2),('a',3),('c',4)")
    grader = Grader([base])
    gold = grader.gold("SELECT s, n FROM t ORDER BY s COLLATE NOCASE", strict=False)
    assert gold.answers[0].places == (0, 1, 1, 2)
    assert grader.grade(gold, "SELECT s, n FROM t ORDER BY lower(s), n DESC").score == 1.0
    assert grader.grade(gold, "SELECT s, n FROM t ORDER BY s").score == 0.0
    assert grader.grade(grader.gold(gold.sql, ordered=False, strict=False), "SELECT s, n FROM t ORDER BY s").score == 1.0


def test_neighbours_keep_the_schema_and_its_rules() -> None:
    for number in range(12):
        content = neighbour(BASE, seed=3, number=number, values=["Berlin", 21])
        assert content == neighbour(BASE, seed=3, number=number, values=["Berlin", 21])
        db = sqlite3.connect(":memory:")
        db.deserialize(content)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        assert names >= {"dept", "emp", "moved", "rich"}
        assert db.execute("SELECT count(*) FROM emp WHERE name IS NULL OR pay <= 0").fetchone() == (0,)
        db.close()
    assert neighbour(BASE, seed=3, number=0) != neighbour(BASE, seed=4, number=0)


@pytest.mark.parametrize("gold", [right[0] for right in RIGHT])
def test_neighbours_tell_doubles_apart(gold: str) -> None:
    """Most queries one change away from the gold differ somewhere; what is left only adds a DISTINCT that changes nothing."""
    grader, answers = made(gold)
    alive = [double for double in doubles(gold) if grader.grade(answers, double).score]
    assert all("DISTINCT" in double or "LEFT" in double for double in alive), alive


# --- changes ----------------------------------------------------------------------------------------------------------

RAISE = ["UPDATE emp SET pay = pay + 1 WHERE dept_id = 1"]


@pytest.mark.parametrize(
    ("statements", "score"),
    [
        (RAISE, 1.0),
        (["UPDATE emp SET pay = 1 + pay WHERE dept_id IN (SELECT id FROM dept WHERE id = 1)"], 1.0),
        (["SELECT nonsense", *RAISE], 1.0),
        ([], 0.0),
        (["UPDATE emp SET pay = pay + 1"], 0.0),
        ([*RAISE, "DELETE FROM dept WHERE id = 3"], 0.0),
        (["BEGIN", *RAISE], 0.0),
        (["BEGIN", *RAISE, "COMMIT"], 1.0),
        ([*RAISE, "ALTER TABLE emp RENAME TO emp2", "CREATE VIEW emp AS SELECT * FROM emp2"], 0.0),
        ([*RAISE, "DROP TABLE dept"], 0.0),
        (["UPDATE emp SET pay = 11 WHERE id = 1", "UPDATE emp SET pay = 21 WHERE id IN (2, 6)"], 0.0),
    ],
)
def test_changes_are_graded_by_the_state_they_leave(statements: list[str], score: float) -> None:
    grader = Grader([BASE, *(neighbour(BASE, seed=1, number=i) for i in range(3))])
    verdict = grader.grade_state(grader.gold_state(RAISE), statements)
    assert verdict.score == score and bool(verdict.reason) is (score == 0.0)


def test_state_of_a_session() -> None:
    grader = Grader([BASE])
    gold = grader.gold_state(RAISE, ["emp"])
    session = Sqlite(BASE, writable=True)
    session.run(RAISE[0])
    assert grader.judge_state(gold, 0, session.state(["emp"])).score == 1.0
    session.run("DELETE FROM emp WHERE id = 7")
    assert grader.judge_state(gold, 0, session.state(["emp"])).score == 0.0
    assert grader.judge_state(gold, 0, "A transaction is still open.").score == 0.0
    session.close()


def test_gold_statements_must_change_something() -> None:
    grader = Grader([BASE])
    with pytest.raises(ConfigError, match="doing nothing would pass"):
        grader.gold_state(["DELETE FROM emp WHERE id = 99"])
    with pytest.raises(ConfigError, match="No such table"):
        grader.gold_state(["DELETE FROM nope"])


# --- results from elsewhere -------------------------------------------------------------------------------------------


def test_judge() -> None:
    grader, gold = made("SELECT name FROM emp WHERE pay > 20")
    results = [Sqlite(database).run(gold.sql) for database in grader.databases]
    assert grader.judge(gold, results).score == 1.0
    assert grader.judge(gold, [*results[:-1], "The query was stopped after 5 s."]).score == 0.0
    assert grader.judge(gold, [{**results[0], "complete": False}, *results[1:]]).reason == "the result is too large"
    with pytest.raises(ConfigError, match="one per database"):
        grader.judge(gold, results[:1])
    with pytest.raises(SandboxFailure, match="expected a result"):
        grader.judge(gold, [{"rows": 3}, *results[1:]])  # what no worker says is no answer of the model
