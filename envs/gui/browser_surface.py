"""The surface of Gui: real clicks and keys on a real page, whose events drive the app."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from typing_extensions import override

from turnwise.envs.browser_session import BrowserPage
from turnwise.envs.gui.app import App, Event
from turnwise.envs.gui.page import PAGE
from turnwise.envs.gui.widgets import Screen, screen_of
from turnwise.tool_servers.browser.bundle import Bundle

__all__ = ["HEIGHT", "WIDTH", "BrowserSurface"]

WIDTH, HEIGHT = 1280, 800
"""Pixels of the page; every screen of every app fits into it."""
URL = "http://app.test/"


class BrowserSurface(BrowserPage):
    """Does everything by the browser's own input, and lets the page say what came of it."""

    bundle = "gui"
    settings: Mapping[str, Any] = {"start": URL, "width": WIDTH, "height": HEIGHT, "restart": "app.restart"}
    app: App
    screen: Screen

    def __init__(self) -> None:
        self._text = ""

    @override
    def site(self) -> Bundle:
        return Bundle.of({URL: PAGE})

    def start(self, app: App) -> None:
        self.app = app
        self.renew()
        self._begin("")

    def text(self) -> str:
        return self._text

    def click(self, mark: int) -> None:
        self._do("click", mark=mark)

    def click_at(self, x: int, y: int) -> None:
        """At a point, in pixels from the left and the top of the page."""
        self._do("click", x=x, y=y)

    def type(self, mark: int, text: str) -> None:
        self._do("type", mark=mark, text=text)

    def select(self, mark: int, option: str) -> None:
        self._do("select", mark=mark, options=[option])

    def press(self, key: str) -> None:
        self._do("key", keys=key)

    def scroll(self, direction: str) -> None:
        self._do("scroll", direction=direction)

    def back(self) -> None:
        self._do("back")

    @override
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A context of its own that shows the same state."""
        twin = type(self)()
        if self._session is not None:
            twin.app = self.app.twin()
            twin._begin(str(self.evaluate("app.focus()")))
        return twin

    def _begin(self, focus: str) -> None:
        given = self._state() | {"focus": focus}
        if self._look("restart", argument=given)["rung"] != "page":
            self.evaluate(f"app.restart({json.dumps(given)})")
            self._look("observe")

    def _do(self, tool: str, **arguments: Any) -> None:
        """Act, let the app hear of it, show what it says, look."""
        self._look(tool, **arguments)
        changed = [self.app.handle(Event(**event)) for event in self.evaluate("app.take()")]
        state = self._state()
        if any(changed):  # else the page shows it already: a field holds what was written into it
            self.evaluate(f"app.show({json.dumps(state)})")
            self._look("observe")

    def _state(self) -> dict[str, Any]:
        tree = self.app.tree()
        self.screen = screen_of(tree)
        return {"tree": [node.record() for node in tree], "title": self.app.title, "past": len(self.app.history)}

    def _look(self, tool: str, **arguments: Any) -> Any:
        """The value of a call; what it saw is kept."""
        result = self.call(tool, arguments)
        self._text = result.out.partition("\n\n")[2]
        return result.value
