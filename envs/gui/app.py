"""App: a small web application as a state machine. Events go in, a tree of widgets comes out.

`data` is what counts: a task is solved when it is what `goal` says, whatever the screen shows. Everything else (the place, what
stands in the fields, an open dialog) is how one gets there. Browser and GuiLite drive the same object with the same events.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from turnwise.envs.draws import Draws
from turnwise.envs.gui.goals import Made
from turnwise.envs.gui.widgets import Node, bar, button, dialog, text

__all__ = ["App", "Event", "Step"]

T = TypeVar("T")
Step = tuple[str, str, str]
"""(tool, key of the widget, text): what the expert does next."""


class Event(NamedTuple):
    """What a person's action comes to: "click", "input" (with the new value), "enter", "escape", "scroll" or "back"."""

    kind: str
    key: str = ""
    value: str = ""


class App:
    """Subclasses write `nodes`, `wanted`, and an `on_<verb>` method for every key `<verb>/<argument>`."""

    name: ClassVar[str]
    title: ClassVar[str]
    home: ClassVar[str]
    """The place where one begins, `<kind>/<argument>`, unless the data have one under "home"."""
    window: ClassVar[int] = 8
    """Rows of a long list that are shown at a time."""

    def __init__(self, data: Mapping[str, Any], goal: Mapping[str, Any]) -> None:
        """Both are JSON. `goal` has those of the data that can change; these are copied, the others only read."""
        self.data: dict[str, Any] = {**data, **{key: copy.deepcopy(data[key]) for key in goal}}
        self.goal = goal
        self._come_to(str(data.get("home", self.home)))
        self.history: list[str] = []
        self.fields: dict[str, str] = {}
        self.question: tuple[str, str, str] | None = None
        """Title, text and the key that OK stands for, of the dialog that is open."""
        self.note = ""
        """What the app says about the last action."""
        self.first = 0
        """The first row of a long list that is shown."""
        self.rows = 0
        """How many it has."""
        self.over = False
        """Nothing can be changed any more."""
        self.arrived()

    # --- what an app writes ---------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def make(cls, draws: Draws, level: int) -> Made:
        """A task of that level."""

    @abstractmethod
    def nodes(self) -> list[Node]:
        """The screen without dialog and note. Long lists go through `shown`."""

    @abstractmethod
    def wanted(self) -> Step | None:
        """What the expert does next, no dialog being open; None if the data is as it should be."""

    def agrees(self, key: str) -> bool:
        """Whether the expert means what a dialog asks about."""
        return False

    def entered(self, name: str) -> None:
        """Enter was pressed in a field."""

    def edited(self, name: str) -> bool:
        """A field was changed. Whether anything but the field itself looks different now."""
        return False

    def twin(self) -> Self:
        """An independent app at this very point."""
        twin = copy.copy(self)
        twin.data = {**self.data, **{key: copy.deepcopy(self.data[key]) for key in self.goal}}
        twin.history, twin.fields = list(self.history), dict(self.fields)
        return twin

    # --- what follows ---------------------------------------------------------------------------------------------

    @property
    def solved(self) -> bool:
        data, goal = self.data, self.goal
        return all([data[key] == goal[key] for key in goal])

    def tree(self) -> list[Node]:
        """The whole screen."""
        nodes = self.nodes()
        if self.note:
            nodes.insert(0, text(self.note, new=True))
        if self.question:
            title, words, _ = self.question
            nodes.append(dialog(title, text(words), bar(button("ok", "OK"), button("cancel", "Cancel"))))
        return nodes

    def handle(self, event: Event) -> bool:
        """Let something happen; whether more than the one field looks different."""
        kind, key, value = event
        if kind == "input":
            name = key.partition("/")[2]
            self.fields[name] = value
            return self.edited(name)
        self.note = ""
        if kind == "scroll":
            far = self.window if value == "down" else -self.window
            self.first = max(0, min(self.first + far, self.rows - 1 - (self.rows - 1) % self.window))
        elif kind == "escape":
            self.question = None
        elif kind == "back":
            self._arrive(self.history.pop())
        elif kind == "enter":
            self.entered(key.partition("/")[2])
        else:
            self._click(key)
        return True

    def go(self, place: str) -> None:
        """Show another place; `back` comes back."""
        if place != self.place:
            self.history.append(self.place)
            self._arrive(place)

    def ask(self, title: str, words: str, key: str) -> None:
        """Open a dialog; OK does what a click on `key` would do."""
        self.question = (title, words, key)

    def shown(self, rows: Sequence[T]) -> Sequence[T]:
        """The rows of a long list that the window shows now."""
        self.rows = len(rows)
        return rows[self.first : self.first + self.window]

    def position(self) -> list[Node]:
        """Where in a long list one is; nothing for a short one. Goes below the list."""
        last = min(self.first + self.window, self.rows)
        return [text(f"Rows {self.first + 1} to {last} of {self.rows}. Scroll for more.")] if self.rows > self.window else []

    def next_step(self) -> Step:
        """What the expert does next. Where nothing is wanted, or nothing helps, it scrolls."""
        if self.question:
            return ("click", "ok" if self.agrees(self.question[2]) else "cancel", "")
        return self.wanted() or ("scroll", "", "down")

    def scrolled_to(self, index: int) -> Step | None:
        """Scroll until that row of the long list is shown; None if it is."""
        if self.first <= index < self.first + self.window:
            return None
        return ("scroll", "", "down" if index >= self.first else "up")

    def filled(self, **values: str) -> Step | None:
        """Make the fields hold these; None if they do. The first word of a name says what it is: `choose_` a combobox, `tick_` a
        checkbox ("on" or "")."""
        for name, value in values.items():
            if self.fields.get(name, "") != value:
                return (self.tool_of(name), f"field/{name}", value)
        return None

    def tool_of(self, name: str) -> str:
        """How a field is changed: "type", "select" or "click"."""
        return "select" if name.startswith("choose_") else "click" if name.startswith("tick_") else "type"

    def _arrive(self, place: str) -> None:
        self._come_to(place)
        self.first, self.question = 0, None
        self.arrived()

    def _come_to(self, place: str) -> None:
        """`<kind>/<argument>`"""
        self.place = place
        self.kind, _, self.argument = place.partition("/")

    def arrived(self) -> None:
        """A place was come to: forms begin anew."""

    def _click(self, key: str) -> None:
        question, self.question = self.question, None
        if question is not None:
            key = question[2] if key == "ok" else ""
            if not key:
                return
        verb, _, argument = key.partition("/")
        getattr(self, f"on_{verb}")(argument)
