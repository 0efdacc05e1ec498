"""What order a gold query asks for, read from its syntax tree: only an ORDER BY of the outermost SELECT counts.

It reads gold queries, which are trusted; it is no wall against a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from turnwise.errors import ConfigError

__all__ = ["Plan", "parsed", "plan_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows of a gold query are ordered and cut, and the query that tells ties."""

    ordered: bool
    limited: bool
    offset: int = 0
    unlimited: str = ""
    """The query without its outermost LIMIT, its sort keys appended as columns; "" where that cannot be written."""
    keys: tuple[int, ...] = ()
    """Places of the sort keys in a row of `unlimited`; negative from the end."""


def parsed(sql: str, dialect: str = "sqlite") -> exp.Query:
    """The one SELECT of the text; ConfigError otherwise."""
    try:
        trees = sqlglot.parse(sql, dialect=dialect)
    except (SqlglotError, RecursionError) as error:
        raise ConfigError(f"gold query: sqlglot cannot read it: {str(error).splitlines()[0]} Query: {sql[:200]}") from None
    tree = trees[0] if len(trees) == 1 else None
    while isinstance(tree, exp.Subquery) and not tree.args.get("order") and not tree.args.get("limit"):
        tree = tree.this
    if not isinstance(tree, exp.Query):
        raise ConfigError(f"gold query: expected one SELECT, got {sql[:200]!r}.")
    return tree


def plan_of(sql: str, dialect: str = "sqlite") -> Plan:
    """Read a gold query. ConfigError if it is not one SELECT."""
    tree = parsed(sql, dialect)
    order, limit, offset = tree.args.get("order"), tree.args.get("limit"), tree.args.get("offset")
    limited, ordered = bool(limit or offset), bool(order)
    start = _integer(offset.expression) if offset else 0
    if start is None or (limit is not None and not isinstance(limit, exp.Limit)):
        return Plan(ordered, limited)
    bare = tree.copy()
    for part in ("limit", "offset", "order"):
        bare.set(part, None)
    keys = _with_keys(tree, bare, [o.this if isinstance(o, exp.Ordered) else o for o in order.expressions] if order else [])
    if keys is None:
        return Plan(ordered, limited, start)
    if order:
        bare.set("order", order.copy())
    return Plan(ordered, limited, start, bare.sql(dialect=dialect), keys)


def _with_keys(tree: exp.Query, bare: exp.Query, keys: list[exp.Expr]) -> tuple[int, ...] | None:
    """Append the keys to the columns of `bare`; where that would change its meaning, name columns that are there."""
    outputs = tree.selects
    starred = any(column.is_star for column in outputs)
    if isinstance(bare, exp.Select) and not bare.args.get("distinct"):
        found = [_expression(key, outputs, starred) for key in keys]
        if None in found:
            return None
        bare.set("expressions", [*bare.expressions, *(e.copy() for e in found if e is not None)])
        return tuple(range(-len(keys), 0))
    places = [_place(key, outputs) for key in keys]
    return None if starred or None in places else tuple(p for p in places if p is not None)


def _expression(key: exp.Expr, outputs: list[exp.Expr], starred: bool) -> exp.Expr | None:
    """What a key stands for: an ordinal or a name of an output becomes that output's expression."""
    if isinstance(key, exp.Collate) and key.expression.name.upper() == "NOCASE":
        inner = _expression(key.this, outputs, starred)
        return inner and exp.Lower(this=inner.copy())
    if _integer(key) is not None and starred:
        return None
    place = _place(key, outputs)
    if place is not None:
        return outputs[place].unalias()
    names = {column.alias.lower() for column in outputs if column.alias}
    inside = any(not c.table and c.name.lower() in names for c in key.find_all(exp.Column))
    return None if inside or _integer(key) is not None else key


def _place(key: exp.Expr, outputs: list[exp.Expr]) -> int | None:
    ordinal = _integer(key)
    if ordinal is not None:
        return ordinal - 1 if 0 < ordinal <= len(outputs) else None
    if isinstance(key, exp.Column) and not key.table:
        named = [i for i, column in enumerate(outputs) if column.alias_or_name.lower() == key.name.lower()]
        if named:
            return named[0]
    return next((i for i, column in enumerate(outputs) if column.unalias() == key), None)


def _integer(tree: exp.Expr) -> int | None:
    return int(tree.name) if isinstance(tree, exp.Literal) and tree.is_int else None
