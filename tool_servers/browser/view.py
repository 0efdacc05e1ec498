"""What a page looked like at one moment, and the text of it that a model reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Gap", "Mark", "View", "page_text"]


@dataclass(frozen=True, slots=True)
class Mark:
    """An element that can be acted upon, by its number in the observation. The box is in pixels of the viewport."""

    mark: int
    role: str
    name: str
    x: int
    y: int
    w: int
    h: int

    def record(self) -> dict[str, Any]:
        return {"mark": self.mark, "role": self.role, "name": self.name, "box": [self.x, self.y, self.w, self.h]}


@dataclass(frozen=True, slots=True)
class Gap:
    """A frame of another origin, whose content is read by itself and put in after that line."""

    line: int
    depth: int
    index: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class View:
    """One pass over one document, or over a page with all its frames."""

    url: str
    title: str
    lines: tuple[str, ...]
    marks: tuple[Mark, ...]
    above: int = 0
    """Pixels to scroll up to the top, and down to the end."""
    below: int = 0
    hidden: int = 0
    """Elements left out because they are outside the viewport."""
    gaps: tuple[Gap, ...] = field(default=())

    @classmethod
    def of(cls, answer: str) -> View:
        """From the observer's answer, which is JSON."""
        read: dict[str, Any] = json.loads(answer)
        marks = tuple(Mark(**mark) for mark in read["marks"])
        gaps = tuple(Gap(**gap) for gap in read["gaps"])
        return cls(read["url"], read["title"], tuple(read["lines"]), marks, read["above"], read["below"], read["hidden"], gaps)

    def filled(self, contents: Sequence[View | None]) -> View:
        """With the content of each gap put where it belongs."""
        lines, marks = list(self.lines), list(self.marks)
        for gap, content in reversed(list(zip(self.gaps, contents, strict=True))):
            inside = content.lines if content else ("(cannot be read)",)
            lines[gap.line : gap.line] = ["  " * gap.depth + line for line in inside]
        for content in contents:
            marks += content.marks if content else ()
        return View(self.url, self.title, tuple(lines), tuple(marks), self.above, self.below, self.hidden)


def page_text(view: View, *, tabs: Sequence[str], active: int, notes: Sequence[str]) -> str:
    """Notes first (what happened), then where one is, then the tree."""
    head = [f"note: {note}" for note in notes]
    head.append(f"page: {view.title or '(no title)'} <{view.url}>")
    if len(tabs) > 1:
        head += [f"tab {number}{' (this one)' if number == active else ''}: {title}" for number, title in enumerate(tabs, 1)]
    if view.above or view.below:
        head.append(f"scroll: {view.above} px above, {view.below} px below")
    tail = [f"({view.hidden} more outside the viewport: scroll)"] if view.hidden else []
    return "\n".join([*head, "", *(view.lines or ("(empty page)",)), *tail])
