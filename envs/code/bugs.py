"""Bugs as people make them, put into a right program: each is one small change of its syntax tree."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from turnwise.envs.code.guest import decode, encode

__all__ = ["Bug", "bugs_of", "runner_of", "with_bugs"]

MAX_TICKS = 30_000
"""Rounds of loops after which a program with a bug counts as endless."""
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv,
}
_SWAPPED = {"min": "max", "max": "min"}
_one_at_a_time = threading.Lock()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug that could be put into a program of one function."""

    kind: str
    line: int
    node: int
    """Its place in `ast.walk` of the function."""
    choice: int
    """Which of the bugs of that node."""


@dataclass(frozen=True, slots=True)
class _Edit:
    """A bug of a tree."""

    kind: str
    line: int
    apply: Callable[[], None]
    """Changes the tree in place. After it the other edits of the tree still hold, unless they are of the same line."""


def bugs_of(source: str) -> list[Bug]:
    """Every bug that could be put into a program, in the order of its nodes."""
    found = list[Bug]()
    for number, node in enumerate(_nodes(_parsed(source))):
        found += [Bug(edit.kind, edit.line, number, choice) for choice, edit in enumerate(_edits(node))]
    return found


def with_bugs(source: str, chosen: Sequence[Bug]) -> str:
    """The program with some of its `bugs_of`, written as ast.unparse writes."""
    return ast.unparse(_changed(source, chosen)) + "\n"


def _changed(source: str, chosen: Sequence[Bug]) -> ast.Module:
    tree = _parsed(source)
    nodes = _nodes(tree)
    for edit in [_edits(nodes[bug.node])[bug.choice] for bug in chosen]:
        edit.apply()
    return tree


def _nodes(tree: ast.Module) -> list[ast.AST]:
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    return list(ast.walk(function))


def _edits(node: ast.AST) -> list[_Edit]:
    return [*_of_node(node), *_of_block(node), *_of_function(node)]


def _parsed(source: str) -> ast.Module:
    return _alone(lambda: ast.parse(source))


def _alone(work: Callable[[], T]) -> T:
    """CPython 3.11 counts the depth of trees for all threads together (gh-106905): one at a time, and again if others parse."""
    with _one_at_a_time:
        for _ in range(20):
            try:
                return work()
            except SystemError:
                continue
        return work()


def _of_node(node: ast.AST) -> Iterator[_Edit]:
    """Changes within an expression."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        yield _set("comparison", node, node.ops, 0, _COMPARISONS[type(node.ops[0])]())
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
        other = _OPERATORS[type(node.op)]()
        yield _Edit("operator", node.lineno, lambda: setattr(node, "op", other))
    elif isinstance(node, ast.BoolOp):
        other_word = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield _Edit("and for or", node.lineno, lambda: setattr(node, "op", other_word))
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        number = node.value
        yield _Edit("off by one", node.lineno, lambda: setattr(node, "value", number + 1))
        yield _Edit("off by one", node.lineno, lambda: setattr(node, "value", number - 1))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func
        if name.id in _SWAPPED:
            other_name = _SWAPPED[name.id]
            yield _Edit("min for max", node.lineno, lambda: setattr(name, "id", other_name))
        elif name.id == "range":
            last = min(len(node.args) - 1, 1)
            yield _set("ends too early", node, node.args, last, ast.BinOp(node.args[last], ast.Sub(), ast.Constant(1)))
        elif name.id == "reversed":
            yield _Edit("not reversed", node.lineno, lambda: setattr(name, "id", "list"))
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and node.slice.lower and node.slice.upper:
        part = node.slice
        yield _Edit("slice without start", node.lineno, lambda: setattr(part, "lower", None))


def _set(kind: str, node: ast.expr, items: list[Any], place: int, new: Any) -> _Edit:
    return _Edit(kind, node.lineno, lambda: items.__setitem__(place, new))


def _of_block(node: ast.AST) -> Iterator[_Edit]:
    """Changes of statements."""
    for block in (getattr(node, "body", None), getattr(node, "orelse", None)):
        if not isinstance(block, list):
            continue
        statements = cast("list[Any]", block)
        for place, statement in enumerate(statements):
            if isinstance(statement, ast.If):
                yield _Edit("missing branch", statement.lineno, partial(statements.__setitem__, place, ast.Pass()))
                if statement.orelse:
                    yield _Edit("missing else", statement.lineno, lambda s=statement: setattr(s, "orelse", []))
            after = statements[place + 1] if place + 1 < len(statements) else None
            if isinstance(node, ast.For | ast.If) and after is not None and _simple(statement) and _simple(after):
                yield _Edit("wrong order", statement.lineno, partial(_swap, statements, place))
    if isinstance(node, ast.For) and not isinstance(node.body[-1], ast.Break):
        yield _Edit("stops after one round", node.body[-1].lineno, lambda: node.body.append(ast.Break()))


def _simple(statement: Any) -> bool:
    return isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr)


def _swap(block: list[Any], place: int) -> None:
    block[place], block[place + 1] = block[place + 1], block[place]


def _of_function(node: ast.AST) -> Iterator[_Edit]:
    """An empty list, dictionary or set that moves into the signature, where all calls share it."""
    if not isinstance(node, ast.FunctionDef):
        return
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            value = statement.value
            empty = (isinstance(value, ast.List) and not value.elts) or (isinstance(value, ast.Dict) and not value.keys)
            if empty or (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "set"):
                yield _Edit("default argument", statement.lineno, lambda s=statement: _hoist(node, s))


def _hoist(function: ast.FunctionDef, statement: ast.Assign) -> None:
    (target,) = statement.targets
    assert isinstance(target, ast.Name)
    function.args.args.append(ast.arg(target.id))
    function.args.defaults.append(statement.value)
    function.body.remove(statement)


class _Endless(Exception):
    """More rounds than any right program needs."""


def runner_of(source: str, chosen: Sequence[Bug], name: str) -> Callable[[Any], Any]:
    """What a program of ours with bugs makes of encoded arguments, encoded; {"error": name} where it raises or does not end.

    It runs right here: it was made from our own templates, has no loop that is not counted, and calls nothing that could do harm.
    """
    tree = _changed(source, chosen)
    for node in ast.walk(tree):
        if isinstance(node, ast.For):
            node.body.insert(0, ast.Expr(ast.Call(ast.Name("_tick", ast.Load()), [], [])))
    ast.fix_missing_locations(tree)
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks > MAX_TICKS:
            raise _Endless

    names: dict[str, Any] = {"_tick": tick}
    exec(_alone(lambda: compile(tree, "<bugs>", "exec")), names)

    def run(arguments: Any) -> Any:
        nonlocal ticks
        ticks = 0
        try:
            return encode(names[name](*decode(arguments)))
        except Exception as error:  # whatever a bug can do
            return {"error": type(error).__name__}

    return run
