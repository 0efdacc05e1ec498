"""The embedded sandbox: no daemon, no root, no image. Sessions are forked from a zygote that has done the imports.

    async with EmbeddedSandbox() as sandbox:
        session = await sandbox.open(SessionSpec("t1"))
        result = await session.call(1, "python", {"code": "1 + 1"})

See `turnwise.tool_servers.guest` for what runs on the other side, and `levels` for how strong the walls are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.sandbox.guest_requests import checked_answer, checked_wall, opening, result_of
from turnwise.tool_servers.sandbox.ledger import Ledger
from turnwise.tool_servers.sandbox.levels import reach
from turnwise.tool_servers.sandbox.profiles import profile_of
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Level, SessionSpec, ToolResult
from turnwise.tool_servers.sandbox.ready import Ready
from turnwise.tool_servers.sandbox.shared import check_asked, checked_folders
from turnwise.tool_servers.sandbox.zygotes import Link, Zygote, plan_of, sweep

__all__ = ["EmbeddedSandbox", "EmbeddedSession"]

_START_S, _FILE_S, _FORK_S, _GRACE_S, _END_S = 60.0, 30.0, 30.0, 10.0, 10.0
_SPARE = 8
"""Supervisors without a session that wait for one, at most, if nobody says how much may stand ready."""


class EmbeddedSession:
    """A session; made by `EmbeddedSandbox.open` and by `fork`."""

    def __init__(
        self, sandbox: EmbeddedSandbox, spec: SessionSpec, ready: Ready, link: Link, member: int, ledger: Ledger
    ) -> None:
        self._sandbox, self.spec, self._ready, self._link = sandbox, spec, ready, link
        self._member, self._ledger = member, ledger
        self._closing: asyncio.Task[None] | None = None
        self._why_closed = "it was closed"
        self._requests = 0
        self._rested = time.monotonic()
        """When its last request ended."""
        link.members += 1
        ready.joined()

    @property
    def id(self) -> str:
        return self.spec.id

    async def call(self, seq: int, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None) -> ToolResult:
        checked_wall(self.id, wall_s)
        return await self._ledger.once(seq, lambda: self._call(tool, arguments, wall_s))

    async def _call(self, tool: str, arguments: Mapping[str, Any], wall_s: float | None) -> ToolResult:
        patience = self.spec.limits.wall_s + _START_S + _GRACE_S
        answer, _ = await self._ask("call", patience_s=patience, tool=tool, arguments=dict(arguments), wall_s=wall_s)
        return result_of(answer)

    async def fork(self, ids: Sequence[str]) -> list[EmbeddedSession]:
        """Files and variables of a fork are its own; its pid namespace, and the kernel's count of memory, its family's."""
        self._sandbox.check_new(ids)
        async with self._ledger.turn:
            answer, _ = await self._ask("fork", patience_s=_FORK_S * max(1, len(ids)), count=len(ids))
        if "refused" in answer:
            raise ForkRefused(f"session {self.id} cannot be forked: {answer['refused']}; replay its calls in a fresh one.")
        twins = [
            EmbeddedSession(self._sandbox, replace(self.spec, id=name), self._ready, self._link, member, self._ledger.fork(name))
            for name, member in zip(ids, answer["members"], strict=True)
        ]
        self._sandbox.adopt(twins)
        return twins

    async def put(self, path: str, data: bytes) -> None:
        await self._ask("put", data, patience_s=_FILE_S, path=path)

    async def get(self, path: str, *, max_bytes: int = 1_000_000) -> bytes:
        _, data = await self._ask("get", patience_s=_FILE_S, path=path, max_bytes=max_bytes)
        return data

    async def close(self, why: str = "it was closed") -> None:
        if self._closing is None:
            self._why_closed = why
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        """When this returns, its processes are gone; its supervisor waits for another session, or is on its way out."""
        self._sandbox.forget(self)
        self._link.members -= 1
        self._ready.left()
        last = self._link.members == 0
        if not last or self._sandbox.keeps(self._ready):
            try:
                await self._link.request("close", patience_s=_END_S, m=self._member)
                if last:
                    self._ready.take_back(self._link)
                return
            except SandboxFailure:
                last = True
        if last:
            self._link.close()
            await self._link.ended(_END_S)

    def overdue(self, now: float) -> bool:
        """Whether its lease is over: nothing was asked of it for so long."""
        return not self._requests and now - self._rested > self.spec.lease_s

    async def _ask(self, op: str, raw: bytes = b"", *, patience_s: float, **fields: Any) -> tuple[dict[str, Any], bytes]:
        if self._closing is not None:
            raise SandboxFailure("closed", f"session {self.id}: {self._why_closed}")
        self._requests += 1
        try:
            answer, data = await self._link.request(op, raw, patience_s=patience_s, m=self._member, **fields)
        finally:
            self._requests -= 1
            self._rested = time.monotonic()
        checked_answer(self.id, answer)
        return answer, data


class EmbeddedSandbox:
    """Sessions on this machine."""

    def __init__(
        self,
        *,
        needs: Level = Level.NAMESPACES,
        profiles: Sequence[str] = ("python",),
        level: Level | None = None,
        shared: Mapping[str, str | Path] | None = None,
        ready: int | None = None,
    ) -> None:
        """`needs`: the weakest level that will do; `profiles`: made ready at once, others at first use; `level`: exactly this;
        `shared`: folders that sessions may ask for by name, see `shared.py`; `ready`: blank sessions of each profile that stand
        ready while it is in use, at most, see `ready.py`; 0 for none, None for what the profile says."""
        if not Level.RLIMITS <= needs <= Level.NAMESPACES:
            raise ConfigError(
                f"EmbeddedSandbox: needs must be at most NAMESPACES, got {needs.name}; the docker backend has more."
            )
        if ready is not None and ready < 0:
            raise ConfigError(f"EmbeddedSandbox: ready must be a number of sessions, 0 for none, got {ready!r}.")
        self._needs, self._level, self._notice, self._most_ready = needs, level, "", ready
        self._shared = checked_folders(shared or {})
        self._profiles = [profile_of(name) for name in profiles]
        self._zygotes: dict[str, asyncio.Task[Ready]] = {}
        self._sessions: dict[str, tuple[SessionSpec, asyncio.Future[EmbeddedSession]]] = {}
        self._reached = asyncio.Lock()
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def level(self) -> Level:
        """Of its sessions; what is needed at least, before the first was asked for."""
        return self._needs if self._level is None else self._level

    @property
    def notice(self) -> str:
        """One line on what this machine does not give, and how to get it; "" if nothing is missing."""
        return self._notice

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(self._zygote(p.name) for p in self._profiles))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def open(self, spec: SessionSpec) -> EmbeddedSession:
        if spec.id not in self._sessions:
            self._sessions[spec.id] = (spec, asyncio.create_task(self._open(spec)))
        known, task = self._sessions[spec.id]
        if known != spec:
            raise ConfigError(f"Session {spec.id}: exists already with another spec; choose an id once per trajectory.")
        try:
            return await asyncio.shield(task)
        except (Exception, asyncio.CancelledError):
            if task.done() and self._sessions.get(spec.id) == (known, task):
                del self._sessions[spec.id]
            raise

    async def _open(self, spec: SessionSpec) -> EmbeddedSession:
        if self._closed:
            raise SandboxFailure("closed", "the sandbox is closed")
        data, fields = opening(spec)
        await self._zygote(spec.profile)  # the level is known from here on
        check_asked(spec, self._shared, self.level)
        for again in (True, False):
            ready = await self._zygote(spec.profile)
            try:
                link, answer = await ready.open(data, fields)
            except SandboxFailure as error:
                if again and error.kind in ("zygote", "supervisor"):
                    await ready.zygote.dying()
                    continue  # with the next one, if that was it
                raise
            try:
                checked_answer(spec.id, answer)
            except BaseException:
                link.close()
                raise
            return EmbeddedSession(self, spec, ready, link, answer["m"], Ledger(spec.id, spec.limits.calls))
        raise AssertionError("not reached")

    async def close(self) -> None:
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        opened = [task for _, task in self._sessions.values()]
        for session in await asyncio.gather(*opened, return_exceptions=True):
            if isinstance(session, EmbeddedSession):
                await session.close()
        zygotes, self._zygotes = list(self._zygotes.values()), {}
        for ready in await asyncio.gather(*zygotes, return_exceptions=True):
            if isinstance(ready, Ready):
                ready.end()
                await ready.zygote.close()

    # --- what sessions ask of it ------------------------------------------------------------------------------------

    def check_new(self, ids: Sequence[str]) -> None:
        """Raises ConfigError for an id that exists, or is there twice."""
        taken = [name for i, name in enumerate(ids) if name in self._sessions or name in ids[:i]]
        if taken:
            raise ConfigError(f"Session {taken[0]}: exists already; choose an id once per trajectory.")

    def adopt(self, sessions: Sequence[EmbeddedSession]) -> None:
        for session in sessions:
            done: asyncio.Future[EmbeddedSession] = asyncio.get_running_loop().create_future()
            done.set_result(session)
            self._sessions[session.id] = (session.spec, done)

    def keeps(self, ready: Ready) -> bool:
        """Whether a supervisor is of use after its session. Without namespaces the end of a session is the end of all."""
        return self.level is Level.NAMESPACES and not self._closed and ready.zygote.alive

    def forget(self, session: EmbeddedSession) -> None:
        self._sessions.pop(session.id, None)

    # --- zygotes and leases -----------------------------------------------------------------------------------------

    async def _zygote(self, profile: str) -> Ready:
        """The living one of a profile."""
        async with self._reached:
            if self._sweeper is None:
                if self._level is None:
                    self._level, self._notice = await reach(self._needs)
                await asyncio.to_thread(sweep)
                self._sweeper = asyncio.create_task(self._end_leases())
        task = self._zygotes.get(profile)
        if task is None or (task.done() and (task.cancelled() or task.exception() or not task.result().zygote.alive)):
            task = asyncio.create_task(self._fresh_zygote(profile, task))
            self._zygotes[profile] = task
        return await asyncio.shield(task)

    async def _fresh_zygote(self, profile: str, last: asyncio.Task[Ready] | None) -> Ready:
        if last is not None and not last.cancelled() and not last.exception():
            last.result().end()
            await last.result().zygote.close()
        described = profile_of(profile)
        plan = plan_of(described, self.level)
        again = self.level is Level.NAMESPACES
        zygote = await Zygote.start(replace(plan, shared=self._shared if again else {}))
        most, spare = (described.ready, _SPARE) if self._most_ready is None else (self._most_ready, 0)
        ready = Ready(zygote, most, again=True, spare=spare) if again else Ready(zygote, 0, again=False)
        try:
            await ready.start()
        except BaseException:
            await zygote.close()
            raise
        return ready

    async def _end_leases(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            now = time.monotonic()
            for task in self._zygotes.values():
                if task.done() and not task.cancelled() and not task.exception():
                    task.result().expire(now)
            for spec, task in list(self._sessions.values()):
                if task.done() and not task.cancelled() and not task.exception() and task.result().overdue(now):
                    await task.result().close(f"its lease of {spec.lease_s:g} s without a call is over")
