"""Neighbours of a database: the same schema, other contents. Two queries that agree on all of them rarely agree by luck.

The idea of test suites for SQL (Zhong et al. 2020, "Semantic Evaluation for Text-to-SQL with Distilled Test Suites"): many random
neighbours are made, and the few are kept on which the gold query differs from queries close to it (`doubles`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from turnwise.errors import ConfigError
from turnwise.tool_servers.sql.compare import Table, difference
from turnwise.tool_servers.sql.doubles import doubles, literals
from turnwise.tool_servers.sql.grader import CAPS
from turnwise.tool_servers.sql.worker import QueryError, Sqlite

__all__ = ["neighbour", "neighbours_of"]

Row = list[Any]


def neighbours_of(database: bytes | Path, gold: str, *, keep: int = 4, tries: int = 24, seed: int = 0) -> list[bytes]:
    """At most `keep` neighbours that together tell the gold query from the most of its doubles; equal seeds, equal bytes.

    The first kept are those on which the gold answer is not empty and not that of the original. ConfigError if the gold fails.
    """
    content = database if isinstance(database, bytes) else database.read_bytes()
    original, seen = _answer(content, gold), list(doubles(gold))
    if original is None:
        raise ConfigError(f"gold query: it fails or answers too much: {gold[:200]}")
    candidates: list[tuple[bytes, set[int], int]] = []
    for number in range(tries):
        made = neighbour(content, seed=seed, number=number, values=literals(gold))
        answer = _answer(made, gold)
        if answer is not None:
            caught = {i for i, double in enumerate(seen) if _differs(answer, _answer(made, double))}
            news = 2 * _differs(original, answer) + bool(answer.rows)
            candidates.append((made, caught, news))
    kept: list[bytes] = []
    open_doubles = set(range(len(seen)))
    while candidates and len(kept) < keep:
        best = max(candidates, key=lambda c: (len(c[1] & open_doubles) + (c[2] if not kept else 0), c[2]))
        candidates.remove(best)
        kept.append(best[0])
        open_doubles -= best[1]
    return kept


def neighbour(database: bytes, *, seed: int, number: int, values: Sequence[Any] = ()) -> bytes:
    """One random neighbour; `values` (constants of a query, say) and their neighbours are put in here and there.

    Keys stay keys: rows go, double (with a new key) and swap their cells, references point to rows that are there.
    """
    rng = np.random.default_rng([seed, number])
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.text_factory = lambda raw: raw.decode("utf-8", "replace")  # pyright: ignore[reportUnknownLambdaType]
        db.deserialize(_unwal(database))
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("BEGIN")
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {_quoted(name)}")
        shapes = _shapes(db)
        for shape in shapes:
            _rewrite(db, shape, rng, values)
        for _ in range(len(shapes) + 1):
            _mend_references(db, rng, shapes)
        for _, sql in triggers:
            db.execute(sql)
        db.execute("COMMIT")
        return db.serialize()


@dataclass(frozen=True, slots=True)
class _Shape:
    """What of a table may change."""

    table: str
    columns: tuple[str, ...]
    key: str
    """The column that is the primary key alone and holds ints, else ""."""
    fixed: frozenset[str]
    """Columns in keys, unique indexes and references: moved with their row, never altered by themselves."""
    needed: frozenset[str]
    """NOT NULL."""
    references: tuple[tuple[str, str, str], ...]
    """(column, parent table, parent column)."""


def _shapes(db: sqlite3.Connection) -> list[_Shape]:
    virtual = [
        name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%'")
    ]
    found: list[_Shape] = []
    for (name,) in db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall():
        if not any(name == v or name.startswith(f"{v}_") for v in virtual):  # a virtual table and its shadows stay as they are
            found.append(_shape(db, name))
    return found


def _shape(db: sqlite3.Connection, table: str) -> _Shape:
    info = [row for row in db.execute(f"PRAGMA table_xinfo({_quoted(table)})") if not row[6]]
    keys = [row for row in info if row[5]]
    unique: set[str] = set()
    for index in db.execute(f"PRAGMA index_list({_quoted(table)})").fetchall():
        if index[2]:
            unique |= {row[2] for row in db.execute(f"PRAGMA index_info({_quoted(index[1])})") if row[2]}
    references: list[tuple[str, str, str]] = []
    for _, _, parent, column, to, *_ in db.execute(f"PRAGMA foreign_key_list({_quoted(table)})").fetchall():
        target = to or next((r[1] for r in db.execute(f"PRAGMA table_info({_quoted(parent)})") if r[5]), "")
        if target:
            references.append((column, parent, target))
    fixed = unique | {row[1] for row in keys} | {column for column, _, _ in references}
    single = keys[0][1] if len(keys) == 1 and "INT" in str(keys[0][2]).upper() else ""
    return _Shape(
        table, tuple(row[1] for row in info), single, frozenset(fixed), frozenset(r[1] for r in info if r[3]), tuple(references)
    )


def _rewrite(db: sqlite3.Connection, shape: _Shape, rng: np.random.Generator, values: Sequence[Any]) -> None:
    names = ", ".join(_quoted(c) for c in shape.columns)
    rows: list[Row] = [list(row) for row in db.execute(f"SELECT {names} FROM {_quoted(shape.table)}")]
    kept = [row for row in rows if rng.random() >= rng.choice([0.0, 0.2, 0.5])] or rows[:1]
    kept += _doubled(kept, shape, rng)
    for place, column in enumerate(shape.columns):
        if column not in shape.fixed and kept:
            _stir(kept, place, rng, values, column in shape.needed)
    db.execute(f"DELETE FROM {_quoted(shape.table)}")
    marks = ", ".join("?" * len(shape.columns))
    db.executemany(f"INSERT OR IGNORE INTO {_quoted(shape.table)} ({names}) VALUES ({marks})", kept)


def _doubled(rows: Sequence[Row], shape: _Shape, rng: np.random.Generator) -> list[Row]:
    """Copies of some rows under new keys; INSERT OR IGNORE drops those that break another rule."""
    if shape.key:
        place = shape.columns.index(shape.key)
        top = max((row[place] for row in rows if isinstance(row[place], int)), default=0)
        picked = [list(row) for row in rows if rng.random() < 0.25]
        for number, row in enumerate(picked, 1):
            row[place] = top + number
        return picked
    own = shape.fixed - {column for column, _, _ in shape.references}
    return [] if own else [list(row) for row in rows if rng.random() < 0.25]


def _stir(rows: Sequence[Row], place: int, rng: np.random.Generator, values: Sequence[Any], needed: bool) -> None:
    """Swap the cells of a column about, and set some to a value near one of the query's constants or of their own."""
    column = [row[place] for row in rows]
    if rng.random() < 0.5:
        column = [column[int(i)] for i in rng.permutation(len(column))]
    kinds = {type(value) for value in column if value is not None}
    fitting = [v for v in values if type(v) in kinds or (isinstance(v, int) and float in kinds)]
    share = float(rng.choice([0.0, 0.2, 0.5]))
    for row, value in zip(rows, column, strict=True):
        if rng.random() < share:
            pool = fitting if fitting and rng.random() < 0.5 else column
            value = pool[int(rng.integers(len(pool)))]
            if isinstance(value, int | float) and rng.random() < 0.5:
                value = value + int(rng.integers(-1, 2))
            elif not needed and rng.random() < 0.1:
                value = None
        row[place] = value


def _mend_references(db: sqlite3.Connection, rng: np.random.Generator, shapes: Sequence[_Shape]) -> None:
    """Let references that lead nowhere lead to a parent that is there; rows without any possible parent go."""
    for shape in shapes:
        for column, parent, target in shape.references:
            known = [r[0] for r in db.execute(f"SELECT {_quoted(target)} FROM {_quoted(parent)} ORDER BY 1")]
            name, child = _quoted(column), _quoted(shape.table)
            lost = (
                f"{name} IS NOT NULL AND {name} NOT IN "
                f"(SELECT {_quoted(target)} FROM {_quoted(parent)} WHERE {_quoted(target)} IS NOT NULL)"
            )
            for (old,) in db.execute(f"SELECT DISTINCT {name} FROM {child} WHERE {lost} ORDER BY 1").fetchall():
                if known:
                    new = known[int(rng.integers(len(known)))]
                    db.execute(f"UPDATE OR IGNORE {child} SET {name} = ? WHERE {name} = ?", (new, old))
            db.execute(f"DELETE FROM {child} WHERE {lost}")


def _answer(database: bytes, sql: str) -> Table | None:
    with closing(Sqlite(database, caps=CAPS)) as connection:
        try:
            result = connection.run(sql)
        except QueryError:
            return None
        return Table.of(result) if result["complete"] else None


def _differs(one: Table, other: Table | None) -> bool:
    return other is None or bool(difference(one, other))


def _unwal(database: bytes) -> bytes:
    return database[:18] + b"\1\1" + database[20:] if database.startswith(b"\2\2", 18) else database


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
