"""What a screen is made of, and the text of it: exactly the lines that the browser's observer reads off the page of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = [
    "Node",
    "Screen",
    "bar",
    "button",
    "card",
    "checkbox",
    "combobox",
    "dialog",
    "grid",
    "heading",
    "link",
    "nav",
    "screen_of",
    "tab",
    "text",
    "textbox",
]

MARKED = frozenset(("button", "link", "tab", "checkbox", "textbox", "combobox"))
BOXES = frozenset(("bar", "grid", "card"))
"""What is seen, and not said."""
LONGEST, PARAGRAPH = 200, 2000
"""Characters of a name and of a text that the observer shows."""


_remembered = lru_cache(1 << 15)
"""Most of a screen is as it was before the last action: equal widgets are one object, whose lines are made once."""


class Node:
    """A widget, a text or a box of others; never changed once made. `key` says what it does, unique on its screen."""

    __slots__ = ("body", "children", "flat", "key", "kind", "label", "marked", "off", "on", "options", "value")

    def __init__(
        self,
        kind: str,
        key: str = "",
        label: str = "",
        value: str = "",
        options: tuple[str, ...] = (),
        on: bool = False,
        off: bool = False,
        children: tuple[Node, ...] = (),
    ) -> None:
        """`on`: checked, or the tab that is shown; of a text: what has just happened; of a grid: cells without a gap.

        `off`: disabled.
        """
        self.kind, self.key, self.label, self.value, self.options = kind, key, label, value, options
        self.on, self.off, self.children = on, off, children
        self.marked = kind in MARKED
        inside = [line for child in children for line in child.flat]
        if kind in BOXES:
            self.body, self.flat = "", tuple(inside)
        else:
            self.body = _body(self)
            self.flat: tuple[tuple[str, Node], ...] = (("", self), *(("  " + indent, node) for indent, node in inside))
            """(indent, node) of each line of it."""

    def record(self) -> list[Any]:
        """For the page's script: the fields in order, without what is empty at the end."""
        fields: list[Any] = [self.kind, self.key, self.label, self.value, self.options, self.on, self.off]
        fields.append([child.record() for child in self.children])
        while not fields[-1]:
            fields.pop()
        return fields

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        return self


class Screen(NamedTuple):
    """A rendered screen."""

    lines: list[str]
    marks: list[Node]
    """The widgets that can be used; the first has mark 1."""
    where: list[int]
    """Their lines."""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def mark_of(self, key: str) -> int:
        """The mark of a key, 0 if there is none."""
        for mark, node in enumerate(self.marks, 1):
            if node.key == key:
                return mark
        return 0


@_remembered
def heading(label: str, level: int = 2) -> Node:
    return Node("heading", "", label, str(level))


@_remembered
def text(label: str, *, new: bool = False) -> Node:
    """`new`: what the last action did."""
    return Node("text", "", label, on=new)


@_remembered
def button(key: str, label: str, *, off: bool = False) -> Node:
    return Node("button", key, label, off=off)


@_remembered
def link(key: str, label: str) -> Node:
    return Node("link", key, label)


@_remembered
def tab(key: str, label: str, *, on: bool) -> Node:
    return Node("tab", key, label, on=on)


@_remembered
def checkbox(key: str, label: str, *, on: bool) -> Node:
    return Node("checkbox", key, label, on=on)


@_remembered
def textbox(key: str, label: str, value: str) -> Node:
    return Node("textbox", key, label, value)


@_remembered
def combobox(key: str, label: str, value: str, options: tuple[str, ...]) -> Node:
    return Node("combobox", key, label, value, options)


@_remembered
def nav(*children: Node) -> Node:
    """Links that are always there, at the side."""
    return Node("navigation", children=children)


@_remembered
def bar(*children: Node) -> Node:
    """Side by side."""
    return Node("bar", children=children)


@_remembered
def card(*children: Node) -> Node:
    """One below the other, in a frame."""
    return Node("card", children=children)


def grid(columns: int, children: Iterable[Node], *, cells: bool = False) -> Node:
    """In rows of that many; `cells`: as a table, without gaps."""
    return Node("grid", value=str(columns), on=cells, children=tuple(children))


def dialog(label: str, *children: Node) -> Node:
    """Over everything else, of which nothing can be used until it is gone."""
    return Node("dialog", "", label, children=children)


def screen_of(nodes: Sequence[Node], focus: str = "") -> Screen:
    """Render; `focus` is the key of the widget that has the keyboard."""
    lines, marks, where = list[str](), list[Node](), list[int]()
    modal = next((node for node in nodes if node.kind == "dialog"), None)
    mark = 0
    for top in nodes:
        live = modal is None or top is modal
        for indent, node in top.flat:
            if live and node.marked:
                mark += 1
                marks.append(node)
                where.append(len(lines))
                lines.append(f"{indent}[{mark}] {node.body}")
            else:
                lines.append(indent + node.body)
    screen = Screen(lines, marks, where)
    if focus and (mark := screen.mark_of(focus)):
        lines[where[mark - 1]] += " focused"
    return screen


def _body(node: Node) -> str:
    kind = node.kind
    if kind == "navigation":
        return kind
    words = [kind, _quote(node.label, PARAGRAPH if kind == "text" else LONGEST)]
    if kind == "heading":
        words.append(f"level={node.value}")
    elif kind == "textbox":
        words.append(f"value={_quote(node.value, LONGEST)}")
    elif kind == "combobox":
        words.append(f"value={_quote(node.value, LONGEST)} options: {' | '.join(_quote(o, LONGEST) for o in node.options)}")
    elif kind in ("checkbox", "tab") and node.on:
        words.append("checked" if kind == "checkbox" else "selected")
    if node.off:
        words.append("disabled")
    return " ".join(words)


def _quote(words: str, most: int) -> str:
    words = " ".join(words.split())
    return json.dumps(words if len(words) <= most else words[: most - 1] + "…", ensure_ascii=False)
