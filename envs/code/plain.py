"""Plain data out of a sandbox, as `turnwise.envs.code.guest` encodes it: compared and shown, never turned into objects."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

__all__ = ["is_shallow", "same", "same_output", "show"]

_LIST, _TUPLE = "list", "tuple"
_DEPTH = 80
_LEVELS = 250
_DECIMAL = re.compile(r"[+-]?[0-9]{1,60}(\.[0-9]{1,60})?")
_HEX = re.compile(r"-?0x[0-9a-f]+")


def is_shallow(tree: Any, depth: int = 0) -> bool:
    """Whether JSON nests as little as `encode` lets it; what nests deeper was forged, and is not to be looked into."""
    if depth > _LEVELS:
        return False
    items: Any = cast("dict[str, Any]", tree).values() if isinstance(tree, dict) else tree
    return not isinstance(tree, dict | list) or all(is_shallow(item, depth + 1) for item in items)


def same(got: Any, expected: Any, *, tuples: bool = True, depth: int = 0) -> bool:
    """Whether two encoded values are equal as Python's == has it (1 == 1.0 == True), whatever was claimed for `got`.

    `tuples=False` lets a tuple pass for a list. Nothing here can raise or take long: unequal sizes end it at once.
    """
    if depth > _DEPTH:
        return False
    if isinstance(got, str) or isinstance(expected, str) or got is None or expected is None:
        return type(got) is type(expected) and got == expected
    kind, items = _parts(got)
    kind_wanted, wanted = _parts(expected)
    if kind != kind_wanted and (tuples or {kind, kind_wanted} != {_LIST, _TUPLE}):
        return False
    if not isinstance(items, list) or not isinstance(wanted, list):
        return type(items) is type(wanted) and items == wanted
    mine, theirs = cast("list[Any]", items), cast("list[Any]", wanted)
    if len(mine) != len(theirs):
        return False
    if kind == "set":
        return sorted(map(_key, mine)) == sorted(map(_key, theirs))
    if kind == "dict":
        return _same_items(mine, theirs, tuples, depth)
    return all(same(a, b, tuples=tuples, depth=depth + 1) for a, b in zip(mine, theirs, strict=True))


def _parts(tree: Any) -> tuple[str, Any]:
    """(kind, body) of an encoded value that is neither text nor None."""
    if isinstance(tree, list):
        return _LIST, cast("list[Any]", tree)
    if isinstance(tree, float):
        return ("number", hex(int(tree)) if tree.is_integer() else tree) if math.isfinite(tree) else ("nothing", object())
    if isinstance(tree, bool | int):
        return "number", hex(tree)
    if isinstance(tree, dict) and len(cast("dict[str, Any]", tree)) == 1:
        ((kind, body),) = cast("dict[str, Any]", tree).items()
        return ("number", body) if kind == "int" else (str(kind), body)
    return "nothing", object()


def _same_items(got: Sequence[Any], expected: Sequence[Any], tuples: bool, depth: int) -> bool:
    pairs = [cast("list[Any]", pair) for pair in (*got, *expected) if isinstance(pair, list)]
    if len(pairs) < 2 * len(expected) or any(len(pair) != 2 for pair in pairs):
        return False
    mine = {_key(key): value for key, value in pairs[: len(got)]}
    return len(mine) == len(got) and all(
        _key(key) in mine and same(mine[_key(key)], value, tuples=tuples, depth=depth + 1) for key, value in pairs[len(got) :]
    )


def _key(tree: Any) -> str:
    """Equal texts for equal values; a text, so that no claimed key can be made to collide."""
    if isinstance(tree, bool | int | float):
        return str(_parts(tree)[1])
    return json.dumps(tree)


def same_output(got: str, expected: str) -> bool:
    """Whether a program printed the same lines of the same words; numbers count by their value (1.50 is 1.5)."""
    mine, theirs = got.rstrip().split("\n"), expected.rstrip().split("\n")
    return len(mine) == len(theirs) and all(a == b or _same_words(a, b) for a, b in zip(mine, theirs, strict=True))


def _same_words(got: str, expected: str) -> bool:
    mine, theirs = got.split(), expected.split()
    return len(mine) == len(theirs) and all(a == b or _same_decimal(a, b) for a, b in zip(mine, theirs, strict=True))


def _same_decimal(got: str, expected: str) -> bool:
    found = _DECIMAL.fullmatch(got), _DECIMAL.fullmatch(expected)
    return all(found) and Decimal(got) == Decimal(expected)


def show(tree: Any, most: int = 200) -> str:
    """An encoded value as Python would write it, at most about `most` characters."""
    text = _text(tree, most, 0)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters or more)"


def _text(tree: Any, most: int, depth: int) -> str:
    if depth > 20:
        return "..."
    if not isinstance(tree, dict | list):
        return repr(tree[: most + 1] if isinstance(tree, str) else tree)
    kind, body = _parts(cast("Any", tree))
    if kind == "object":
        return f"<{str(body)[:50]} object>"
    if not isinstance(body, list):
        return _number(kind, body)
    items = list[str]()
    for item in cast("list[Any]", body):
        if kind == "dict" and isinstance(item, list) and len(cast("list[Any]", item)) == 2:
            key, value = cast("list[Any]", item)
            items.append(f"{_text(key, most, depth + 1)}: {_text(value, most, depth + 1)}")
        else:
            items.append(_text(item, most, depth + 1))
        if sum(map(len, items[-1:])) > most or len(items) > most:
            break
    inside = ", ".join(items)
    if kind == _TUPLE:
        return f"({inside}{',' * (len(items) == 1)})"
    return f"[{inside}]" if kind == _LIST else f"{{{inside}}}" if items or kind == "dict" else "set()"


def _number(kind: str, body: Any) -> str:
    if kind == "number":
        text = str(body)
        return str(int(text, 16)) if len(text) < 200 and _HEX.fullmatch(text) else f"an integer of {len(text) - 2} hex digits"
    return f"{kind}({str(body)[:200]})"
