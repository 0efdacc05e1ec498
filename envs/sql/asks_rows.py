"""Levels 1 and 2: rows, values and single numbers of one table, or of tables joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from turnwise.envs.draws import Draws
from turnwise.envs.sql.domains import Role
from turnwise.envs.sql.schema import Schema
from turnwise.envs.sql.scope import Ask, Scope, Term, listed

__all__ = ["JOINED", "REACH", "SINGLE", "Measure", "Recipe", "drawn_measure", "falling", "joined_scope", "narrowed"]

Recipe = Callable[[Draws, Schema], Ask]
REACH: Mapping[Role, Sequence[Role]] = {"group": (), "entity": ("group",), "person": (), "event": ("person", "entity", "group")}
"""Role -> what its rows can be joined to, each by one key."""
_OWN: Sequence[Role] = ("entity", "person", "event")
_CHILDREN: Sequence[Role] = ("entity", "event", "event")


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of several rows."""

    text: str
    sql: str
    unrounded: str = ""


def drawn_measure(scope: Scope) -> Measure:
    """The sum, average, least or largest of a number of the base's rows."""
    term = scope.term(scope.base, "number", "real")
    kind = scope.draws.below(5)
    if kind == 0 and "year of" not in term.text:
        return Measure(f"total {term.text}", f"sum({term.sql})")
    if kind <= 1:
        return Measure(f"smallest {term.text}", f"min({term.sql})")
    if kind == 2:
        return Measure(f"largest {term.text}", f"max({term.sql})")
    if kind == 3 or term.column.kind == "real":  # quarters lie at the edge of rounding too often
        return Measure(f"average {term.text} (not rounded)", f"avg({term.sql})")
    average = f"avg({term.sql})"
    return Measure(f"average {term.text} (rounded to 2 decimals)", f"round({average}, 2)", average)


def falling(term: Term, key: Term) -> tuple[str, str]:
    """(English, SQL) of an order by a number, the largest first, that leaves nothing open."""
    plain = term.text.partition(" (")[0]
    return (
        f"by {plain} from largest to smallest, equal ones by {key.text} from smallest to largest",
        f"{term.sql} DESC, {key.sql}",
    )


def joined_scope(draws: Draws, schema: Schema, base: Role, *, own: int = 1, far: int = 1, suffix: str = "") -> Scope:
    """Rows narrowed by `own` conditions on themselves and `far` on what they point to."""
    return narrowed(Scope(draws, schema, base, suffix), own=own, far=far)


def narrowed(scope: Scope, *, own: int, far: int) -> Scope:
    """The scope itself, after more conditions; columns that it uses already, to group by them say, are left alone."""
    for _ in range(own):
        scope.narrow()
    for _ in range(far):
        scope.narrow(scope.draws.pick(REACH[scope.base]))
    return scope


def _drawn(draws: Draws, schema: Schema, joined: bool) -> Scope:
    if not joined:
        base = draws.pick(_OWN)
        return joined_scope(draws, schema, base, own=2 + (base == "event"), far=0)
    return joined_scope(draws, schema, draws.pick(_CHILDREN))


def _labels(scope: Scope, joined: bool) -> list[Term]:
    """What tells rows apart: their key, a name or date, and something of what they point to."""
    terms = [scope.id_term(), scope.term(scope.base, "date" if scope.base == "event" else "name")]
    if joined:
        reach: Sequence[Role] = [role for role in REACH[scope.base] if role in scope.joined]
        terms.append(scope.term(scope.draws.pick(reach), "name"))
    return terms


def _rows(draws: Draws, schema: Schema, joined: bool) -> Ask:
    scope = _drawn(draws, schema, joined)
    terms = _labels(scope, joined)
    order = sql = ""
    if draws.uniform() < 0.5:
        by = scope.known(scope.term(scope.base, "number"))
        terms.append(by)
        order, sql = falling(by, terms[0])
        sql = f" ORDER BY {sql}"
    query = f"SELECT {listed(terms)} {scope.source()}{sql}"
    return Ask(f"List the {scope.noun()}.", [t.text for t in terms], query, order, [scope])


def _top(draws: Draws, schema: Schema, joined: bool) -> Ask:
    scope = _drawn(draws, schema, joined)
    by = scope.known(scope.term(scope.base, "number", "real"))
    terms = [*_labels(scope, joined), by]
    count = 3 + draws.below(4)
    order, sql = falling(by, terms[0])
    query = f"SELECT {listed(terms)} {scope.source()} ORDER BY {sql} LIMIT {count}"
    text = f"List the first {count} of the {scope.noun()}, sorted as said below (fewer if there are not so many)."
    return Ask(text, [t.text for t in terms], query, order, [scope])


def _count(draws: Draws, schema: Schema, joined: bool) -> Ask:
    scope = _drawn(draws, schema, joined)
    query = f"SELECT count(*) {scope.source()}"
    return Ask(f"How many {scope.noun()} are there?", [f"the number of {scope.table.plural}"], query, scopes=[scope])


def _measure(draws: Draws, schema: Schema, joined: bool) -> Ask:
    scope = _drawn(draws, schema, joined)
    measure = drawn_measure(scope)
    source = scope.source()
    unrounded = measure.unrounded and f"SELECT {measure.unrounded} {source}"
    text = f"What is the {measure.text} of the {scope.noun()}?"
    return Ask(text, [measure.text], f"SELECT {measure.sql} {source}", scopes=[scope], unrounded=unrounded)


def _values(draws: Draws, schema: Schema, joined: bool) -> Ask:
    base: Role = draws.pick(_CHILDREN) if joined else draws.pick(("entity", "person"))
    scope = Scope(draws, schema, base)
    value = scope.known(scope.term(draws.pick(("person", "group")) if base == "event" else base, "choice"))
    narrowed(scope, own=1 + (not joined), far=joined + (base == "event"))
    query = f"SELECT DISTINCT {value.sql} {scope.source()}"
    return Ask(
        f"Which values of the {value.text} occur among the {scope.noun()}? Each once.", [value.text], query, scopes=[scope]
    )


def _owners(draws: Draws, schema: Schema) -> Ask:
    scope = joined_scope(draws, schema, "event", own=1 + draws.below(2))
    role: Role = draws.pick(("person", "entity"))
    owner = schema.tables[role]
    terms = [scope.id_term(role), scope.term(role, "name")]
    query = f"SELECT DISTINCT {listed(terms)} {scope.source()}"
    text = f"Which {owner.plural} have at least one of the {scope.noun()}? Each {owner.singular} once."
    return Ask(text, [t.text for t in terms], query, scopes=[scope])


def _number_of_owners(draws: Draws, schema: Schema) -> Ask:
    scope = joined_scope(draws, schema, "event", own=1 + draws.below(2))
    role: Role = draws.pick(("person", "entity"))
    owner = schema.tables[role]
    query = f"SELECT count(DISTINCT {scope.id_term(role).sql}) {scope.source()}"
    text = f"How many different {owner.plural} have at least one of the {scope.noun()}?"
    return Ask(text, [f"the number of {owner.plural}"], query, scopes=[scope])


def _with(recipe: Callable[[Draws, Schema, bool], Ask], joined: bool) -> Recipe:
    return lambda draws, schema: recipe(draws, schema, joined)


_EITHER = (_rows, _top, _count, _measure, _values)
SINGLE: Sequence[Recipe] = [_with(recipe, joined=False) for recipe in _EITHER]
JOINED: Sequence[Recipe] = [*(_with(recipe, joined=True) for recipe in _EITHER), _owners, _number_of_owners]
