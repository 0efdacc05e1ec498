"""Level 4: queries inside queries."""

from __future__ import annotations

from collections.abc import Sequence

from turnwise.envs.draws import Draws
from turnwise.envs.sql.asks_rows import Recipe, joined_scope, narrowed
from turnwise.envs.sql.domains import Role
from turnwise.envs.sql.schema import Schema
from turnwise.envs.sql.scope import Ask, Scope, Term, listed

__all__ = ["NESTED"]


def _labels(scope: Scope) -> list[Term]:
    return [scope.id_term(), scope.term(scope.base, "date" if scope.base == "event" else "name")]


def _above_average(draws: Draws, schema: Schema) -> Ask:
    """Above the average of other rows, narrowed otherwise."""
    base: Role = draws.pick(("entity", "event"))
    scope, inner = Scope(draws, schema, base), Scope(draws, schema, base, "2")
    column = scope.column(base, "number")
    value, other = scope.term(base, column=column), inner.term(base, column=column)
    narrowed(scope, own=1, far=1)
    narrowed(inner, own=1, far=1)
    average = f"SELECT avg({other.sql}) {inner.source()}"
    terms = [*_labels(scope), value]
    query = f"SELECT {listed(terms)} {scope.source(f'{value.sql} > ({average})')}"
    text = f"List those of the {scope.noun()} with a {value.text} above the average {other.text} of the {inner.noun()}."
    return Ask(text, [t.text for t in terms], query, scopes=[scope, inner], drafts=[average])


def _above_own_kind(draws: Draws, schema: Schema) -> Ask:
    """Above the average of the rows of the same kind: a correlated query."""
    base: Role = draws.pick(("entity", "event"))
    scope, inner = Scope(draws, schema, base), Scope(draws, schema, base, "2")
    kind, number = scope.column(base, "choice"), scope.column(base, "number")
    label, value = scope.known(scope.term(base, column=kind)), scope.term(base, column=number)
    narrowed(scope, own=0, far=1)
    same, other = inner.term(base, column=kind), inner.term(base, column=number)
    average = f"SELECT avg({other.sql}) FROM {inner.tables()} WHERE {same.sql} = {label.sql}"
    terms = [scope.id_term(), label, value]
    query = f"SELECT {listed(terms)} {scope.source(f'{value.sql} > ({average})')}"
    text = (
        f"List those of the {scope.noun()} with a {value.text} above the average {value.text} "
        f"of all {scope.table.plural} with the same {kind.phrase}."
    )
    draft = f"SELECT {same.sql}, avg({other.sql}) FROM {inner.tables()} GROUP BY {same.sql}"
    return Ask(text, [t.text for t in terms], query, scopes=[scope, inner], drafts=[draft])


def _without(draws: Draws, schema: Schema) -> Ask:
    """Owners with no row that meets conditions."""
    pairs: Sequence[tuple[Role, Role]] = (("person", "event"), ("entity", "event"), ("group", "entity"))
    role, child = draws.pick(pairs)
    scope = joined_scope(draws, schema, role, own=draws.below(2), far=0)
    inner = joined_scope(draws, schema, child, own=1, far=0)
    if child == "event" and draws.uniform() < 0.6:
        inner.narrow("person" if role == "entity" else "entity")
    terms = _labels(scope)
    alias = inner.alias(child)
    link = f"{alias}.{inner.table.link(role).name}"
    inside = inner.source(f"{link} = {terms[0].sql}")
    query = f"SELECT {listed(terms)} {scope.source(f'NOT EXISTS (SELECT 1 {inside})')}"
    text = f"Which {scope.noun()} have none of the {inner.noun()}?"
    return Ask(text, [t.text for t in terms], query, scopes=[scope, inner], drafts=[f"SELECT DISTINCT {link} {inner.source()}"])


def _most(draws: Draws, schema: Schema) -> Ask:
    """All owners that share the largest count."""
    role: Role = draws.pick(("person", "entity"))
    scope = joined_scope(draws, schema, "event", own=draws.below(2))
    owner = schema.tables[role]
    terms = [scope.id_term(role), scope.term(role, "name")]
    counts = f"SELECT count(*) AS n {scope.source()} GROUP BY {terms[0].sql}"
    query = (
        f"SELECT {listed(terms)}, count(*) {scope.source()} GROUP BY {listed(terms)} "
        f"HAVING count(*) = (SELECT max(n) FROM ({counts}) AS counted)"
    )
    count = f"the number of these {scope.table.plural}"
    text = f"Which {owner.singular} has the most of the {scope.noun()}? All of them where several share the largest number."
    return Ask(text, [*(t.text for t in terms), count], query, scopes=[scope], drafts=[counts])


def _latest(draws: Draws, schema: Schema) -> Ask:
    """The last event of each owner."""
    role: Role = draws.pick(("person", "entity"))
    scope = Scope(draws, schema, "event")
    scope.narrow()
    scope.narrow(role)
    owner, terms = schema.tables[role], [scope.id_term(role), scope.id_term(), scope.term("event", "date")]
    those = f"SELECT {terms[0].sql} AS owner, {terms[1].sql} AS event, {terms[2].sql} AS day {scope.source()}"
    later = "u.day > t.day OR (u.day = t.day AND u.event > t.event)"
    query = (
        f"WITH those AS ({those}) SELECT t.owner, t.event, t.day FROM those AS t "
        f"WHERE NOT EXISTS (SELECT 1 FROM those AS u WHERE u.owner = t.owner AND ({later}))"
    )
    text = (
        f"For each {owner.singular} that has any of the {scope.noun()}: the latest of them; "
        f"where several have the latest date, the one with the largest {terms[1].text}."
    )
    return Ask(text, [t.text for t in terms], query, scopes=[scope], drafts=[those])


def _share(draws: Draws, schema: Schema) -> Ask:
    """The part of each group that meets a condition."""
    part = Scope(draws, schema, "event")
    part.narrow("event", "choice", "number")
    ((text, condition),) = part.conditions
    scope = Scope(draws, schema, "event")
    scope.used |= part.used
    role: Role = draws.pick(("person", "entity"))
    key = scope.known(scope.term(role, "choice"))
    scope.narrow(draws.pick(("person", "entity", "group")))
    plural = scope.table.plural
    query = f"SELECT {key.sql}, avg(CASE WHEN {condition} THEN 1.0 ELSE 0.0 END) {scope.source()} GROUP BY {key.sql}"
    share = f"the share of {plural} {text} (a fraction from 0 to 1, not rounded)"
    asked = f"For each {key.text} among the {scope.noun()}: {share} among all {plural} of the group."
    draft = f"SELECT {key.sql}, count(*) {scope.source(condition)} GROUP BY {key.sql}"
    return Ask(asked, [key.text, share], query, scopes=[scope, part], drafts=[draft])


NESTED: Sequence[Recipe] = (_above_average, _above_own_kind, _without, _most, _latest, _share)
