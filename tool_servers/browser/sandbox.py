"""Browser sessions as a `Sandbox`: one Chromium, a fresh context per session, pages from named bundles only.

async with BrowserSandbox({"shop": "sites/shop"}) as sandbox:
    spec = SessionSpec("t1", "browser", settings={"bundle": "shop", "start": "http://app.test/"})
    session = await sandbox.open(spec)
    seen = await session.call(1, "observe", {})        # seen.out is the page as text, seen.value its marks
    seen = await session.call(2, "click", {"mark": 3})
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from turnwise.errors import ConfigError, SandboxFailure, UnknownName
from turnwise.tool_servers.browser.actions import TOOLS
from turnwise.tool_servers.browser.bundle import Bundle, Resource
from turnwise.tool_servers.browser.chromium import Chromium
from turnwise.tool_servers.browser.driver import DriverError
from turnwise.tool_servers.browser.session import BrowserSession
from turnwise.tool_servers.browser.settings import Settings
from turnwise.tool_servers.browser.window import Window
from turnwise.tool_servers.sandbox.bubblewrap import probe
from turnwise.tool_servers.sandbox.protocol import Level, SessionSpec

__all__ = ["BrowserSandbox"]


class BrowserSandbox:
    """Opens browser sessions. A browser that died, or is worn out, is replaced for the next session."""

    tools = TOOLS

    def __init__(
        self,
        bundles: Mapping[str, Bundle | str | Path | Mapping[str, str | bytes | Resource]],
        *,
        executable: str | None = None,
        isolated: bool = True,
        recycle_after: int = 500,
        recycle_mb: float = 1500.0,
        memory_mb: int = 4096,
    ) -> None:
        """`bundles`: name -> site (`Bundle.of`).

        After `recycle_after` contexts, or at `recycle_mb`, a new browser takes the next session; at `memory_mb` one is killed.
        `isolated=False` does without bubblewrap, at Level.RLIMITS: by name only.
        """
        self.bundles = {name: Bundle.of(given) for name, given in bundles.items()}
        self.executable, self.isolated = executable, isolated
        self.recycle_after, self.recycle_mb, self.memory_mb = recycle_after, recycle_mb, memory_mb
        self.started = 0
        """Browsers so far."""
        self._sessions: dict[str, asyncio.Task[BrowserSession]] = {}
        self._current: Chromium | None = None
        self._retired: list[Chromium] = []
        self._lock = asyncio.Lock()
        self._closed = False

    @property
    def level(self) -> Level:
        return Level.NAMESPACES if self.isolated else Level.RLIMITS

    @property
    def browser(self) -> Chromium | None:
        """The browser that takes the next session, if there is one."""
        return self._current

    async def open(self, spec: SessionSpec) -> BrowserSession:
        """A fresh context at the start address.

        Limits that apply: wall_s, calls, output_kb. Memory is bounded for the browser as a whole.
        """
        task = self._sessions.get(spec.id)
        if task is None:
            task = self._sessions[spec.id] = asyncio.ensure_future(self._opened(spec, self._checked(spec)))
        try:
            session = await asyncio.shield(task)
        except Exception:  # whatever it was, the next one under this id begins anew
            if self._sessions.get(spec.id) is task:
                del self._sessions[spec.id]
            raise
        if session.spec != spec:
            raise ConfigError(f"session {spec.id}: it is open with another spec; choose another id or close it.")
        return session

    async def window(self, settings: Settings, seed: int) -> Window:
        """A fresh context; once more in a new browser if this one has just died. SandboxFailure if that fails as well."""
        for attempt in (1, 2):
            chromium = await self._browser()
            try:
                return await Window.open(chromium, self.bundles[settings.bundle], settings, seed)
            except (DriverError, SandboxFailure) as error:
                if attempt == 2 or chromium.alive:
                    raise SandboxFailure("browser", f"a session could not be opened: {error}", retriable=True) from error
        raise AssertionError("not reached")

    async def close(self) -> None:
        """Close every session, then every browser."""
        self._closed = True
        for session in await asyncio.gather(*self._sessions.values(), return_exceptions=True):
            if isinstance(session, BrowserSession):
                await session.close()
        async with self._lock:
            browsers = [*self._retired, *([self._current] if self._current else [])]
            self._current, self._retired = None, []
            await asyncio.gather(*(browser.close() for browser in browsers))

    async def forget(self, name: str) -> None:
        """A session has closed: browsers that only waited for it end."""
        self._sessions.pop(name, None)
        over = [browser for browser in self._retired if not browser.living or not browser.alive]
        self._retired = [browser for browser in self._retired if browser not in over]
        await asyncio.gather(*(browser.close() for browser in over))

    async def __aenter__(self) -> Self:
        """Starts the browser, so that what is missing shows here and the first session is as quick as the others."""
        await self._browser()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _checked(self, spec: SessionSpec) -> Settings:
        settings = Settings.of(spec.settings)
        if settings.bundle not in self.bundles:
            raise UnknownName("bundle", settings.bundle, self.bundles)
        if spec.files:
            raise ConfigError("browser session: files belong into a bundle, for a browser has no work folder.")
        if self.bundles[settings.bundle].find(settings.start) is None:
            raise ConfigError(f"browser settings: start must be in bundle {settings.bundle!r}, got {settings.start!r}.")
        return settings

    async def _opened(self, spec: SessionSpec, settings: Settings) -> BrowserSession:
        return BrowserSession(self, spec, settings, await self.window(settings, spec.seed))

    async def _browser(self) -> Chromium:
        """The one that is there, or a new one if it is dead or worn out."""
        async with self._lock:
            if self._closed:
                raise ConfigError("BrowserSandbox: it is closed; make a new one.")
            old = self._current
            if old is not None and self._good(old):
                return old
            if old is None and self.isolated:
                await probe()
            if old is not None:
                self._current = None
                if old.alive and old.living:
                    self._retired.append(old)
                else:
                    await old.close()
            self._current = await Chromium.start(self.executable, isolated=self.isolated, memory_mb=self.memory_mb)
            self.started += 1
            return self._current

    def _good(self, browser: Chromium) -> bool:
        worn = browser.opened >= self.recycle_after or browser.memory_mb() > self.recycle_mb
        return browser.alive and not worn
