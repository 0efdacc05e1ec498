"""What stands between a person's actions and an app: the keyboard and the pointer, without a browser or through one."""

from __future__ import annotations

from typing import Any, Protocol, Self

from turnwise.envs.gui.app import App, Event
from turnwise.envs.gui.widgets import Node, Screen, checkbox, combobox, screen_of, textbox

__all__ = ["LiteSurface", "Surface"]


class Surface(Protocol):
    """Marks and texts that come here are right: there is such a widget, it is enabled, and it takes this."""

    app: App
    screen: Screen

    def start(self, app: App) -> None:
        """A new episode: show the app as it stands."""
        ...

    def text(self) -> str:
        """The screen, as it is observed."""
        ...

    def click(self, mark: int) -> None: ...
    def type(self, mark: int, text: str) -> None: ...
    def select(self, mark: int, option: str) -> None: ...
    def press(self, key: str) -> None: ...
    def scroll(self, direction: str) -> None: ...
    def back(self) -> None: ...
    def close(self) -> None: ...
    def __deepcopy__(self, memo: dict[int, Any]) -> Self: ...


class LiteSurface:
    """Does what a browser would: knows what has the focus, and which event an action comes to."""

    app: App
    screen: Screen

    def start(self, app: App) -> None:
        self.app = app
        self.screen = screen_of(app.tree())

    def text(self) -> str:
        return self.screen.text

    @property
    def focus(self) -> str:
        """The key of what has the keyboard, "" for nothing."""
        mark = self.screen.focus
        return self.screen.marks[mark - 1].key if mark else ""

    def click(self, mark: int) -> None:
        node = self.screen.marks[mark - 1]
        if node.kind in ("button", "link", "tab"):
            self._happen(Event("click", node.key), node.key)
        elif node.kind == "checkbox":
            self._input(mark, checkbox(node.key, node.label, on=not node.on), "" if node.on else "on")
        else:
            self.screen = self.screen.used(mark, node)

    def type(self, mark: int, text: str) -> None:
        node = self.screen.marks[mark - 1]
        if text != node.value:
            self._input(mark, textbox(node.key, node.label, text), text)
        else:
            self.screen = self.screen.used(mark, node)

    def select(self, mark: int, option: str) -> None:
        node = self.screen.marks[mark - 1]
        self._input(mark, combobox(node.key, node.label, option, node.options), option)

    def press(self, key: str) -> None:
        if key == "Escape":
            self._happen(Event("escape"), self.focus)
        elif mark := self.screen.focus:
            node = self.screen.marks[mark - 1]
            if node.kind not in ("checkbox", "combobox"):
                self._happen(Event("enter" if node.kind == "textbox" else "click", node.key), node.key)

    def scroll(self, direction: str) -> None:
        self._happen(Event("scroll", value=direction), self.focus)

    def back(self) -> None:
        self._happen(Event("back"), self.focus)

    def close(self) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self)()
        if hasattr(self, "app"):
            twin.app, twin.screen = self.app.twin(), self.screen
        return twin

    def _input(self, mark: int, node: Node, value: str) -> None:
        """Most often only the field itself looks different then."""
        if self.app.handle(Event("input", node.key, value)):
            self.screen = screen_of(self.app.tree(), node.key)
        else:
            self.screen = self.screen.used(mark, node)

    def _happen(self, event: Event, focus: str) -> None:
        """Draw anew. What has gone or is disabled loses the focus."""
        self.app.handle(event)
        self.screen = screen_of(self.app.tree(), focus)
