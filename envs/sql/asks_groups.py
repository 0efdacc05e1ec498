"""Level 3: groups, what is known of each, and which of them are wanted."""

from __future__ import annotations

from collections.abc import Sequence

from turnwise.envs.draws import Draws
from turnwise.envs.sql.asks_rows import REACH, Measure, Recipe, drawn_measure, joined_scope, narrowed
from turnwise.envs.sql.domains import Role
from turnwise.envs.sql.schema import Schema
from turnwise.envs.sql.scope import Ask, Scope, Term, listed

__all__ = ["GROUPED"]


def _group_key(scope: Scope) -> Term:
    """By what rows are grouped: a choice of what they point to, or the year or month of their date."""
    if scope.base == "event" and scope.draws.uniform() < 0.3:
        date = scope.term("event", "date")
        plain = date.text.partition(" (")[0]
        size, form = scope.draws.pick(((4, "year of the {} (YYYY)"), (7, "month of the {} (YYYY-MM)")))
        return Term(form.format(plain), f"substr({date.sql}, 1, {size})", date.column)
    return scope.known(scope.term(scope.draws.pick(REACH[scope.base]), "choice"))


def _measured(scope: Scope, keys: Sequence[Term], count: str, measure: Measure, least: int, text: str) -> Ask:
    """A count and a measure for each group of at least so many rows."""
    head, tail = f"SELECT {listed(keys)}, count(*), ", f" {scope.source()} GROUP BY {listed(keys)} HAVING count(*) >= {least}"
    columns = [*(key.text for key in keys), count, measure.text]
    unrounded = measure.unrounded and f"{head}{measure.unrounded}{tail}"
    return Ask(text, columns, f"{head}{measure.sql}{tail}", scopes=[scope], unrounded=unrounded)


def _per_value(draws: Draws, schema: Schema) -> Ask:
    scope = Scope(draws, schema, draws.pick(("entity", "event", "event")))
    key, measure = _group_key(scope), drawn_measure(scope)
    narrowed(scope, own=1, far=1)
    least, count = 2 + draws.below(2), f"the number of {scope.table.plural}"
    text = (
        f"For each {key.text} among the {scope.noun()}: {count} and their {measure.text}. "
        f"Only groups of at least {least} {scope.table.plural}."
    )
    return _measured(scope, [key], count, measure, least, text)


def _top_values(draws: Draws, schema: Schema) -> Ask:
    scope = Scope(draws, schema, "event")
    key = _group_key(scope)
    narrowed(scope, own=draws.below(2), far=1)
    most, plural = 2 + draws.below(3), scope.table.plural
    query = f"SELECT {key.sql}, count(*) {scope.source()} GROUP BY {key.sql} ORDER BY count(*) DESC, {key.sql} LIMIT {most}"
    plain = key.text.partition(" (")[0]
    text = f"Group the {scope.noun()} by {key.text} and list the first {most} groups, sorted as said below."
    order = f"by the number of {plural} from largest to smallest, equal ones by {plain} in alphabetical order"
    return Ask(text, [key.text, f"the number of {plural}"], query, order, [scope])


def _counted(draws: Draws, schema: Schema) -> Ask:
    role: Role = draws.pick(("person", "entity"))
    scope = joined_scope(draws, schema, "event", own=draws.below(2))
    measure, owner = drawn_measure(scope), schema.tables[role]
    keys = [scope.id_term(role), scope.term(role, "name")]
    count = f"the number of these {scope.table.plural}"
    text = f"Which {owner.plural} have at least 2 of the {scope.noun()}? For each: {count} and their {measure.text}."
    return _measured(scope, keys, count, measure, 2, text)


def _also_none(draws: Draws, schema: Schema) -> Ask:
    """Every owner, also those without any event: the condition on the event belongs into the join."""
    role: Role = draws.pick(("person", "entity"))
    owners = joined_scope(draws, schema, role, own=1, far=0)
    events = joined_scope(draws, schema, "event", own=1 + draws.below(2), far=0)
    number = events.term("event", "number")
    terms = [owners.id_term(), owners.term(role, "name")]
    link = f"{events.alias('event')}.{events.table.link(role).name} = {terms[0].sql}"
    condition = " AND ".join([link, *(sql for _, sql in events.conditions)])
    totals = f"count({events.key()}), coalesce(sum({number.sql}), 0)"
    query = (
        f"SELECT {listed(terms)}, {totals} FROM {owners.tables()} LEFT JOIN {events.tables()} ON {condition}"
        f"{owners.where()} GROUP BY {listed(terms)}"
    )
    text = (
        f"For each of the {owners.noun()}, also for those without any: how many {events.noun()} there are, "
        f"and their total {number.text} (0 where there is none)."
    )
    columns = [*(t.text for t in terms), f"the number of {events.table.plural}", f"total {number.text}"]
    return Ask(text, columns, query, scopes=[owners, events])


GROUPED: Sequence[Recipe] = (_per_value, _top_values, _counted, _also_none)
