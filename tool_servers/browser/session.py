"""A browser session: calls in order and each once, bounded, repeatable; new episodes; copies by replay."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from time import perf_counter
from typing import Any, Protocol

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.browser.actions import WrongAction, checked
from turnwise.tool_servers.browser.driver import DriverError
from turnwise.tool_servers.browser.settings import Settings
from turnwise.tool_servers.browser.window import Window
from turnwise.tool_servers.guest.output import Capture
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Session, SessionSpec, Status, ToolResult, Usage

__all__ = ["BrowserSession", "Home"]

_KEPT = 64
"""Results with their pictures that are stored; an older `seq` cannot be asked for again."""
_STOP_S = 5.0
"""For a page to come back after its script was stopped."""


@dataclass(frozen=True, slots=True)
class _Done:
    """A call that was made, for replay."""

    tool: str
    arguments: Mapping[str, Any]
    digest: str


class Home(Protocol):
    """What a session needs of its sandbox."""

    async def open(self, spec: SessionSpec) -> Session: ...

    async def window(self, settings: Settings, seed: int) -> Window:
        """A fresh context."""
        ...

    async def forget(self, name: str) -> None:
        """The session has closed."""
        ...


class BrowserSession:
    """See `Session`. Sight comes back from every tool: text in `out`, marks, tabs and pictures in `value`."""

    def __init__(self, home: Home, spec: SessionSpec, settings: Settings, window: Window) -> None:
        self.spec, self.settings, self.window = spec, settings, window
        self._home = home
        self._seed, self._start = spec.seed, settings.start
        self._seq, self._calls = 0, 0
        self._results: dict[int, ToolResult] = {}
        self._done: list[_Done] = []
        self._repeatable = True
        self._failure: SandboxFailure | None = None
        self._lock = asyncio.Lock()
        self._closed = False
        self._lease: asyncio.TimerHandle | None = None
        self._renew()

    @property
    def id(self) -> str:
        return self.spec.id

    async def call(self, seq: int, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None) -> ToolResult:
        """Run one of `actions.TOOLS` or, for environments only, `actions.HARNESS`."""
        async with self._lock:
            if seq in self._results:
                return self._results[seq]
            self._usable()
            if seq != self._seq + 1:
                raise ConfigError(f"session {self.id}: seq must be {self._seq + 1} or that of a stored call, got {seq}.")
            self._renew()
            started = perf_counter()
            result = await self._bounded(tool, arguments, min(wall_s or self.spec.limits.wall_s, self.spec.limits.wall_s))
            self._seq = seq
            result = replace(result, seq=seq, usage=Usage(wall_ms=(perf_counter() - started) * 1e3))
            self._results[seq] = result
            self._results.pop(seq - _KEPT, None)
            self._done.append(_Done(tool, dict(arguments), _digest(result)))
            return result

    async def fork(self, ids: Sequence[str]) -> list[Session]:
        """By replay of every call in fresh contexts; ForkRefused unless each gave the same again."""
        async with self._lock:
            self._usable()
            if not self._repeatable:
                raise ForkRefused(f"session {self.id}: a call met its wall time, which no replay repeats; open a fresh session.")
            twins: list[Session] = []
            try:
                for name in ids:
                    twins.append(await self._twin(name))
            except BaseException:
                for twin in twins:
                    await twin.close()
                raise
            return twins

    async def put(self, path: str, data: bytes) -> None:
        """A browser has no work folder: ConfigError."""
        raise ConfigError(f"browser session: no files can be put ({path!r}); what pages need belongs into the bundle.")

    async def get(self, path: str, *, max_bytes: int = 1_000_000) -> bytes:
        """A browser has no work folder: ConfigError."""
        raise ConfigError(f"browser session: there are no files to get ({path!r}); use the tool `evaluate`.")

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._lease:
            self._lease.cancel()
        await self.window.close()
        await self._home.forget(self.id)

    async def _bounded(self, tool: str, arguments: Mapping[str, Any], wall_s: float) -> ToolResult:
        """Run within the quota and the wall time; what broke is kept, for then this session is over."""
        if self._calls >= self.spec.limits.calls and tool != "restart":
            return ToolResult(Status.QUOTA, err=f"The {self.spec.limits.calls} calls of this session are used up.")
        self._calls += 1
        try:
            try:
                return await asyncio.wait_for(self._act(tool, checked(tool, arguments)), wall_s)
            except TimeoutError:
                return await self._stopped(wall_s)
            except WrongAction as wrong:
                return ToolResult(Status.ERROR, err=str(wrong))
        except DriverError as error:
            self._failure = SandboxFailure("browser", error.message)
        except SandboxFailure as failure:
            self._failure = failure
        raise self._failure

    async def _stopped(self, wall_s: float) -> ToolResult:
        """A page's script that did not end is stopped; the page stays."""
        self._repeatable = False
        try:
            async with asyncio.timeout(_STOP_S):
                await self.window.tab.interrupt()
                await self.window.look()
        except TimeoutError:
            raise SandboxFailure("browser", f"the page did not answer for {wall_s + _STOP_S:g} s") from None
        return ToolResult(Status.TIMEOUT, err=f"Stopped after {wall_s:g} s, the time of one call: observe tells how it stands.")

    async def _act(self, tool: str, given: dict[str, Any]) -> ToolResult:
        if tool == "evaluate":
            return ToolResult(Status.OK, value=await self.window.tab.evaluate(given["expression"]))
        rung = await self._restart(given) if tool == "restart" else await self._do(tool, given)
        value: dict[str, Any] = {"rung": rung} if rung else {}
        view, text = await self.window.look()
        tabs = [tab.page.url for tab in self.window.tabs]
        value |= {"url": view.url, "title": view.title, "tabs": tabs, "tab": self.window.active + 1}
        value["marks"] = [mark.record() for mark in view.marks]
        if tool == "screenshot":
            value["image"] = await self.window.picture(marks=bool(given.get("marks")))
        elif self.settings.picture:
            value["image"] = await self.window.picture(marks=self.settings.picture_marks)
        kept = Capture(self.spec.limits.output_kb * 1024)
        kept.feed(text.encode())
        return ToolResult(Status.OK, kept.text(), value=value, truncated=bool(kept.cut))

    async def _do(self, tool: str, given: dict[str, Any]) -> None:
        window = self.window
        match tool:
            case "goto":
                await window.goto(given["url"])
            case "click":
                await window.click(_target(given), given.get("button", "left"), given.get("count", 1))
            case "hover":
                await window.hover(_target(given))
            case "drag":
                await window.drag(_target(given), _target(given, "to_"), [(x, y) for x, y in given.get("through", ())])
            case "type":
                append, submit = bool(given.get("append")), bool(given.get("submit"))
                await window.type(given["text"], given.get("mark"), append=append, submit=submit)
            case "key":
                await window.key(given["keys"])
            case "scroll":
                await window.scroll(given["direction"], given.get("pixels"), given.get("mark"))
            case "select":
                await window.select(given["mark"], given["options"])
            case "back" | "forward":
                await window.travel(-1 if tool == "back" else 1)
            case "tab":
                await window.manage_tab(given["action"], given.get("number"), given.get("url"))
            case "dialog":
                window.answer_dialogs(given["accept"], given.get("text", ""))
            case "wait":
                await asyncio.sleep(given["seconds"])
            case _:
                pass  # observe and screenshot only look

    async def _restart(self, given: dict[str, Any]) -> str:
        """The first rung of page, address and context that leaves nothing stored."""
        start, seed = given.get("start", self._start), given.get("seed", self._seed)
        if self.window.bundle.find(start) is None:
            raise WrongAction(f"restart: start must be an address of the bundle, got {start!r}.")
        same = start == self._start and seed == self._seed
        self._start, self._seed, self._calls = start, seed, 1
        if same and await self.window.restart_in_page(given.get("argument")):
            return "page"
        if seed == self.spec.seed and await self.window.restart_at(start):
            return "address"
        old = self.window
        self.window = await self._home.window(replace(self.settings, start=start), seed)
        await old.close()
        self._repeatable = True
        return "context"

    async def _twin(self, name: str) -> Session:
        twin = await self._home.open(replace(self.spec, id=name))
        try:
            for number, done in enumerate(self._done, 1):
                result = await twin.call(number, done.tool, done.arguments)
                if _digest(result) != done.digest:
                    raise ForkRefused(
                        f"session {self.id}: call {number} ({done.tool}) did not give the same when it was made again."
                    )
        except BaseException:
            await twin.close()
            raise
        return twin

    def _usable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise SandboxFailure("closed", f"session {self.id} is closed")
        if not self.window.chromium.alive:
            self._failure = SandboxFailure("browser", "it ended")
            raise self._failure

    def _renew(self) -> None:
        if self._lease:
            self._lease.cancel()
        self._lease = asyncio.get_running_loop().call_later(self.spec.lease_s, self._expired)

    def _expired(self) -> None:
        if self._lock.locked():
            self._renew()
            return
        self._closing = asyncio.ensure_future(self.close())


def _target(given: dict[str, Any], prefix: str = "") -> int | tuple[float, float]:
    """A mark, or a point."""
    mark = given.get(f"{prefix}mark")
    return mark if mark is not None else (given[f"{prefix}x"], given[f"{prefix}y"])


def _digest(result: ToolResult) -> str:
    """Of what a model could tell apart: status and text."""
    with suppress(TypeError):
        return sha256(f"{result.status}\0{result.out}\0{result.err}".encode()).hexdigest()
    return ""
