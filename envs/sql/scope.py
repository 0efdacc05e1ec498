"""Rows of one table that meet conditions, said in English and in SQL at once: what every question is made of.

scope = Scope(draws, schema, "event")
scope.narrow("person")                    # an own column, or one of what the row points to
scope.noun()      "orders whose customer's city is 'Oslo'"
scope.source()    "FROM orders AS v JOIN customers AS p ON p.id = v.customer_id WHERE p.city = 'Oslo'"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from turnwise.envs.draws import Draws
from turnwise.envs.sql.domains import Kind, Role
from turnwise.envs.sql.schema import Column, Schema, Table

__all__ = ["Ask", "Scope", "Term", "listed"]

_PATHS: Mapping[tuple[Role, Role], Sequence[Role]] = {
    ("entity", "group"): ("group",),
    ("event", "person"): ("person",),
    ("event", "entity"): ("entity",),
    ("event", "group"): ("entity", "group"),
}
_ALIASES: Mapping[Role, str] = {"group": "g", "entity": "e", "person": "p", "event": "v"}
_COMPARED: Sequence[tuple[str, str]] = (("above", ">"), ("at least", ">="), ("below", "<"), ("at most", "<="))
_FILTERS: Sequence[Kind] = ("choice", "number", "real", "date")


@dataclass(frozen=True, slots=True)
class Term:
    """A value of a row: as a question names it, as SQL gives it."""

    text: str
    sql: str
    column: Column


@dataclass(frozen=True, slots=True)
class Ask:
    """A question and its gold query."""

    text: str
    columns: Sequence[str]
    sql: str
    order: str = ""
    """"" for any."""
    scopes: Sequence[Scope] = ()
    """What the query looks at."""
    drafts: Sequence[str] = ()
    """Parts of the query that somebody careful runs first."""
    unrounded: str = ""
    """The query without its rounding, where it rounds."""

    @property
    def prompt(self) -> str:
        """The question with the columns and the order that are wanted."""
        return f"{self.text}\nColumns: {'; '.join(self.columns)}.\nOrder of the rows: {self.order or 'any'}."


class Scope:
    """The rows of a role, joined to what they point to, narrowed by conditions."""

    def __init__(self, draws: Draws, schema: Schema, base: Role, suffix: str = "") -> None:
        """`suffix` parts the aliases of one scope from those of another in the same query."""
        self.draws, self.schema, self.suffix = draws, schema, suffix
        self.base: Role = base
        self.joined: list[Role] = []
        self.conditions: list[tuple[str, str]] = []
        """(English after the noun, SQL)."""
        self.used: set[tuple[Role, str]] = set()

    @property
    def table(self) -> Table:
        return self.schema.tables[self.base]

    @property
    def roles(self) -> Sequence[Role]:
        return (self.base, *self.joined)

    def alias(self, role: Role) -> str:
        return _ALIASES[role] + self.suffix

    def key(self, role: Role | None = None) -> str:
        """SQL of the primary key."""
        role = self._joined(role or self.base)
        return f"{self.alias(role)}.{self.schema.tables[role].key}"

    def id_term(self, role: Role | None = None) -> Term:
        role = role or self.base
        table = self.schema.tables[role]
        return Term(f"{table.singular} key", self.key(role), table.columns[0])

    def fresh(self, role: Role) -> list[Column]:
        """Columns with a meaning that are not used yet."""
        columns = self.schema.tables[role].columns
        return [c for c in columns if c.attribute is not None and (role, c.name) not in self.used]

    def column(self, role: Role, *kinds: Kind) -> Column:
        """A column of these kinds, a fresh one where there is one."""
        fresh = [c for c in self.fresh(role) if c.kind in kinds]
        return self.draws.pick(
            fresh or [c for c in self.schema.tables[role].columns if c.attribute is not None and c.kind in kinds]
        )

    def term(self, role: Role, *kinds: Kind, column: Column | None = None) -> Term:
        """A value of the row or of what it points to, as an output."""
        column = column or self.column(role, *kinds)
        self.used.add((role, column.name))
        form = {"case": " (in lower case, without surrounding spaces)", "dates": " (as YYYY-MM-DD)", "code": " (the code)"}
        return Term(self._whose(role) + column.phrase + form.get(column.trap, ""), self._sql(role, column), column)

    def known(self, term: Term) -> Term:
        """The same, and rows that miss it are left out."""
        if term.column.missing:
            self.conditions.append((f"whose {term.text.partition(' (')[0]} is known", f"{term.sql} IS NOT NULL"))
        return term

    def narrow(self, role: Role | None = None, *kinds: Kind) -> None:
        """One more condition, on a column of that role that is not used yet; none where all are."""
        role = role or self.base
        fresh = [c for c in self.fresh(role) if c.kind in (kinds or _FILTERS)]
        if not fresh:
            return
        column = self.draws.pick([*fresh, *(c for c in fresh if c.kind == "choice")])
        self.used.add((role, column.name))
        text, sql = self._condition(column, self._sql(role, column))
        self.conditions.append((f"whose {self._whose(role)}{column.phrase} {text}", sql))

    def noun(self) -> str:
        return " ".join([self.table.plural, " and ".join(text for text, _ in self.conditions)]).strip()

    def tables(self) -> str:
        """The FROM clause without its keyword."""
        parts = [f"{self.table.name} AS {self.alias(self.base)}"]
        for role in self.joined:
            child = self._parent_of(role)
            link = f"{self.alias(child)}.{self.schema.tables[child].link(role).name}"
            parts.append(f"JOIN {self.schema.tables[role].name} AS {self.alias(role)} ON {self.key(role)} = {link}")
        return " ".join(parts)

    def where(self, *more: str) -> str:
        """ "" where there are no conditions."""
        every = [*more, *(sql for _, sql in self.conditions)]
        return f" WHERE {' AND '.join(every)}" if every else ""

    def source(self, *more: str) -> str:
        return f"FROM {self.tables()}{self.where(*more)}"

    def _joined(self, role: Role) -> Role:
        for step in _PATHS.get((self.base, role), ()):
            if step not in self.joined:
                self.joined.append(step)
        return role

    def _parent_of(self, role: Role) -> Role:
        """From which table the join to `role` starts."""
        path = (self.base, *_PATHS[self.base, role])
        return path[path.index(role) - 1]

    def _sql(self, role: Role, column: Column) -> str:
        return column.clean(self.alias(self._joined(role)))

    def _whose(self, role: Role) -> str:
        return "".join(f"{self.schema.tables[step].singular}'s " for step in _PATHS.get((self.base, role), ()))

    def _condition(self, column: Column, sql: str) -> tuple[str, str]:
        attribute, draws = column.attribute, self.draws
        assert attribute is not None
        if column.kind == "choice":
            return self._choice(column, attribute.values, sql)
        if column.kind == "date":
            year = 2021 + draws.below(3)
            if draws.uniform() < 0.5:
                return f"is in {year}", f"substr({sql}, 1, 4) = '{year}'"
            text, sign = draws.pick((("on or after", ">="), ("before", "<")))
            day = f"{year}-{4 + draws.below(6):02d}-{1 + draws.below(28):02d}"
            return f"is {text} {day}", f"{sql} {sign} '{day}'"
        steps = (attribute.high - attribute.low) // attribute.step
        at = attribute.low + attribute.step * (steps // 4 + draws.below(max(1, steps // 2)))
        if draws.uniform() < 0.25:
            to = min(attribute.high, at + attribute.step * max(2, steps // 3))
            low, high = _number(column, at), _number(column, to)
            return f"is from {low} to {high} (both included)", f"{sql} BETWEEN {low} AND {high}"
        text, sign = draws.pick(_COMPARED)
        return f"is {text} {_number(column, at)}", f"{sql} {sign} {_number(column, at)}"

    def _choice(self, column: Column, values: Sequence[str], sql: str) -> tuple[str, str]:
        one, two, *_ = self.draws.shuffled(values)
        first, second = column.stored(one), column.stored(two)
        how = self.draws.uniform()
        if how < 0.6:
            return f"is '{one}'", f"{sql} = '{first}'"
        if how < 0.8:
            return f"is '{one}' or '{two}'", f"{sql} IN ('{first}', '{second}')"
        return f"is not '{one}'", f"{sql} <> '{first}'"


def _number(column: Column, value: int) -> str:
    return f"{value / 4:g}" if column.kind == "real" else str(value)


def listed(terms: Iterable[Term]) -> str:
    """The SQL of several outputs."""
    return ", ".join(term.sql for term in terms)
