"""What a query's error says: place, nearest name, and what other dialects call otherwise."""

import sqlite3

import pytest

from turnwise.envs.sql.explain import INSTEAD, bare_query, explained, not_a_query

SCHEMA = {"orders": ["id", "status", "customer_id"], "customers": ["id", "city"]}


@pytest.mark.parametrize(
    ("answer", "sql"),
    [
        ("SELECT 1", "SELECT 1"),
        ("  SELECT 1 ;\n", "SELECT 1"),
        ("```sql\nSELECT 1;\n```", "SELECT 1"),
        ("```\nSELECT 1\n```", "SELECT 1"),
        ("SELECT '```'", "SELECT '```'"),
        ("", ""),
    ],
)
def test_bare_query(answer: str, sql: str) -> None:
    assert bare_query(answer) == sql


@pytest.mark.parametrize("sql", ["SELECT 1", "with a as (select 1) select * from a", "-- so\n(SELECT 1)", "/* a */ VALUES (1)"])
def test_queries(sql: str) -> None:
    assert not_a_query(sql) == ""


@pytest.mark.parametrize(
    "sql", ["", "42", "yes", "DELETE FROM a", "-- SELECT 1", "/* SELECT", "DROP TABLE a", "the SELECT", "(" * 0]
)
def test_what_is_no_query(sql: str) -> None:
    assert not_a_query(sql).startswith("Expected one SELECT statement")


@pytest.mark.parametrize(
    ("sql", "error", "hint"),
    [
        ("SELECT 1\nFROM orders\nWERE id = 1 OR", 'Near "OR": syntax error.', "(Line 3, column 13.)"),
        ("SELECT * FROM order_s", "No such table: order_s. Tables: a.", "Did you mean orders?"),
        ("SELECT o.statsu FROM orders o", "No such column: o.statsu. Columns: ...", "Did you mean orders.status?"),
        ("SELECT year(a)", "No such function: year.", "SQLite has no YEAR(); instead: strftime('%Y', x)."),
        ("SELECT concat(1)", "The function concat() is not available here.", "instead: a || b."),
        ("SELECT TOP 3 * FROM a", 'Near "3": syntax error.', "here it is: SELECT * FROM a LIMIT 3"),
        ("SELECT a::int FROM b", 'Unrecognized token: ":".', "CAST(a AS INTEGER)"),
    ],
)
def test_hints(sql: str, error: str, hint: str) -> None:
    text = explained(sql, error, SCHEMA)
    assert text.startswith(error) and hint in text


@pytest.mark.parametrize("sql", ["(" * 5_000, "SELECT " * 3_000, "'", "SELECT \x00", "\ud800", "SELECT 1 ORDER LIMIT"])
def test_nonsense_is_explained_too(sql: str) -> None:
    assert explained(sql, 'Near "(": syntax error.', {}).startswith("Near")


def test_nothing_is_added_where_nothing_is_known() -> None:
    assert explained("SELECT x FROM y", "The query was stopped after 5 s.", SCHEMA) == "The query was stopped after 5 s."


@pytest.mark.parametrize("name", INSTEAD)
def test_sqlite_has_what_is_put_instead(name: str) -> None:
    """And, up to the oldest version that is supported, not what it stands for."""
    form = INSTEAD[name]
    call = form.split(",")[0] if form.startswith("avg") else form.split(" or ")[0]
    if "data" in form or "LIKE" in form:
        return
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t(x, a, b, n, part, condition)")
    db.execute(f"SELECT {call} FROM t")
    db.close()
