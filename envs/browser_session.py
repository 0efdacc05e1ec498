"""A page in the browser of this process, as environments use it: one Chromium, a context of its own for each episode."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

from turnwise.envs.episode_session import LEASE_S, EpisodeSession, failing, new_id
from turnwise.errors import EnvFailure, SandboxFailure
from turnwise.tool_servers.browser.bundle import Bundle
from turnwise.tool_servers.browser.sandbox import BrowserSandbox
from turnwise.tool_servers.sandbox.blocking import BlockingSandbox, BlockingSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status, ToolResult

__all__ = ["BrowserPage"]

_shared: dict[int, tuple[BrowserSandbox, BlockingSandbox]] = {}
_lock = threading.Lock()
_EPISODES = 300
"""After as many a session is replaced: it remembers every call it had."""


def _shared_browser(name: str, site: Callable[[], Bundle]) -> BlockingSandbox:
    """The one browser of this process, started at first use, which knows the site from now on.

    It is never closed: it ends with the process. Raises SandboxFailure, or Unsupported where there is no Chromium.
    """
    with _lock:
        if os.getpid() not in _shared:
            sandbox = BrowserSandbox({})
            _shared[os.getpid()] = sandbox, BlockingSandbox(lambda: sandbox)
        sandbox, blocking = _shared[os.getpid()]
        if name not in sandbox.bundles:
            sandbox.bundles[name] = site()
        return blocking


class BrowserPage(EpisodeSession[BlockingSession]):
    """Subclasses say which site it is of, and `settings` without the bundle's name."""

    bundle: ClassVar[str]
    settings: Mapping[str, Any]
    _episodes = 0

    def site(self) -> Bundle:
        """All of its pages; asked for once a process."""
        raise NotImplementedError

    def renew(self) -> None:
        """A new episode begins."""
        self._episodes += 1
        if self._episodes % _EPISODES == 0:
            self.close()

    def picture(self) -> bytes:
        """PNG of the page."""
        return base64.b64decode(self.call("screenshot", {}).value["image"]["base64"])

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; EnvFailure if it threw."""
        return self.call("evaluate", {"expression": expression}).value

    def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """A call that must succeed: EnvFailure if the browser broke, or could not do what a person can."""
        result = self.tried(tool, arguments)
        if result.status is not Status.OK:
            self.broken(f"{tool}: {result.err}")
        return result

    def tried(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """A call that may be refused. Opens a session if there is none; EnvFailure if the browser broke."""
        if self._session is None:
            self._session = self._opened()
        try:
            return self._session.call(tool, arguments)
        except SandboxFailure as failure:
            self._session = None
            raise EnvFailure(failure.kind, failure.detail) from failure

    def broken(self, detail: str) -> NoReturn:
        """What a page of ours can never do."""
        raise EnvFailure("browser", detail)

    def _opened(self) -> BlockingSession:
        limits = Limits(wall_s=30.0, calls=1_000_000, output_kb=256)
        settings = {"bundle": self.bundle, **self.settings}
        spec = SessionSpec(new_id(), "browser", limits=limits, settings=settings, lease_s=LEASE_S)
        with failing():
            return _shared_browser(self.bundle, self.site).open(spec)
