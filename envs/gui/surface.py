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

    def __init__(self) -> None:
        self._focus = ""

    def start(self, app: App) -> None:
        self.app, self._focus = app, ""
        self.screen = screen_of(app.tree())

    def text(self) -> str:
        return "\n".join(self.screen.lines)

    def click(self, mark: int) -> None:
        node = self.screen.marks[mark - 1]
        if node.kind in ("button", "link", "tab"):
            self._focus = node.key
            self._happen(Event("click", node.key))
            return
        self._focused(mark)
        if node.kind == "checkbox":
            self._input(mark, checkbox(node.key, node.label, on=not node.on), "" if node.on else "on")

    def type(self, mark: int, text: str) -> None:
        node = self._focused(mark)
        if text != node.value:
            self._input(mark, textbox(node.key, node.label, text), text)

    def select(self, mark: int, option: str) -> None:
        node = self._focused(mark)
        self._input(mark, combobox(node.key, node.label, option, node.options), option)

    def press(self, key: str) -> None:
        if key == "Escape":
            self._happen(Event("escape"))
            return
        node = next((node for node in self.screen.marks if node.key == self._focus), None)
        if node is not None and node.kind not in ("checkbox", "combobox"):
            self._happen(Event("enter" if node.kind == "textbox" else "click", node.key))

    def scroll(self, direction: str) -> None:
        self._happen(Event("scroll", value=direction))

    def back(self) -> None:
        self._happen(Event("back"))

    def close(self) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self)()
        twin._focus = self._focus
        if hasattr(self, "app"):
            twin.app = self.app.twin()
            twin.screen = Screen(list(self.screen.lines), list(self.screen.marks), self.screen.blocks)
        return twin

    def _focused(self, mark: int) -> Node:
        """The widget, which has the focus from now on."""
        node, before = self.screen.marks[mark - 1], self._focus
        if before != node.key:
            self._focus = node.key
            self._redraw(self.screen.mark_of(before))
            self._redraw(mark)
        return node

    def _redraw(self, mark: int) -> None:
        if mark:
            node = self.screen.marks[mark - 1]
            self.screen.changed(mark, node, focused=node.key == self._focus)

    def _input(self, mark: int, node: Node, value: str) -> None:
        """Most often only the field itself looks different then."""
        if self.app.handle(Event("input", node.key, value)):
            self._show()
        else:
            self.screen.changed(mark, node, focused=True)

    def _happen(self, event: Event) -> None:
        self.app.handle(event)
        self._show()

    def _show(self) -> None:
        """Draw anew. What has gone or is disabled loses the focus."""
        self.screen = screen_of(self.app.tree(), self._focus)
        if self._focus:
            mark = self.screen.mark_of(self._focus)
            if not mark or self.screen.marks[mark - 1].off:
                self._focus = ""
                self._redraw(mark)
