"""A spreadsheet: cells, a formula bar, sums that follow what they add up."""

from __future__ import annotations

import re
from itertools import repeat

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.gui.app import App, Step
from turnwise.envs.gui.goals import Made, chosen
from turnwise.envs.gui.widgets import Node, bar, button, grid, remembered, text, textbox
from turnwise.envs.gui.words import FIRST

__all__ = ["Sheet", "value_of"]

COLUMNS = "ABCDEF"
HEADS = ("Name", "Rent", "Food", "Travel", "Phone", "Other")
COSTS = {"set": 3, "clear": 2, "total": 3, "largest": 3, "copy": 3}
"""What can be asked for, and how many actions it takes."""
_BLANK = "\u00a0"
"""On the face of an empty cell."""
_FUNCTION = re.compile(r"=(SUM|MAX|MIN)\(([A-F])(\d{1,2}):([A-F])(\d{1,2})\)", re.IGNORECASE)


class Sheet(App):
    """`data`: {"cells": {"A1": what was written there}, "rows": n}. Two sheets are equal when they show the same."""

    name, title, home = "sheet", "Spreadsheet", "cell/A1"
    _table: Node | None = None
    """The cells as they are shown, until one is written."""

    @classmethod
    def make(cls, draws: Draws, level: int) -> Made:
        """A table of names and numbers, and what is to be changed in it."""
        people = draws.shuffled(FIRST)[: 3 + 2 * level]
        columns = COLUMNS[: 2 + level] if level < 5 else COLUMNS
        cells = {f"{column}1": head for column, head in zip(columns, HEADS, strict=False)}
        for row, who in enumerate(people, 2):
            cells[f"A{row}"] = who
            cells |= {f"{column}{row}": str(1 + draws.below(999)) for column in columns[1:]}
        rows = len(people) + 3
        goal, said = dict(cells), list[str]()
        inner = draws.shuffled([f"{column}{row}" for column in columns[1:] for row in range(2, 2 + len(people))])
        below = draws.shuffled([f"{column}{row}" for row in range(2 + len(people), rows + 1) for column in columns[1:]])
        kinds, steps = chosen(draws, COSTS, level)
        for kind in sorted(kinds, key=lambda kind: kind in ("total", "largest")):
            said.append(_change(draws, kind, goal, inner, below, len(people) + 1))
        return Made(said, {"cells": cells, "rows": rows}, {"cells": goal}, steps)

    @override
    def nodes(self) -> list[Node]:
        if self._table is None:
            self._table = self._drawn()
        box = textbox("field/formula", f"Cell {self.argument}", self.fields["formula"])
        return [bar(box, button("set/", "Set"), button("clear/", "Clear")), self._table]

    def _drawn(self) -> Node:
        cells, shown = self.data["cells"], [text("Row"), *(text(column) for column in COLUMNS)]
        values = {name: value_of(cells, name) if written[:1] == "=" else written for name, written in cells.items()}
        faces = tuple(map(values.get, _names(self.data["rows"]), repeat("")))
        for row in range(self.data["rows"]):
            shown += _row(row + 1, faces[row * len(COLUMNS) : (row + 1) * len(COLUMNS)])
        return grid(7, shown, cells=True)

    @override
    def arrived(self) -> None:
        self.fields = {"formula": self.data["cells"].get(self.argument, "")}

    @override
    def entered(self, name: str) -> None:
        self.on_set("")

    def on_cell(self, name: str) -> None:
        self.go(f"cell/{name}")

    def on_set(self, _: str) -> None:
        written = self.fields["formula"]
        if written.startswith("=") and not _FUNCTION.fullmatch(written):
            self.note = "A formula is =SUM(B2:B9), =MAX(...) or =MIN(...)."
        else:
            self._write(written)

    def on_clear(self, _: str) -> None:
        self.fields = {"formula": ""}
        self._write("")

    def _write(self, written: str) -> None:
        self._table = None
        if written:
            self.data["cells"][self.argument] = written
        else:
            self.data["cells"].pop(self.argument, None)

    @property
    @override
    def solved(self) -> bool:
        """Whether every cell shows what it should, by a formula or without."""
        cells, goal = self.data["cells"], self.goal["cells"]
        if cells.keys() != goal.keys():
            return False
        return all(cells[name] == goal[name] or value_of(cells, name) == value_of(goal, name) for name in goal)

    @override
    def wanted(self) -> Step | None:
        cells, goal = self.data["cells"], self.goal["cells"]
        name = next((name for name in (*goal, *cells) if cells.get(name) != goal.get(name)), None)
        if name is None:
            return None
        if self.argument != name:
            return ("click", f"cell/{name}", "")
        if name not in goal:
            return ("click", "clear/", "")
        return self.filled(formula=goal[name]) or ("click", "set/", "")


@remembered
def _names(rows: int) -> tuple[str, ...]:
    """Of all cells, row by row."""
    return tuple(f"{column}{row}" for row in range(1, rows + 1) for column in COLUMNS)


@remembered
def _row(row: int, values: tuple[str, ...]) -> tuple[Node, ...]:
    """What stands before a row, and its cells."""
    cells = (
        button(f"cell/{column}{row}", f"{column}{row}: {value}" if value else f"{column}{row}", face=value or _BLANK)
        for column, value in zip(COLUMNS, values, strict=True)
    )
    return (text(str(row)), *cells)


def value_of(cells: dict[str, str], name: str) -> str:
    """What a cell shows. A formula adds up what its cells show; formulas among them count as nothing, so none can be circular."""
    written = cells.get(name, "")
    if written[:1] != "=" or not (found := _FUNCTION.fullmatch(written)):
        return written
    function, (left, top, right, bottom) = found[1].upper(), found.groups()[1:]
    columns = COLUMNS[COLUMNS.index(left.upper()) : COLUMNS.index(right.upper()) + 1]
    inside = [cells.get(f"{column}{row}", "") for column in columns for row in range(int(top), int(bottom) + 1)]
    numbers = [int(value) for value in inside if value.isascii() and value.isdigit() and len(value) < 16]
    return str({"SUM": sum, "MAX": max, "MIN": min}[function](numbers or [0]))


def _change(draws: Draws, kind: str, goal: dict[str, str], inner: list[str], below: list[str], last: int) -> str:
    """Change the goal, and say so. Totals are asked for last, so that they are right."""
    if kind in ("total", "largest") and below:
        name = below.pop()
        column, word = draws.pick([c for c in COLUMNS[1:] if f"{c}1" in goal]), "total" if kind == "total" else "largest value"
        goal[name] = f"={'SUM' if kind == 'total' else 'MAX'}({column}2:{column}{last})"
        return f"put the {word} of the column {goal[f'{column}1']} ({column}2 to {column}{last}) into {name}"
    name = inner.pop()
    where = f"{goal[f'{name[0]}1']} of {goal[f'A{name[1:]}']} ({name})"
    if kind == "clear":
        del goal[name]
        return f"clear {where}"
    if kind == "copy" and below:
        target = below.pop()
        goal[target] = goal[name]
        return f"copy {where} to {target}"
    goal[name] = draws.pick([str(value) for value in range(1000, 1100) if str(value) != goal[name]])
    return f"set {where} to {goal[name]}"
