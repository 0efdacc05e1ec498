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
_as_json = json.JSONEncoder(ensure_ascii=False).encode  # which json.dumps would make anew each time


remembered = lru_cache(1 << 15)
"""Most of a screen is as it was before the last action: equal widgets, and rows, are one object, whose lines are made once."""


class Node:
    """A widget, a text or a box of others; never changed once made. `key` says what it does, unique on its screen."""

    __slots__ = ("body", "children", "key", "kind", "label", "lines", "marked", "marks", "off", "on", "options", "value")

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
        self.marks: list[Node] = []
        """The widgets inside."""
        for child in children:
            self.marks += (child,) if child.marked else child.marks
        inside = "\n".join([child.lines for child in children if child.lines])
        self.body = "" if kind in BOXES else _body(self)
        self.lines = inside
        """Its text, in which `%` is doubled and "[%d] " stands for each mark."""
        if self.body:
            own = ("[%d] " if self.marked else "") + self.body.replace("%", "%%")
            self.lines = f"{own}\n{inside}".replace("\n", "\n  ") if inside else own

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

    text: str
    marks: Sequence[Node]
    """The widgets that can be used; the first has mark 1."""
    focus: int = 0
    """The mark of the one that has the keyboard, 0 for none."""

    def mark_of(self, key: str) -> int:
        """The mark of a key, 0 if there is none."""
        for mark, node in enumerate(self.marks, 1):
            if node.key == key:
                return mark
        return 0

    def used(self, mark: int, node: Node) -> Screen:
        """With a widget in the place of that one, or the same, which has the keyboard from now on."""
        text, marks = self.text, self.marks
        if self.focus and self.focus != mark:
            text = _with_line(text, self.focus, marks[self.focus - 1].body)
        if node is not marks[mark - 1]:
            marks = [*marks[: mark - 1], node, *marks[mark:]]
        return Screen(_with_line(text, mark, f"{node.body} focused"), marks, mark)


def _with_line(text: str, mark: int, words: str) -> str:
    """With other words at a mark. Labels may look like marks, but do not stand at the beginning of a line."""
    sign = f"[{mark}] "
    at = text.index(sign)
    while text[text.rfind("\n", 0, at) + 1 : at].strip(" "):
        at = text.index(sign, at + 1)
    end = text.find("\n", at)
    return f"{text[:at]}{sign}{words}{text[end:] if end >= 0 else ''}"


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
    return _grid(columns, tuple(children), cells)


@lru_cache(1 << 11)
def _grid(columns: int, children: tuple[Node, ...], cells: bool) -> Node:
    return Node("grid", value=str(columns), on=cells, children=children)


@remembered
def dialog(label: str, *children: Node) -> Node:
    """Over everything else, of which nothing can be used until it is gone."""
    return Node("dialog", "", label, children=children)


def screen_of(nodes: Sequence[Node], focus: str = "") -> Screen:
    """Render, once; `focus` is the key of the widget that has the keyboard, if it is there and enabled."""
    return _screen_of(tuple(nodes), focus)


@lru_cache(1 << 12)
def _screen_of(nodes: tuple[Node, ...], focus: str) -> Screen:
    texts, marks = list[str](), list[Node]()
    modal = next((node for node in nodes if node.kind == "dialog"), None)
    for node in nodes:
        live = modal is None or node is modal
        texts.append(_drawn(node, len(marks) + 1, live))
        if live:
            marks += (node,) if node.marked else node.marks
    screen = Screen("\n".join([text for text in texts if text]), marks)
    mark = screen.mark_of(focus) if focus else 0
    return screen.used(mark, marks[mark - 1]) if mark and not marks[mark - 1].off else screen


@lru_cache(1 << 11)
def _drawn(node: Node, mark: int, live: bool) -> str:
    """Its text, the first mark in it being given; `live`: whether it can be used. What stays where it is is drawn once."""
    if not live:
        return node.lines.replace("[%d] ", "") % ()
    return node.lines % tuple(range(mark, mark + (1 if node.marked else len(node.marks))))


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
    return _as_json(words if len(words) <= most else words[: most - 1] + "…")
