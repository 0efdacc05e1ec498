"""The embedded sandbox: no daemon, no root, no image. Sessions are forked from a zygote that has done the imports.

    async with EmbeddedSandbox() as sandbox:
        session = await sandbox.open(SessionSpec("t1"))
        result = await session.call(1, "python", {"code": "1 + 1"})

See `turnwise.tool_servers.guest` for what runs on the other side, and `levels` for how strong the walls are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.sandbox.ledger import Ledger
from turnwise.tool_servers.sandbox.profiles import profile_of
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Level, SessionSpec, Status, ToolResult, Usage
from turnwise.tool_servers.sandbox.zygotes import Link, Zygote, plan_of

__all__ = ["EmbeddedSandbox", "EmbeddedSession"]

_START_S, _FILE_S, _GRACE_S = 60.0, 30.0, 10.0


class EmbeddedSession:
    """A session; made by `EmbeddedSandbox.open` and by `fork`."""

    def __init__(self, sandbox: EmbeddedSandbox, spec: SessionSpec, link: Link, member: int, ledger: Ledger) -> None:
        self._sandbox, self.spec, self._link, self._member, self._ledger = sandbox, spec, link, member, ledger
        self._lease: asyncio.TimerHandle | None = None
        self._busy = 0
        self._closed = False

    @property
    def id(self) -> str:
        return self.spec.id

    async def call(self, seq: int, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None) -> ToolResult:
        return await self._ledger.once(seq, lambda: self._call(tool, arguments, wall_s))

    async def _call(self, tool: str, arguments: Mapping[str, Any], wall_s: float | None) -> ToolResult:
        patience = self.spec.limits.wall_s + _START_S + _GRACE_S
        answer, _ = await self._ask("call", patience_s=patience, tool=tool, arguments=dict(arguments), wall_s=wall_s)
        return ToolResult(
            status=Status(answer["status"]),
            out=answer["out"],
            err=answer["err"],
            value=answer["value"],
            truncated=answer["truncated"],
            usage=Usage(answer["wall_ms"], answer["cpu_ms"], answer["peak_mb"]),
            restarted=answer["restarted"],
        )

    async def fork(self, ids: Sequence[str]) -> list[EmbeddedSession]:
        raise ForkRefused("not yet")

    async def put(self, path: str, data: bytes) -> None:
        await self._ask("put", data, patience_s=_FILE_S, path=path)

    async def get(self, path: str, *, max_bytes: int = 1_000_000) -> bytes:
        _, data = await self._ask("get", patience_s=_FILE_S, path=path, max_bytes=max_bytes)
        return data

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._sandbox.forget(self)

    async def _ask(self, op: str, raw: bytes = b"", *, patience_s: float, **fields: Any) -> tuple[dict[str, Any], bytes]:
        if self._closed:
            raise SandboxFailure("closed", f"session {self.id} is closed")
        answer, data = await self._link.request(op, raw, patience_s=patience_s, m=self._member, **fields)
        if "bad" in answer:
            raise ConfigError(f"Session {self.id}: {answer['bad']}")
        if "missing" in answer:
            raise FileNotFoundError(f"Session {self.id}: no file {answer['missing']!r} in the work folder")
        return answer, data


class EmbeddedSandbox:
    """Sessions on this machine."""

    def __init__(
        self, *, needs: Level = Level.NAMESPACES, profiles: Sequence[str] = ("python",), level: Level | None = None
    ) -> None:
        """`needs`: the weakest level that will do; `profiles`: started at once (others at first use); `level`: exactly this one."""
        self._needs, self._level = needs, level or Level.NAMESPACES
        self._profiles = [profile_of(name) for name in profiles]
        self._zygotes: dict[str, asyncio.Task[Zygote]] = {}
        self._sessions: dict[str, EmbeddedSession] = {}

    @property
    def level(self) -> Level:
        return self._level

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(self._zygote(p.name) for p in self._profiles))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def open(self, spec: SessionSpec) -> EmbeddedSession:
        zygote = await self._zygote(spec.profile)
        link = await zygote.connect()
        bounds = {**asdict(spec.limits), "seed": spec.seed, "settings": dict(spec.settings)}
        files = [[path, len(data)] for path, data in spec.files.items()]
        answer, _ = await link.request("open", b"".join(spec.files.values()), patience_s=_START_S, bounds=bounds, files=files)
        if "bad" in answer:
            link.close()
            raise ConfigError(f"Session {spec.id}: {answer['bad']}")
        session = EmbeddedSession(self, spec, link, answer["m"], Ledger(spec.id, spec.limits.calls))
        self._sessions[spec.id] = session
        return session

    async def forget(self, session: EmbeddedSession) -> None:
        self._sessions.pop(session.id, None)
        session._link.close()

    async def close(self) -> None:
        for session in list(self._sessions.values()):
            await session.close()
        for task in self._zygotes.values():
            await (await task).close()
        self._zygotes.clear()

    async def _zygote(self, profile: str) -> Zygote:
        task = self._zygotes.get(profile)
        if task is None or (task.done() and (task.exception() or not task.result().alive)):
            task = asyncio.create_task(Zygote.start(plan_of(profile_of(profile), self._level)))
            self._zygotes[profile] = task
        return await asyncio.shield(task)
