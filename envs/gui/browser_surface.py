"""The surface of Gui: real clicks and keys on a real page, whose events drive the app."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Mapping
from typing import Any, Self

from typing_extensions import override

from turnwise.envs.episode_session import LEASE_S, EpisodeSession, failing, new_id
from turnwise.envs.gui.app import App, Event
from turnwise.envs.gui.page import PAGE
from turnwise.envs.gui.widgets import Screen, screen_of
from turnwise.errors import EnvFailure, SandboxFailure
from turnwise.tool_servers.browser.sandbox import BrowserSandbox
from turnwise.tool_servers.sandbox.blocking import BlockingSandbox, BlockingSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status

__all__ = ["HEIGHT", "WIDTH", "BrowserSurface", "shared_browser"]

WIDTH, HEIGHT = 1280, 800
"""Pixels of the page; every screen of every app fits into it."""
URL = "http://app.test/"
_SETTINGS: Mapping[str, Any] = {"bundle": "gui", "start": URL, "width": WIDTH, "height": HEIGHT, "restart": "app.restart"}
_shared: dict[int, BlockingSandbox] = {}
_lock = threading.Lock()


def shared_browser() -> BlockingSandbox:
    """The one browser of this process, started at first use; each episode has a context of its own.

    It is never closed: it ends with the process. Raises SandboxFailure, or Unsupported where there is no Chromium.
    """
    with _lock:
        if os.getpid() not in _shared:
            _shared[os.getpid()] = BlockingSandbox(lambda: BrowserSandbox({"gui": {URL: PAGE}}))
        return _shared[os.getpid()]


class BrowserSurface(EpisodeSession[BlockingSession]):
    """Does everything by the browser's own input, and lets the page say what came of it."""

    app: App
    screen: Screen

    def __init__(self) -> None:
        self._text = ""

    def start(self, app: App) -> None:
        self.app = app
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

    def picture(self) -> bytes:
        """PNG of the page."""
        return base64.b64decode(self._call("screenshot", {})["image"]["base64"])

    @override
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A context of its own that shows the same state."""
        twin = type(self)()
        if self._session is not None:
            twin.app = self.app.twin()
            twin._begin(str(self._evaluate("app.focus()")))
        return twin

    def _begin(self, focus: str) -> None:
        if self._session is None:
            self._session = self._opened()
        given = self._state() | {"focus": focus}
        result = self._call("restart", {"argument": given})
        if result["rung"] != "page":
            self._evaluate(f"app.restart({json.dumps(given)})")
            self._call("observe", {})

    def _do(self, tool: str, **arguments: Any) -> None:
        """Act, let the app hear of it, show what it says, look."""
        self._call(tool, arguments)
        changed = [self.app.handle(Event(**event)) for event in self._evaluate("app.take()")]
        state = self._state()
        if any(changed):  # else the page shows it already: a field holds what was written into it
            self._evaluate(f"app.show({json.dumps(state)})")
            self._call("observe", {})

    def _state(self) -> dict[str, Any]:
        tree = self.app.tree()
        self.screen = screen_of(tree)
        return {"tree": [node.record() for node in tree], "title": self.app.title, "past": len(self.app.history)}

    def _evaluate(self, expression: str) -> Any:
        return self._call("evaluate", {"expression": expression})

    def _call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """The value of a call; what it saw is kept. EnvFailure if the browser broke, or could not do what a person can."""
        assert self._session is not None
        try:
            result = self._session.call(tool, arguments)
        except SandboxFailure as failure:
            self._session = None
            raise EnvFailure(failure.kind, failure.detail) from failure
        if result.status is not Status.OK:
            raise EnvFailure("browser", f"{tool}: {result.err}")
        if tool != "evaluate":
            self._text = result.out.partition("\n\n")[2]
        return result.value

    def _opened(self) -> BlockingSession:
        limits = Limits(wall_s=30.0, calls=1_000_000, output_kb=256)
        spec = SessionSpec(new_id(), "browser", limits=limits, settings=_SETTINGS, lease_s=LEASE_S)
        with failing():
            return shared_browser().open(spec)
