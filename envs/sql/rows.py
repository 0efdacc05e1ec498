"""Rows for a schema: keys that fit, skewed references, repeated names of persons, missing and dirty values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from turnwise.envs.draws import Draws
from turnwise.envs.sql.domains import ROLES, Role
from turnwise.envs.sql.schema import Column, Schema, Table

__all__ = ["Cell", "Rows", "as_script", "in_sqlite", "rows_of"]

Cell = int | float | str | None
Rows = Mapping[str, Sequence[tuple[Cell, ...]]]
"""Table -> its rows."""
_SIZES: Mapping[Role, tuple[int, int]] = {"group": (6, 9), "entity": (20, 30), "person": (22, 34), "event": (100, 160)}
_FIRST = """Ada Bruno Clara Dario Elin Farid Greta Hugo Ines Jonas Kaja Luca Mira Nils Olga Pavel Rosa Sami Tilda Uwe Vera Yara
Arne Bela Cleo Dina""".split()  # noqa: SIM905
_FAMILY = """Adler Brandt Costa Duval Eriksen Ferrari Gruber Holm Ivanov Jansen Keller Lindqvist Moreau Novak Olsen Petrov Quist
Ricci Santos Toth""".split()  # noqa: SIM905
_FANCY = """Amber Blue Cedar Dawn Ebony Fern Golden Hazel Iron Jade Kite Lilac Maple North Opal Pearl Quartz Ruby Silver Tulip
Umber Violet""".split()  # noqa: SIM905
_REMARKS = ("checked", "see letter", "called back", "to be confirmed", "duplicate?", "ok")


def rows_of(schema: Schema, seed: Sequence[int]) -> Rows:
    """Equal arguments, equal rows."""
    draws = Draws(np.random.default_rng(list(seed)))
    keys: dict[Role, list[int]] = {}
    for role in ROLES:
        low, high = _SIZES[role]
        size = low + draws.below(high - low + 1)
        start = 1 + draws.below(400)
        keys[role] = [*range(start, start + size)]
    found: dict[str, Sequence[tuple[Cell, ...]]] = {}
    for role in ROLES:
        table = schema.tables[role]
        found[table.name] = _filled(draws, table, keys[role], keys)
    for table in schema.distractors:
        found[table.name] = _filled(draws, table, [*range(1, 9 + draws.below(12))], keys)
    return found


def _filled(draws: Draws, table: Table, own: Sequence[int], keys: Mapping[Role, Sequence[int]]) -> list[tuple[Cell, ...]]:
    columns = [_cells(draws, table, column, len(own), keys) for column in table.columns[1:]]
    return [*zip(own, *columns, strict=True)]


def _cells(draws: Draws, table: Table, column: Column, size: int, keys: Mapping[Role, Sequence[int]]) -> list[Cell]:
    cells = [*_values(draws, table, column, size, keys)]
    if column.missing:
        cells = [None if draws.uniform() < column.missing else cell for cell in cells]
    return cells


def _values(draws: Draws, table: Table, column: Column, size: int, keys: Mapping[Role, Sequence[int]]) -> Iterator[Cell]:
    below, attribute = draws.below, column.attribute
    if column.to is not None:
        parents = draws.shuffled(keys[column.to])
        count = len(parents) - 1 - below(2)  # some have none
        return (parents[int(count * draws.uniform() ** 1.6)] for _ in range(size))
    if attribute is None:
        return (draws.pick(_REMARKS) if column.kind == "name" else below(500) for _ in range(size))
    if column.kind == "number":
        steps = (attribute.high - attribute.low) // attribute.step + 1
        return (attribute.low + attribute.step * below(steps) for _ in range(size))
    if column.kind == "real":
        return ((attribute.low + below(attribute.high - attribute.low + 1)) / 4 for _ in range(size))
    if column.kind == "choice":
        return (_typed(draws, column, draws.pick(attribute.values)) for _ in range(size))
    if column.kind == "date":
        return (_dated(draws, column) for _ in range(size))
    return _names(draws, table, size)


def _typed(draws: Draws, column: Column, value: str) -> str:
    if column.trap != "case":
        return column.stored(value)
    shaped = (value.lower(), value.capitalize(), value.upper())[min(2, draws.below(4))]
    return (f"{shaped} ", f" {shaped}", shaped, shaped)[draws.below(4)]


def _dated(draws: Draws, column: Column) -> str:
    year, month, day = 2021 + draws.below(3), 1 + draws.below(12), 1 + draws.below(28)
    if column.trap == "dates" and draws.uniform() < 0.4:
        return f"{day:02d}.{month:02d}.{year}"
    return f"{year}-{month:02d}-{day:02d}"


def _names(draws: Draws, table: Table, size: int) -> Iterator[str]:
    if table.role == "person":
        found = [f"{draws.pick(_FIRST)} {draws.pick(_FAMILY)}" for _ in range(size)]
        found[-2:] = found[:2]  # namesakes
        return iter(draws.shuffled(found))
    shuffled = draws.shuffled([f"{fancy} {label}" for fancy in _FANCY for label in table.labels[:3]])
    return iter(shuffled[:size])


def in_sqlite(schema: Schema, rows: Rows) -> sqlite3.Connection:
    """An SQLite database in memory; the caller closes it."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("BEGIN")
    for statement in schema.ddl():
        db.execute(statement)
    for table, lines in rows.items():
        db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(lines[0]))})", lines)
    db.execute("COMMIT")
    return db


def as_script(schema: Schema, rows: Rows) -> str:
    """SQL that builds the same in any engine."""
    inserts = (f"INSERT INTO {t} VALUES {', '.join(map(_literals, lines))}" for t, lines in rows.items())
    return ";\n".join([*schema.ddl(), *inserts]) + ";\n"


def _literals(row: Sequence[Cell]) -> str:
    cells = ("NULL" if c is None else str(c) if isinstance(c, int | float) else "'" + c.replace("'", "''") + "'" for c in row)
    return f"({', '.join(cells)})"
