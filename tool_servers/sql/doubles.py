"""Queries close to a gold query that mean something else: what a good set of databases must tell apart from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import exp

from turnwise.tool_servers.sql.order import parsed

__all__ = ["doubles", "literals"]

_SWAPS: dict[type[exp.Expr], tuple[type[exp.Expr], ...]] = {
    exp.LT: (exp.LTE, exp.GT),
    exp.LTE: (exp.LT, exp.GTE),
    exp.GT: (exp.GTE, exp.LT),
    exp.GTE: (exp.GT, exp.LTE),
    exp.EQ: (exp.NEQ,),
    exp.NEQ: (exp.EQ,),
    exp.And: (exp.Or,),
    exp.Or: (exp.And,),
    exp.Add: (exp.Sub,),
    exp.Sub: (exp.Add,),
}
_AGGREGATES: tuple[type[exp.AggFunc], ...] = (exp.Sum, exp.Avg, exp.Min, exp.Max, exp.Count)
_MOST = 60


def literals(sql: str, dialect: str = "sqlite") -> list[Any]:
    """The constants of a query: ints, floats and texts."""
    found: list[Any] = []
    for literal in parsed(sql, dialect).find_all(exp.Literal):
        text = literal.name
        found.append(text if literal.is_string else int(text) if literal.is_int else float(text))
    return found


def doubles(sql: str, dialect: str = "sqlite") -> list[str]:
    """At most 60 queries, each one small change away: an operator, a constant, a condition, an aggregate, DISTINCT, a join."""
    tree = parsed(sql, dialect)
    found = dict.fromkeys(double.sql(dialect=dialect) for double in _changed(tree))
    found.pop(tree.sql(dialect=dialect), None)
    return list(found)[:_MOST]


def _changed(tree: exp.Query) -> Iterator[exp.Expr]:
    count = sum(1 for _ in tree.walk())
    for index in range(count):
        for version in range(4):
            copy = tree.copy()
            node = next(n for i, n in enumerate(copy.walk()) if i == index)
            if not _change(node, version):
                break
            yield copy


def _change(node: exp.Expr, version: int) -> bool:
    """Make the change of that number at this node; False when there are no more."""
    changes = [*_replacements(node)]
    if version >= len(changes):
        return False
    key, value = changes[version]
    if key:
        node.set(key, value)
    elif value is not None:
        node.replace(value)
    return True


def _replacements(node: exp.Expr) -> Iterator[tuple[str, Any]]:
    """(argument, value) to set at the node, or ("", a node in its place)."""
    kind = type(node)
    for other in _SWAPS.get(kind, ()):
        yield "", other(this=node.this.copy(), expression=node.expression.copy())
    if kind in (exp.And, exp.Or):
        yield "", node.this.copy()
        yield "", node.expression.copy()
    if kind in _AGGREGATES and not isinstance(node.this, exp.Star | exp.Distinct):
        yield "", (exp.Max if kind is not exp.Max else exp.Min)(this=node.this.copy())
        yield "", exp.Sum(this=node.this.copy()) if kind is not exp.Sum else exp.Count(this=node.this.copy())
    if kind is exp.Count and isinstance(node.this, exp.Distinct):
        yield "", exp.Count(this=node.this.expressions[0].copy())
    if kind is exp.Select:
        yield "distinct", None if node.args.get("distinct") else exp.Distinct()
        if node.args.get("where"):
            yield "where", None
        if node.args.get("having"):
            yield "having", None
    if kind is exp.Join and node.args.get("side"):
        yield "side", None
    elif kind is exp.Join:
        yield "side", "LEFT"
    if kind is exp.Ordered:
        yield "desc", not node.args.get("desc")
    if kind is exp.Literal and node.args.get("is_string") is False and node.name.isdigit():
        yield "", exp.Literal.number(int(node.name) + 1)
