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
    "remembered",
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


remembered = lru_cache(1 << 15)
"""Most of a screen is as it was before the last action: equal widgets, and rows, are one object, whose lines are made once."""


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


class Block(NamedTuple):
    """A rendered node; the first mark in it is given."""

    lines: list[str]
    marks: list[Node]
    keys: list[str]
    where: list[int]
    """The lines of the marks."""


class Screen(NamedTuple):
    """A rendered screen."""

    lines: list[str]
    marks: list[Node]
    """The widgets that can be used; the first has mark 1."""
    blocks: list[Block]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def mark_of(self, key: str) -> int:
        """The mark of a key, 0 if there is none."""
        before = 1
        for block in self.blocks:
            if key in block.keys:
                return before + block.keys.index(key)
            before += len(block.keys)
        return 0

    def line_of(self, mark: int) -> int:
        """The index of its line."""
        before, at = 0, mark - 1
        for block in self.blocks:
            if at < len(block.where):
                return before + block.where[at]
            before, at = before + len(block.lines), at - len(block.where)
        raise IndexError(mark)

    def changed(self, mark: int, node: Node, *, focused: bool) -> None:
        """Put a widget in the place of another."""
        at = self.line_of(mark)
        self.marks[mark - 1] = node
        indent = self.lines[at].partition("[")[0]
        self.lines[at] = f"{indent}[{mark}] {node.body}{' focused' if focused else ''}"


@remembered
def heading(label: str, level: int = 2) -> Node:
    return Node("heading", "", label, str(level))


@remembered
def text(label: str, *, new: bool = False) -> Node:
    """`new`: what the last action did."""
    return Node("text", "", label, on=new)


@remembered
def button(key: str, label: str, *, off: bool = False, face: str = "") -> Node:
    """`face`: what is seen on it, if not its label."""
    return Node("button", key, label, face, off=off)


@remembered
def link(key: str, label: str) -> Node:
    return Node("link", key, label)


@remembered
def tab(key: str, label: str, *, on: bool) -> Node:
    return Node("tab", key, label, on=on)


@remembered
def checkbox(key: str, label: str, *, on: bool) -> Node:
    return Node("checkbox", key, label, on=on)


@remembered
def textbox(key: str, label: str, value: str) -> Node:
    return Node("textbox", key, label, value)


@remembered
def combobox(key: str, label: str, value: str, options: tuple[str, ...]) -> Node:
    return Node("combobox", key, label, value, options)


@remembered
def nav(*children: Node) -> Node:
    """Links that are always there, at the side."""
    return Node("navigation", children=children)


@remembered
def bar(*children: Node) -> Node:
    """Side by side."""
    return Node("bar", children=children)


@remembered
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
    lines, marks, blocks = list[str](), list[Node](), list[Block]()
    modal = next((node for node in nodes if node.kind == "dialog"), None)
    for node in nodes:
        block = _block(node, len(marks) + 1, modal is None or node is modal)
        lines += block.lines
        marks += block.marks
        blocks.append(block)
    screen = Screen(lines, marks, blocks)
    if focus and (mark := screen.mark_of(focus)):
        lines[screen.line_of(mark)] += " focused"
    return screen


@lru_cache(1 << 10)
def _block(top: Node, mark: int, live: bool) -> Block:
    """`live`: whether it can be used. Of what stays where it is the very lines stay."""
    lines, marks, where = list[str](), list[Node](), list[int]()
    for indent, node in top.flat:
        if live and node.marked:
            where.append(len(lines))
            lines.append(f"{indent}[{mark + len(marks)}] {node.body}")
            marks.append(node)
        else:
            lines.append(indent + node.body)
    return Block(lines, marks, [node.key for node in marks], where)


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
