"""A schema drawn for one task: tables and columns of a domain under chosen names, with keys, traps and what only distracts.

Traps are told: each has a note that `describe` shows, and `Column.clean` is the SQL that sees through it. A `code` stands for a
value of a choice; with `case` a text was typed by hand, with stray spaces and capitals; `dates` come in two formats in a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

from turnwise.envs.draws import Draws
from turnwise.envs.sql.domains import DOMAINS, ROLES, Attribute, Kind, Role

__all__ = ["OWNERS", "Column", "Schema", "Table", "Trap", "schema_of"]

Trap = Literal["", "code", "case", "dates"]
OWNERS: Mapping[Role, Sequence[Role]] = {"group": (), "entity": ("group",), "person": (), "event": ("entity", "person")}
"""Role -> what each row of it points to."""
_TYPES: Mapping[Kind, str] = {"id": "INTEGER PRIMARY KEY", "link": "INTEGER", "number": "INTEGER", "real": "DOUBLE"}
_NOT_KEPT = "from before the last migration and no longer kept up to date"
_STYLES = ("{}", "{}", "{}", "tbl_{}", "{}_data", "all_{}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; a filler (`attribute` None, kind "name" or "number") is there to distract."""

    name: str
    kind: Kind
    phrase: str = ""
    attribute: Attribute | None = None
    to: Role | None = None
    """What a link points to."""
    missing: float = 0.0
    """Share of NULL."""
    trap: Trap = ""
    note: str = ""

    @property
    def about(self) -> str:
        """Its documentation; "" for keys and links."""
        return "; ".join(part for part in (self.phrase if self.attribute else "", self.note) if part)

    def clean(self, alias: str) -> str:
        """SQL for the value that is meant."""
        raw = f"{alias}.{self.name}"
        if self.trap == "case":
            return f"lower(trim({raw}))"
        if self.trap == "dates":
            turned = " || '-' || ".join(f"substr({raw}, {start}, {size})" for start, size in ((7, 4), (4, 2), (1, 2)))
            return f"CASE WHEN substr({raw}, 3, 1) = '.' THEN {turned} ELSE {raw} END"
        return raw

    def stored(self, value: str) -> str:
        """A value of a choice as `clean` gives it."""
        if self.trap == "code" and self.attribute is not None:
            return "ABCDEFGHIJKLMNOP"[self.attribute.values.index(value)]
        return value.lower() if self.trap == "case" else value


@dataclass(frozen=True, slots=True)
class Table:
    """A table; one without a role is there to distract."""

    name: str
    columns: Sequence[Column]
    role: Role | None = None
    singular: str = ""
    plural: str = ""
    labels: Sequence[str] = ()
    note: str = ""

    @property
    def key(self) -> str:
        """The name of the primary key, the first column."""
        return self.columns[0].name

    def link(self, role: Role) -> Column:
        """The column that points to that role."""
        return next(c for c in self.columns if c.to == role)


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one database."""

    about: str
    tables: Mapping[Role, Table]
    distractors: Sequence[Table]

    def __deepcopy__(self, memo: dict[int, object]) -> Schema:
        return self

    @property
    def all_tables(self) -> Sequence[Table]:
        """In an order in which they can be created."""
        return (*(self.tables[role] for role in ROLES), *self.distractors)

    def ddl(self) -> Sequence[str]:
        """The CREATE statements."""
        return [
            f"CREATE TABLE {t.name} (\n  " + ",\n  ".join(self._declared(c) for c in t.columns) + "\n)" for t in self.all_tables
        ]

    def notes(self) -> dict[str, str]:
        """Table, or table.column, -> what its documentation says."""
        found = {t.name: t.note for t in self.all_tables if t.note}
        return found | {f"{t.name}.{c.name}": about for t in self.all_tables for c in t.columns if (about := c.about)}

    def _declared(self, column: Column) -> str:
        needed = " NOT NULL" if column.attribute is not None and not column.missing else ""
        if column.to is not None:
            parent = self.tables[column.to]
            needed = f"{'' if column.missing else ' NOT NULL'} REFERENCES {parent.name}({parent.key})"
        return f"{column.name} {_TYPES.get(column.kind, 'TEXT')}{needed}"


@lru_cache(maxsize=256)
def schema_of(seed: int, level: int) -> Schema:
    """Equal arguments, equal schema. Traps, missing values and distractors grow with the level."""
    draws = Draws(np.random.default_rng([seed, 1]))
    domain, style = draws.pick(DOMAINS), draws.pick(_STYLES)
    names = {role: style.format(draws.pick(domain.things[role].tables)) for role in ROLES}
    tables: dict[Role, Table] = {}
    for role in ROLES:
        thing = domain.things[role]
        noun = thing.singular.replace(" ", "_")
        key = Column(draws.pick(("id", f"{noun}_id", f"{noun}_no")), "id")
        links = [_link(draws, domain.things[to].singular.replace(" ", "_"), to, level) for to in OWNERS[role]]
        own = [_column(draws, a, {key.name, *(c.name for c in links)}, level) for a in thing.attributes]
        columns = [*draws.shuffled([*links, *own]), *_fillers(draws, own, level)]
        note = f"one row for each {thing.singular}" + ("; names may repeat" if role == "person" else "")
        tables[role] = Table(names[role], [key, *columns], role, thing.singular, thing.plural, thing.labels, note)
    return Schema(domain.about, tables, _distracting(draws, tables["event"], level))


def _link(draws: Draws, noun: str, to: Role, level: int) -> Column:
    missing = 0.12 if to == "group" and draws.uniform() < 0.15 * (level - 1) else 0.0
    return Column(draws.pick((f"{noun}_id", f"{noun}_ref", f"{noun}_key")), "link", noun, to=to, missing=missing)


def _column(draws: Draws, attribute: Attribute, taken: set[str], level: int) -> Column:
    name = draws.pick([n for n in attribute.names if n not in taken])
    column = Column(name, attribute.kind, attribute.phrase, attribute)
    taken.add(name)
    chance = draws.uniform()
    if attribute.kind in ("number", "real", "choice") and draws.uniform() < 0.1 + 0.05 * level:
        column = replace(column, missing=0.12)
    if attribute.kind == "choice" and chance < 0.05 * level:
        return _coded(column, attribute)
    if attribute.kind == "choice" and level >= 3 and chance > 1.05 - 0.12 * level:
        return replace(column, trap="case", note="typed by hand: capitals and surrounding spaces vary and mean nothing")
    if attribute.kind == "date" and level >= 4 and chance > 1.2 - 0.12 * level:
        return replace(column, trap="dates", note="YYYY-MM-DD, or DD.MM.YYYY in rows from the old system")
    if attribute.kind == "date":
        return replace(column, note="YYYY-MM-DD")
    return column


def _coded(column: Column, attribute: Attribute) -> Column:
    coded = replace(column, trap="code", name=f"{column.name}_code")
    return replace(coded, note=", ".join(f"{coded.stored(value)} = {value}" for value in attribute.values))


def _fillers(draws: Draws, own: Sequence[Column], level: int) -> list[Column]:
    number = next((c for c in own if c.kind == "number"), None)
    found = [Column("remark", "name", note="free text"), Column("external_ref", "name", note="number in a partner's system")]
    if number is not None:
        found.append(Column(f"old_{number.name}", "number", attribute=None, missing=0.3, note=_NOT_KEPT))
    return draws.shuffled(found)[: draws.below(2 + (level >= 3))]


def _distracting(draws: Draws, event: Table, level: int) -> Sequence[Table]:
    copied = [replace(c, to=None, kind="number" if c.kind == "link" else c.kind) for c in event.columns]
    found = (
        Table(f"{event.name}_backup", copied, None, note=f"a copy of {event.name} {_NOT_KEPT}"),
        Table("settings", [Column("id", "id"), Column("setting", "name"), Column("content", "name")], note="of the application"),
        Table(
            "import_log", [Column("id", "id"), Column("file", "name"), Column("rows_read", "number")], note="of nightly imports"
        ),
        Table("staff_notes", [Column("id", "id"), Column("author", "name"), Column("note", "name")], note="internal"),
    )
    return draws.shuffled(found)[: min(level, 1 + draws.below(3))]
