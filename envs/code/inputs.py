"""Inputs to test a function with: the edges of each kind of value, and random values of different sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from turnwise.envs.code.step import Kind
from turnwise.envs.draws import Draws

__all__ = ["ARGUMENTS", "Labelled", "examples_of", "inputs_of"]

ARGUMENTS: Mapping[Kind, tuple[str, str]] = {
    "numbers": ("numbers", "is a list of integers, which may be empty"),
    "text": ("text", "is a string, which may be empty"),
    "words": ("words", "is a list of strings, which may be empty"),
    "table": ("table", "is a dictionary from strings to integers, which may be empty"),
    "grid": ("grid", "is a grid of integers: a list of rows, which are lists of the same length; there may be no rows"),
    "graph": (
        "graph",
        "is a directed graph with the nodes 0 to n-1: `graph[i]` is the list of the nodes to which node i has an arrow (a node "
        "may occur twice in it, and may be i itself); n may be 0",
    ),
}
"""Kind of an argument -> its name, and what it is."""
_SYLLABLES = (
    *("ba", "co", "de", "fi", "ga", "he", "in", "ju", "ka", "lo"),
    *("mi", "no", "or", "pu", "ra", "se", "ta", "un", "ve", "xi"),
)
_WORDS = [word[cut:] for first in ("", *_SYLLABLES) for last in _SYLLABLES for word in (first + last,) for cut in (0, 1)]
_TAILS = ("", "", "", *_SYLLABLES[:6])
Labelled = tuple[str, Any]


def examples_of(kind: Kind, draws: Draws) -> list[Labelled]:
    """Three ordinary inputs."""
    return [("example", _RANDOM[kind](draws, size)) for size in (4, 6, 8)]


def inputs_of(kind: Kind, draws: Draws) -> tuple[list[Labelled], list[Labelled]]:
    """(the examples, hidden inputs), each (what is special about it, value); no hidden input is an example."""
    examples = examples_of(kind, draws)
    hidden = [*_EDGES[kind](draws), *(("ordinary input", _RANDOM[kind](draws, size)) for size in (3, 5, 6, 9, 10, 12))]
    shown = [value for _, value in examples]
    return examples, [(label, value) for label, value in hidden if value not in shown]


# --- ordinary values ---------------------------------------------------------------------------------------------------


def _numbers(d: Draws, size: int, low: int = -40, high: int = 60) -> list[int]:
    """With some repeats."""
    found = [low + d.below(high - low + 1) for _ in range(size)]
    return [found[d.below(i)] if i and d.below(5) == 0 else x for i, x in enumerate(found)]


def _word(d: Draws) -> str:
    return d.pick(_WORDS) + d.pick(_TAILS)


def _words(d: Draws, size: int) -> list[str]:
    found = [_word(d) for _ in range(size)]
    return [found[d.below(i)] if i and d.below(6) == 0 else w for i, w in enumerate(found)]


def _text(d: Draws, size: int) -> str:
    parts = [w + w[-1] * d.below(3) if d.below(3) == 0 else w for w in _words(d, size)]
    return "".join(w + d.pick((" ", " ", " ", ", ", "")) for w in parts).strip()


def _table(d: Draws, size: int) -> dict[str, int]:
    return {_word(d): d.below(41) - 12 for _ in range(size)}


def _grid(d: Draws, size: int) -> list[list[int]]:
    rows, columns = 2 + d.below(1 + size // 3), 2 + d.below(1 + size // 3)
    return [[d.below(31) - 10 for _ in range(columns)] for _ in range(rows)]


def _graph(d: Draws, size: int) -> list[list[int]]:
    return [[d.below(size) for _ in range(d.below(4))] for _ in range(size)]


_RANDOM: Mapping[Kind, Callable[[Draws, int], Any]] = {
    "numbers": _numbers,
    "text": _text,
    "words": _words,
    "table": _table,
    "grid": _grid,
    "graph": _graph,
}


# --- edges -------------------------------------------------------------------------------------------------------------


def _number_edges(d: Draws) -> list[Labelled]:
    x = d.below(30) + 2
    return [
        ("empty list", []),
        ("one number", [x]),
        ("two numbers", _numbers(d, 2)),
        ("equal numbers", [x] * (4 + d.below(3))),
        ("negative numbers", _numbers(d, 7, -90, -1)),
        ("large numbers", _numbers(d, 6, 1_000, 90_000)),
        ("sorted numbers", sorted(_numbers(d, 8))),
        ("many repeats", _numbers(d, 14, -2, 3)),
        ("long list", _numbers(d, 30)),
    ]


def _text_edges(d: Draws) -> list[Labelled]:
    return [
        ("empty string", ""),
        ("one character", d.pick("abcdeinorstuz")),
        ("equal characters", d.pick("aenstz") * (3 + d.below(5))),
        ("no letters", "".join(d.pick("0123456789 .-") for _ in range(7)).strip() + "7"),
        ("capital letters", _text(d, 3).upper()),
        ("runs of spaces", "  ".join(_words(d, 3)) + " "),
        ("a palindrome", (w := _text(d, 2)) + w[::-1]),
        ("long string", _text(d, 18)),
    ]


def _word_edges(d: Draws) -> list[Labelled]:
    return [
        ("empty list", []),
        ("one string", [_word(d)]),
        ("empty strings", ["", _word(d), ""]),
        ("equal strings", [_word(d)] * 4),
        ("one-letter strings", [d.pick("abcdefghinorstu") for _ in range(8)]),
        ("capital letters", [w.title() for w in _words(d, 5)]),
        ("long list", _words(d, 18)),
    ]


def _table_edges(d: Draws) -> list[Labelled]:
    return [
        ("empty dictionary", {}),
        ("one entry", {_word(d): d.below(20) + 1}),
        ("equal values", dict.fromkeys(_words(d, 5), d.below(15) + 1)),
        ("negative values", {_word(d): -1 - d.below(30) for _ in range(6)}),
        ("zeros", {_word(d): d.below(2) * d.below(9) for _ in range(7)}),
        ("one-letter keys", {d.pick("abcdefghinorstuxyz"): d.below(30) - 8 for _ in range(9)}),
        ("many entries", _table(d, 18)),
    ]


def _grid_edges(d: Draws) -> list[Labelled]:
    return [
        ("no rows", []),
        ("one cell", [[d.below(20)]]),
        ("one row", [_numbers(d, 5, -10, 20)]),
        ("one column", [[d.below(31) - 10] for _ in range(5)]),
        ("equal numbers", [[d.below(12) + 1] * 4] * 3),
        ("few different numbers", [[d.below(3) for _ in range(5)] for _ in range(5)]),
        ("negative numbers", [[-1 - d.below(12) for _ in range(4)] for _ in range(3)]),
        ("large grid", [[d.below(31) - 10 for _ in range(8)] for _ in range(7)]),
    ]


def _graph_edges(d: Draws) -> list[Labelled]:
    n = 4 + d.below(4)
    return [
        ("no nodes", []),
        ("one node", [[0]]),
        ("no arrows", [[] for _ in range(n)]),
        ("a ring", [[(i + 1) % n] for i in range(n)]),
        ("a chain", [[i + 1] if i + 1 < n else [] for i in range(n)]),
        ("repeated arrows", [[j, j] for j in (d.below(n) for _ in range(n))]),
        ("many arrows", [[d.below(n) for _ in range(5)] for _ in range(n)]),
        ("many nodes", _graph(d, 18)),
    ]


_EDGES: Mapping[Kind, Callable[[Draws], list[Labelled]]] = {
    "numbers": _number_edges,
    "text": _text_edges,
    "words": _word_edges,
    "table": _table_edges,
    "grid": _grid_edges,
    "graph": _graph_edges,
}
