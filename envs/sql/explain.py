"""What was wrong with a query, and the mend: the place, the nearest name, and what a dialect calls otherwise.

Needs sqlglot only to say it better; what is allowed is decided elsewhere (`turnwise.tool_servers.sql.worker`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

import sqlglot
from sqlglot.errors import ParseError, SqlglotError

__all__ = ["bare_query", "explained", "not_a_query"]

# Its warnings about what a model wrote are nobody's business: the model is told in the observation.
logging.getLogger("sqlglot").setLevel(logging.ERROR)
_MOST = 5_000
"""Characters of a query that are parsed to explain it."""
_FENCE = re.compile(r"^```[a-zA-Z]*\n(.*?)\n?```$", re.DOTALL)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?(?:\*/|$)", re.DOTALL)
_NEAR = re.compile(r'[Nn]ear "(.+?)": syntax error')
_NAMED = re.compile(r"[Nn]o such (table|column|function): (\w+(?:\.\w+)*)")
_REFUSED = re.compile(r"[Tt]he function (\w+)\(\) is not available")
_OTHERS = ("postgres", "mysql", "tsql", "bigquery", "duckdb")
INSTEAD: Mapping[str, str] = {
    "concat": "a || b",
    "date_add": "date(x, '+1 day')",
    "date_format": "strftime('%Y-%m', x)",
    "date_part": "strftime('%Y', x)",
    "date_trunc": "strftime('%Y-%m', x)",
    "datediff": "julianday(a) - julianday(b)",
    "day": "strftime('%d', x)",
    "extract": "strftime('%Y', x)",
    "getdate": "a date from the data",
    "greatest": "max(a, b)",
    "if": "iif(condition, a, b)",
    "isnull": "ifnull(a, b)",
    "least": "min(a, b)",
    "left": "substr(x, 1, n)",
    "len": "length(x)",
    "lpad": "printf('%05d', x)",
    "month": "strftime('%m', x)",
    "now": "a date from the data",
    "nvl": "ifnull(a, b)",
    "position": "instr(x, part)",
    "regexp_like": "LIKE or GLOB",
    "right": "substr(x, -n)",
    "stddev": "avg(x * x) - avg(x) * avg(x), which is its square",
    "string_agg": "group_concat(x, ', ')",
    "strpos": "instr(x, part)",
    "to_char": "strftime('%Y-%m', x) or printf()",
    "to_date": "date(x)",
    "year": "strftime('%Y', x)",
}
"""What other dialects have -> what SQLite has for it."""


def bare_query(answer: str) -> str:
    """The SQL of an answer: out of a fenced block, without a semicolon at the end."""
    text = answer.strip()
    fenced = _FENCE.match(text)
    return (fenced[1] if fenced else text).strip().rstrip(";").strip()


def not_a_query(sql: str) -> str:
    """Why a text cannot be the query that is asked for, "" if it may be one. No wall: the engine decides what is run."""
    words = re.findall(r"[A-Za-z]+|\S", _COMMENT.sub(" ", sql[:_MOST]))[:1]
    if words and words[0].upper() in ("SELECT", "WITH", "VALUES", "("):
        return ""
    return "Expected one SELECT statement" + (f", got {words[0][:20]!r} at its beginning." if words else ", got none.")


def explained(sql: str, error: str, schema: Mapping[str, Iterable[str]], dialect: str = "sqlite") -> str:
    """The engine's error with the place and the mend added; `schema`: table -> its columns."""
    hints = [
        _place(sql, error, dialect),
        _nearest(sql, error, schema),
        _function(error) if dialect == "sqlite" else "",
        _translation(sql, error, dialect),
    ]
    return " ".join([error, *(hint for hint in hints if hint)])


def _place(sql: str, error: str, dialect: str) -> str:
    near = _NEAR.search(error)
    if near is None:
        return ""
    found = [m.start() for m in re.finditer(re.escape(near[1]), sql)]
    if len(found) == 1:
        before = sql[: found[0]]
        return f"(Line {before.count(chr(10)) + 1}, column {found[0] - before.rfind(chr(10))}.)"
    try:
        _ = sqlglot.parse_one(sql[:_MOST], dialect=dialect)
    except ParseError as wrong:
        first = wrong.errors[0] if wrong.errors else {}
        return f"(Line {first['line']}, about column {first['col']}.)" if first.get("line") else ""
    except (SqlglotError, RecursionError):
        pass
    return ""


def _nearest(sql: str, error: str, schema: Mapping[str, Iterable[str]]) -> str:
    named = _NAMED.search(error)
    if named is None or named[1] == "function":
        return ""
    name = named[2].rpartition(".")[2].lower()
    if named[1] == "table":
        known = {table.lower(): table for table in schema}
    else:
        named_last = sorted(schema, key=lambda table: re.search(rf"\b{re.escape(table)}\b", sql, re.IGNORECASE) is not None)
        known = {column.lower(): f"{table}.{column}" for table in named_last for column in schema[table]}
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {known[near[0]]}?" if near and near[0] != name else ""


def _function(error: str) -> str:
    named = _NAMED.search(error) or _REFUSED.search(error)
    name = named[named.lastindex or 1].lower() if named else ""
    return f"SQLite has no {name.upper()}(); instead: {INSTEAD[name]}." if name in INSTEAD else ""


def _translation(sql: str, error: str, dialect: str) -> str:
    """The query in this dialect, where it is one of another."""
    if not re.search("syntax error|unrecognized token", error, re.IGNORECASE) or len(sql) > _MOST:
        return ""
    for other in _OTHERS:
        try:
            trees = sqlglot.parse(sql, dialect=other)
            written = trees[0].sql(dialect=dialect) if len(trees) == 1 and trees[0] is not None else ""
        except (SqlglotError, RecursionError, ValueError):
            continue
        if written and written.split() != sql.split() and not not_a_query(written):
            return f"That may be the dialect of {other}; here it is: {written}"
    return ""
