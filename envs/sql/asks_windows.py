"""Level 5: windows over rows, and sets of rows."""

from __future__ import annotations

from collections.abc import Sequence

from turnwise.envs.draws import Draws
from turnwise.envs.sql.asks_rows import REACH, Recipe, joined_scope, narrowed
from turnwise.envs.sql.domains import Role
from turnwise.envs.sql.schema import Schema
from turnwise.envs.sql.scope import Ask, Scope, Term, listed

__all__ = ["WINDOWS"]


def _ranked(draws: Draws, schema: Schema) -> Ask:
    """The first few of each group."""
    base: Role = draws.pick(("entity", "event"))
    scope = Scope(draws, schema, base)
    label = scope.known(scope.term(draws.pick((base, *REACH[base])), "choice"))
    narrowed(scope, own=base == "event", far=1 + (base == "event"))
    value, key = scope.known(scope.term(base, "number")), scope.id_term()
    most = 1 + draws.below(3)
    over = f"row_number() OVER (PARTITION BY {label.sql} ORDER BY {value.sql} DESC, {key.sql})"
    ranked = f"SELECT {label.sql} AS label, {over} AS place, {key.sql} AS item, {value.sql} AS amount {scope.source()}"
    query = f"SELECT label, place, item, amount FROM ({ranked}) AS ranked WHERE place <= {most}"
    text = (
        f"Rank the {scope.noun()} within each {label.text} by {value.text}, the largest first, equal ones by {key.text} "
        f"from smallest to largest, and list the first {most} of each {label.column.phrase}."
    )
    columns = [label.text, "the place in that ranking (1 is the first)", key.text, value.text]
    return Ask(text, columns, query, scopes=[scope], drafts=[ranked])


def _chain(scope: Scope) -> tuple[Term, Term, Term]:
    """Narrows events well; their key, their date and a number that is known."""
    narrowed(scope, own=1, far=0)
    scope.narrow("person", "choice")
    scope.narrow("entity")
    return scope.id_term(), scope.term("event", "date"), scope.known(scope.term("event", "number"))


def _running(draws: Draws, schema: Schema) -> Ask:
    scope = Scope(draws, schema, "event")
    key, date, value = _chain(scope)
    over = f"OVER (ORDER BY {date.sql}, {key.sql} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    query = f"SELECT {key.sql}, {date.sql}, {value.sql}, sum({value.sql}) {over} {scope.source()}"
    text = (
        f"Take the {scope.noun()} by {date.text}, the earliest first, equal dates by {key.text} from smallest to largest. "
        f"For each: the running total of the {value.text} up to and including it."
    )
    columns = [key.text, date.text, value.text, "the running total"]
    return Ask(text, columns, query, scopes=[scope], drafts=[f"SELECT {listed((key, date, value))} {scope.source()}"])


def _change(draws: Draws, schema: Schema) -> Ask:
    scope = joined_scope(draws, schema, "event", own=0, far=0)
    role: Role = draws.pick(("person", "entity"))
    other: Role = "entity" if role == "person" else "person"
    scope.narrow(role, "choice")
    scope.narrow(other)
    key, date, value = scope.id_term(), scope.term("event", "date"), scope.known(scope.term("event", "number"))
    owner = scope.id_term(role)
    before = f"lag({value.sql}) OVER (PARTITION BY {owner.sql} ORDER BY {date.sql}, {key.sql})"
    noun = schema.tables[role].singular
    steps = f"SELECT {owner.sql} AS owner, {key.sql} AS item, {value.sql} - {before} AS step {scope.source()}"
    query = f"SELECT owner, item, step FROM ({steps}) AS steps WHERE step IS NOT NULL"
    text = (
        f"Take the {scope.noun()}, for each {noun} in the order of {date.text}, equal dates by {key.text} from smallest to "
        f"largest. By how much is the {value.text} of each larger than that of the one before it of the same {noun} "
        "(negative if smaller)? Leave out those with none before them."
    )
    columns = [owner.text, key.text, f"the change of the {value.text}"]
    return Ask(text, columns, query, scopes=[scope], drafts=[steps])


def _part(draws: Draws, schema: Schema) -> Ask:
    scope = Scope(draws, schema, "event")
    label = scope.known(scope.term(draws.pick(("person", "entity")), "choice"))
    key, _, value = _chain(scope)
    scope.conditions.append((f"whose {value.column.phrase} is above 0", f"{value.sql} > 0"))
    part = f"{value.sql} * 1.0 / sum({value.sql}) OVER (PARTITION BY {label.sql})"
    query = f"SELECT {listed((label, key))}, {part} {scope.source()}"
    share = f"its share of the total {value.text} of its group (a fraction from 0 to 1, not rounded)"
    text = f"Group the {scope.noun()} by {label.text}. For each of them: {share}."
    draft = f"SELECT {label.sql}, sum({value.sql}) {scope.source()} GROUP BY {label.sql}"
    return Ask(text, [label.text, key.text, share], query, scopes=[scope], drafts=[draft])


def _sets(draws: Draws, schema: Schema) -> Ask:
    """Owners with rows of two sorts, of one but not the other, or of either."""
    role: Role = draws.pick(("person", "entity"))
    other: Role = "entity" if role == "person" else "person"
    one = joined_scope(draws, schema, "event", own=1, far=0)
    one.narrow(other)
    two = Scope(draws, schema, "event")
    two.used |= one.used  # so that neither sort is a part of the other
    narrowed(two, own=1, far=0).narrow(other)
    terms = [one.id_term(role), one.term(role, "name")]
    twin = [two.id_term(role), two.term(role, "name")]
    word, form = draws.pick(
        (
            ("INTERSECT", "at least one of the {} and also at least one of the {}"),
            ("EXCEPT", "at least one of the {}, but none of the {}"),
            ("UNION", "at least one of the {}, or at least one of the {}, or both"),
        )
    )
    first, second = f"SELECT {listed(terms)} {one.source()}", f"SELECT {listed(twin)} {two.source()}"
    owner = schema.tables[role]
    text = f"Which {owner.plural} have {form.format(one.noun(), two.noun())}? Each {owner.singular} once."
    return Ask(text, [t.text for t in terms], f"{first} {word} {second}", scopes=[one, two], drafts=[first, second])


WINDOWS: Sequence[Recipe] = (_ranked, _running, _change, _part, _sets, _sets)
