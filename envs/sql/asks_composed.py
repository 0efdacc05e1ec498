"""Level 6: several steps, each on the result of the one before."""

from __future__ import annotations

from collections.abc import Sequence

from turnwise.envs.draws import Draws
from turnwise.envs.sql.asks_rows import Recipe, joined_scope, narrowed
from turnwise.envs.sql.domains import Role
from turnwise.envs.sql.schema import Schema
from turnwise.envs.sql.scope import Ask, Scope

__all__ = ["COMPOSED"]


def _other(role: Role) -> Role:
    return "entity" if role == "person" else "person"


def _best(draws: Draws, schema: Schema) -> Ask:
    """The best owner of each group, by the total of its events."""
    role: Role = draws.pick(("person", "entity"))
    scope = Scope(draws, schema, "event")
    label, owner = scope.known(scope.term(role, "choice")), scope.id_term(role)
    narrowed(scope, own=draws.below(2), far=1).narrow(_other(role))
    value = scope.known(scope.term("event", "number"))
    totals = f"SELECT {label.sql} AS label, {owner.sql} AS owner, sum({value.sql}) AS total {scope.source()} GROUP BY 1, 2"
    places = "SELECT label, owner, total, row_number() OVER (PARTITION BY label ORDER BY total DESC, owner) AS place FROM totals"
    query = f"WITH totals AS ({totals}), places AS ({places}) SELECT label, owner, total FROM places WHERE place = 1"
    noun = schema.tables[role].singular
    text = (
        f"For each {label.text} of {schema.tables[role].plural}: which {noun} has the largest total {value.text} "
        f"over the {scope.noun()}? Where several have it, the one with the smallest {owner.text}."
    )
    return Ask(text, [label.text, owner.text, f"total {value.text}"], query, scopes=[scope], drafts=[totals])


def _average_count(draws: Draws, schema: Schema) -> Ask:
    """Groups of owners, by how many events each of them has, none included."""
    role: Role = draws.pick(("person", "entity"))
    owners = joined_scope(draws, schema, role, own=0, far=0)
    label, owner = owners.known(owners.term(role, "choice")), owners.id_term()
    owners.narrow(role, "number", "real", "date")
    inner = joined_scope(draws, schema, "event", own=draws.below(2), far=0)
    inner.narrow(_other(role))
    link = f"{inner.alias('event')}.{inner.table.link(role).name}"
    counts = (
        f"SELECT {owner.sql} AS owner, {label.sql} AS label, (SELECT count(*) {inner.source(f'{link} = {owner.sql}')}) AS n "
        f"{owners.source()}"
    )
    query = f"WITH counts AS ({counts}) SELECT label, count(*), avg(n) FROM counts GROUP BY label"
    noun = schema.tables[role]
    average = f"the average number of these {inner.table.plural} per {noun.singular} (not rounded)"
    text = (
        f"Count for each of the {owners.noun()} the {inner.noun()}, 0 where there is none. "
        f"Then for each {label.text}: the number of these {noun.plural} and {average}."
    )
    columns = [label.text, f"the number of {noun.plural}", average]
    return Ask(text, columns, query, scopes=[owners, inner], drafts=[counts])


def _by_period(draws: Draws, schema: Schema) -> Ask:
    """Totals of months or years, and how they change."""
    scope = joined_scope(draws, schema, "event", own=draws.below(2), far=0)
    scope.narrow("person")
    scope.narrow(draws.pick(("entity", "group")))
    date, value = scope.term("event", "date"), scope.known(scope.term("event", "number"))
    totals = f"SELECT substr({date.sql}, 1, 7) AS month, sum({value.sql}) AS total {scope.source()} GROUP BY 1"
    query = f"WITH totals AS ({totals}) SELECT month, total, total - lag(total) OVER (ORDER BY month) FROM totals"
    plain = date.text.partition(" (")[0]
    text = (
        f"For each month of the {plain} in which there are any of the {scope.noun()}: their total {value.text}, and by how much "
        "it is larger than that of the month before it in this list (negative if smaller, NULL for the first)."
    )
    columns = [f"the month of the {plain} (YYYY-MM)", f"total {value.text}", "the change"]
    return Ask(text, columns, query, scopes=[scope], drafts=[totals])


def _above_peers(draws: Draws, schema: Schema) -> Ask:
    """Owners that have more events than the average owner of their group."""
    role: Role = draws.pick(("person", "entity"))
    scope = Scope(draws, schema, "event")
    label, owner = scope.known(scope.term(role, "choice")), scope.id_term(role)
    narrowed(scope, own=draws.below(2), far=0).narrow(_other(role))
    counts = f"SELECT {owner.sql} AS owner, {label.sql} AS label, count(*) AS n {scope.source()} GROUP BY 1, 2"
    query = (
        f"WITH counts AS ({counts}), averages AS (SELECT label, avg(n) AS mean FROM counts GROUP BY label) "
        "SELECT c.owner, c.label, c.n FROM counts AS c JOIN averages AS a ON a.label = c.label WHERE c.n > a.mean"
    )
    noun, plural = schema.tables[role], scope.table.plural
    text = (
        f"Count the {scope.noun()} for each {noun.singular} that has any. Which {noun.plural} have more of them than the average "
        f"of such {noun.plural} with the same {label.column.phrase}?"
    )
    columns = [owner.text, label.text, f"the number of these {plural}"]
    return Ask(text, columns, query, scopes=[scope], drafts=[counts])


def _changed_top(draws: Draws, schema: Schema) -> Ask:
    """Owners among the first few by one count and not by another."""
    role: Role = draws.pick(("person", "entity"))
    one, two = Scope(draws, schema, "event"), Scope(draws, schema, "event")
    one.narrow()
    two.used |= one.used
    two.narrow()
    two.narrow(_other(role))
    most = 4 + draws.below(4)
    word, form = draws.pick((("INTERSECT", "and also"), ("EXCEPT", "but not")))
    owner = one.id_term(role)
    two.id_term(role)
    tops = [
        f"SELECT {owner.sql} AS owner {s.source()} GROUP BY {owner.sql} ORDER BY count(*) DESC, {owner.sql} LIMIT {most}"
        for s in (one, two)
    ]
    query = f"WITH one AS ({tops[0]}), two AS ({tops[1]}) SELECT owner FROM one {word} SELECT owner FROM two"
    noun = schema.tables[role].plural
    text = (
        f"Which {noun} are among the first {most} by the number of {one.noun()}, {form} among the first {most} by the number of "
        f"{two.noun()}? In both lists the largest number comes first, equal ones by {owner.text} from smallest to largest, and "
        f"{noun} with none are in neither."
    )
    return Ask(text, [owner.text], query, scopes=[one, two], drafts=tops)


def _cumulative(draws: Draws, schema: Schema) -> Ask:
    """Groups by total, and which share the largest of them make up together."""
    scope = Scope(draws, schema, "event")
    label = scope.known(scope.term(draws.pick(("person", "entity", "group")), "choice"))
    narrowed(scope, own=draws.below(2), far=0)
    scope.narrow("person")
    scope.narrow("entity")
    value = scope.known(scope.term("event", "number"))
    scope.conditions.append((f"whose {value.column.phrase} is above 0", f"{value.sql} > 0"))
    totals = f"SELECT {label.sql} AS label, sum({value.sql}) AS total {scope.source()} GROUP BY 1"
    running = "sum(total) OVER (ORDER BY total DESC, label ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    query = f"WITH totals AS ({totals}) SELECT label, total, {running} * 1.0 / sum(total) OVER () FROM totals"
    share = "the part of the total of all groups that this group and those before it make up (from 0 to 1, not rounded)"
    text = (
        f"Add up the {value.text} of the {scope.noun()} for each {label.text}. Put the groups in order, the largest total first, "
        f"equal ones by {label.column.phrase} in alphabetical order. For each group: {share}."
    )
    columns = [label.text, f"total {value.text}", "that part"]
    return Ask(text, columns, query, scopes=[scope], drafts=[totals])


COMPOSED: Sequence[Recipe] = (_best, _average_count, _by_period, _above_peers, _changed_top, _cumulative)
