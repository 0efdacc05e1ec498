"""What runs beside a submission in its sandbox session: it calls, it notes down what came back, it judges nothing.

Stands alone (standard library only): its text is sent into the session, where turnwise is not installed. It shares a process with
the submission, so whatever it reports is a claim; the right answers never enter that process. `encode` turns values into JSON
that says which plain data they are:

    None, bool, str, float, int below 2**53     themselves        list             [...]
    tuple {"tuple": [...]}   set, frozenset {"set": [...]} (sorted)   dict {"dict": [[key, value], ...]}
    larger int {"int": "hex"}   nan, inf {"float": "nan"}   bytes {"bytes": "hex"}   complex {"complex": [re, im]}
    anything else {"object": "name of its type"}
"""

from __future__ import annotations

import ast
import builtins
import io
import json
import math
import os
import signal
import sys
import types
from collections.abc import Callable
from typing import Any

__all__ = ["check", "decode", "encode", "functions", "programs"]

ANSWER = "answer.json"
SOLUTION = "<solution>"
_DEPTH = 60
_SAME_CHANCE = "import random\nrandom.seed(0)\ndel random\n"
"""Asserts that draw numbers draw the same ones each time they run."""
_MESSAGE = 300


class OutOfTime(BaseException):
    """The CPU time of one test is over."""


class Needed(BaseException):
    """A checker asks for a call whose result is not known yet."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def encode(value: Any, depth: int = 0) -> Any:
    """JSON of a value, as the module says; subclasses count as what they derive from. ValueError for what nests too deeply."""
    if depth > _DEPTH:
        raise ValueError(f"a value nested more than {_DEPTH} deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value) if -(2**53) < value < 2**53 else {"int": hex(value)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, list):
        return [encode(item, depth + 1) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [encode(item, depth + 1) for item in value]}
    if isinstance(value, set | frozenset):
        return {"set": sorted((encode(item, depth + 1) for item in value), key=json.dumps)}
    if isinstance(value, dict):
        return {"dict": [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, complex):
        return {"complex": [repr(value.real), repr(value.imag)]}
    return {"object": type(value).__name__}


def decode(tree: Any) -> Any:
    """The value of what `encode` made; an "object" becomes one that equals nothing else."""
    if isinstance(tree, list):
        return [decode(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, body),) = tree.items()
    if kind in ("tuple", "set"):
        items = [decode(item) for item in body]
        return tuple(items) if kind == "tuple" else set(items)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in body}
    if kind == "int":
        return int(body, 16)
    if kind == "float":
        return float(body)
    if kind == "bytes":
        return bytes.fromhex(body)
    return complex(float(body[0]), float(body[1])) if kind == "complex" else object()


def _timed(test_s: float, work: Callable[[], Any]) -> dict[str, Any]:
    """{"v": result} or {"e": error, "m": message, "l": line of the submission}; OutOfTime after that much CPU time."""
    signal.signal(signal.SIGPROF, _ring)
    signal.setitimer(signal.ITIMER_PROF, test_s, 0.05)
    try:
        try:
            return {"v": work()}
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except OutOfTime:
        signal.setitimer(signal.ITIMER_PROF, 0)
        raise
    except BaseException as error:
        return _error(error)


def _ring(number: int, frame: Any) -> None:
    raise OutOfTime


def _error(error: BaseException) -> dict[str, Any]:
    line = error.lineno or 0 if isinstance(error, SyntaxError) and error.filename == SOLUTION else 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == SOLUTION:
            line = trace.tb_lineno
        trace = trace.tb_next
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return {"e": type(error).__name__, "m": str(message)[:_MESSAGE], "l": line}


_solution = types.ModuleType("solution")
"""The submission, from its first batch on."""


def _reported(batch: Callable[[], dict[str, Any]]) -> None:
    try:
        report = batch()
    except OutOfTime:
        report = {"slow": True}
    with open(ANSWER, "w", encoding="utf-8") as file:
        json.dump(report, file)


def functions(source: str | None, calls: list[Any], test_s: float, given: str = "", changes: bool = False) -> None:
    """Define the submission (None: it is defined already) after what is given, and make the calls.

    A call is [name, arguments, keywords]. `changes`: report too what the arguments are afterwards, where that is something else.
    """
    _reported(lambda: _functions(source, calls, test_s, given, changes))


def _functions(source: str | None, calls: list[Any], test_s: float, given: str, changes: bool) -> dict[str, Any]:
    if source is not None:
        sys.modules["solution"] = _solution  # dataclasses look there
        for text, file in ((given, "<given>"), (source, SOLUTION)):
            defined = _timed(test_s, lambda text=text, file=file: exec(compile(text, file, "exec"), _solution.__dict__))
            if "e" in defined:
                return {"broken": defined}
    done = [_timed(test_s, lambda call=call: _call(call[0], call[1], call[2], changes)) for call in calls]
    return {"results": [claim if "e" in claim else claim["v"] for claim in done]}


def _call(name: str, arguments: Any, keywords: Any, changes: bool) -> dict[str, Any]:
    found = getattr(_solution, name, None)
    if found is None and hasattr(_solution, "Solution"):
        found = getattr(_solution.Solution(), name, None)
    if found is None:
        raise NameError(f"the code defines no function {name}")
    mine, named = decode(arguments), decode(keywords)
    claim = {"v": encode(found(*mine, **named))}
    if changes and (after := [encode(mine), encode(named)]) != [arguments, keywords]:
        claim["a"] = after
    return claim


def programs(source: str, inputs: list[str], test_s: float, most: int) -> None:
    """Run the submission as a program once for each input; what it prints, at most `most` characters, is the result."""
    _reported(lambda: _programs(source, inputs, test_s, most))


def _programs(source: str, inputs: list[str], test_s: float, most: int) -> dict[str, Any]:
    compiled: list[Any] = []
    defined = _timed(test_s, lambda: compiled.append(compile(source, SOLUTION, "exec")))
    if "e" in defined:
        return {"broken": defined}
    return {"results": [_timed(test_s, lambda text=text: _program(compiled[0], text)[:most]) for text in inputs]}


def _program(code: Any, text: str) -> str:
    with open("input.txt", "w", encoding="utf-8", newline="") as file:
        file.write(text)
    given = os.open("input.txt", os.O_RDONLY)
    if given:  # it is 0 where the program before has closed its own
        os.dup2(given, 0)
        os.close(given)
    before, raw = (sys.stdin, sys.stdout), io.BytesIO()
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = printed = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
    try:
        exec(code, {"__name__": "__main__", "__builtins__": builtins, "exit": sys.exit, "quit": sys.exit})
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    finally:
        sys.stdin, sys.stdout = before
    printed.flush()
    return raw.getvalue().decode("utf-8", "replace")


def check(setup: str, test: str, names: list[str], known: dict[str, Any], entry: str) -> None:
    """Run a data set's own asserts in a process without the submission: its functions answer from `known` results.

    Reports the verdict of each assert in turn, or the call that has to be made first.
    """
    _reported(lambda: _checked(setup, test, names, known, entry))


def _checked(setup: str, test: str, names: list[str], known: dict[str, Any], entry: str) -> dict[str, Any]:
    verdicts: list[bool] = []

    def proxy(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            return changing((), arguments, keywords)

        def changing(looked_at: tuple[int | str, ...], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
            key = json.dumps([name, encode(list(arguments)), encode(keywords)])
            if key not in known:
                raise Needed(key)
            if "e" in known[key]:
                raise RuntimeError(f"{name} raised {known[key]['e']}")
            if looked_at and "a" in known[key]:
                changed = decode(known[key]["a"])
                old: dict[Any, Any] = {**dict(enumerate(arguments)), **keywords}
                new: dict[Any, Any] = {**dict(enumerate(changed[0])), **changed[1]}
                for place in looked_at:
                    _become(old[place], new[place])
            return decode(known[key]["v"])

        call.changing = changing  # type: ignore[attr-defined]
        return call

    names_of_test: dict[str, Any] = {"__name__": "test", "__builtins__": builtins}
    try:
        exec(_SAME_CHANCE, names_of_test)
        exec(compile(setup, "<setup>", "exec"), names_of_test)
        names_of_test |= {name: proxy(name) for name in names} | {"_verdicts": verdicts, "_looking": _looking}
        tree = ast.parse(test)
        exec(compile(_Noted(_looked_at(tree)).visit(tree), "<test>", "exec"), names_of_test)
        if entry:
            names_of_test["check"](names_of_test[entry])
    except Needed as needed:
        return {"need": needed.key}
    except Exception:
        verdicts.append(False)
    return {"verdicts": verdicts}


def _looking(function: Any, *places: int | str) -> Callable[..., Any]:
    """A stand-in whose arguments at those places become what the submission has made of them."""
    changing = getattr(function, "changing", None)
    return function if changing is None else lambda *arguments, **keywords: changing(places, arguments, keywords)


def _become(old: Any, new: Any) -> None:
    """Change a list, dictionary or set in place."""
    if isinstance(old, list) and isinstance(new, list):
        old[:] = new
    elif isinstance(old, dict | set) and type(old) is type(new):
        old.clear()
        old.update(new)


def _looked_at(tree: ast.Module) -> set[str]:
    """Variables whose value, or an item or slice of it, is compared with a literal in an assert.

    Only of these may a submission change what they are: an assert such as `f(xs) == sorted(xs)` would pass whatever empties xs.
    """
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            for test in ast.walk(node.test):
                if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq):
                    sides = [test.left, test.comparators[0]]
                    for one, other in (sides, sides[::-1]):
                        base = one.value if isinstance(one, ast.Subscript) else one
                        if isinstance(base, ast.Name) and _is_literal(other):
                            found.add(base.id)
    return found


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


class _Noted(ast.NodeTransformer):
    """Each assert becomes a verdict that is noted down, so that the ones after it are tried too."""

    def __init__(self, looked_at: set[str]) -> None:
        self.looked_at = looked_at

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        given: list[tuple[int | str | None, ast.expr]] = [*enumerate(node.args), *((k.arg, k.value) for k in node.keywords)]
        places = [p for p, value in given if p is not None and isinstance(value, ast.Name) and value.id in self.looked_at]
        if places and isinstance(node.func, ast.Name):
            looking = ast.Call(ast.Name("_looking", ast.Load()), [node.func, *map(ast.Constant, places)], [])
            node.func = ast.fix_missing_locations(ast.copy_location(looking, node))
        return node

    def visit_Assert(self, node: ast.Assert) -> Any:
        self.generic_visit(node)
        noted = ast.parse("try:\n _verdicts.append(bool(0))\nexcept Exception:\n _verdicts.append(False)").body[0]
        assert isinstance(noted, ast.Try) and isinstance(noted.body[0], ast.Expr)
        call: Any = noted.body[0].value
        call.args[0].args[0] = node.test
        return ast.fix_missing_locations(ast.copy_location(noted, node))
