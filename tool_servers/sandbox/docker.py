"""The docker sandbox: one hardened container for each session, with the same guest inside that the embedded sandbox has.

    async with DockerSandbox(warm=8) as sandbox:
        session = await sandbox.open(SessionSpec("t1"))
        result = await session.call(1, "python", {"code": "1 + 1"})

A container serves one session and is never used again. It ends when its owner does, however that ends, and nothing stays behind.
Works with Docker, with Docker and gVisor (`needs=Level.GVISOR`), and with Podman's socket. Needs `pip install turnwise[docker]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from aiodocker import Docker

from turnwise.errors import ConfigError, SandboxFailure, Unsupported
from turnwise.tool_servers.sandbox.docker_engine import GVISOR, Memory, connect, reap
from turnwise.tool_servers.sandbox.docker_guard import guard
from turnwise.tool_servers.sandbox.docker_guest import Guest, Shape
from turnwise.tool_servers.sandbox.docker_image import BASE, Recipe, ensure_image, packages_of
from turnwise.tool_servers.sandbox.docker_owner import Owner
from turnwise.tool_servers.sandbox.docker_pool import Pool
from turnwise.tool_servers.sandbox.docker_probe import Found, probe
from turnwise.tool_servers.sandbox.guest_requests import checked_answer, checked_wall, opening, result_of
from turnwise.tool_servers.sandbox.ledger import Ledger
from turnwise.tool_servers.sandbox.profiles import profile_of
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Level, SessionSpec, Status, ToolResult
from turnwise.tool_servers.sandbox.shared import check_asked, checked_folders

__all__ = ["DockerSandbox", "DockerSession"]

_LOG = logging.getLogger(__name__)
_START_S, _FILE_S, _GRACE_S = 60.0, 30.0, 30.0
_REAP_S = 60.0
_NEWS_S = 0.2
"""How late the engine's word about used up memory may be."""
_PARALLEL_ENDS = 8
_STOPPED = "Stopped: the session used more than its {} MB of memory. Variables are lost, files are kept."
_ENDED = "The session is over: its container was ended because the session used all of its {} MB of memory. Files are lost, too."


class DockerSession:
    """A session; made by `DockerSandbox.open`."""

    def __init__(self, sandbox: DockerSandbox, spec: SessionSpec, guest: Guest, memory: Memory) -> None:
        self.spec = spec
        self._sandbox, self._guest, self._memory = sandbox, guest, memory
        self._ledger = Ledger(spec.id, spec.limits.calls)
        self._over = False
        """Whether the model's code made the whole container end: no failure of ours, so every further call says so."""
        self._lease: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def container(self) -> str:
        """The id of its container."""
        return self._guest.pipe.id

    async def begin(self) -> None:
        """Put the files and start the worker. Raises ConfigError for files or settings that cannot be right."""
        data, fields = opening(self.spec)
        await self._ask("open", data, patience_s=_START_S, **fields)
        self._renew()

    async def call(self, seq: int, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None) -> ToolResult:
        checked_wall(self.id, wall_s)
        try:
            return await self._ledger.once(seq, lambda: self._call(tool, arguments, wall_s))
        finally:
            self._renew()

    async def _call(self, tool: str, arguments: Mapping[str, Any], wall_s: float | None) -> ToolResult:
        if self._over:
            return ToolResult(Status.DIED, err=_ENDED.format(self.spec.limits.memory_mb))
        patience = self.spec.limits.wall_s + _GRACE_S
        try:
            answer, _ = await self._ask("call", patience_s=patience, tool=tool, arguments=dict(arguments), wall_s=wall_s)
        except SandboxFailure:
            if self._closing or self._guest.alive or not await self._memory.met(self.container, _NEWS_S):
                raise
            self._over = True
            return ToolResult(Status.MEMORY, err=_ENDED.format(self.spec.limits.memory_mb))
        result = result_of(answer)
        if result.status is Status.DIED and await self._memory.met(self.container, _NEWS_S):
            return replace(result, status=Status.MEMORY, err=_STOPPED.format(self.spec.limits.memory_mb))
        return result

    async def fork(self, ids: Sequence[str]) -> list[DockerSession]:
        """Raises ForkRefused: without namespaces of its own a fork could not have files of its own inside a container."""
        raise ForkRefused(
            "A session in a container cannot be forked: replay its calls in a fresh one, or use the embedded sandbox."
        )

    async def put(self, path: str, data: bytes) -> None:
        await self._ask("put", data, patience_s=_FILE_S, path=path)

    async def get(self, path: str, *, max_bytes: int = 1_000_000) -> bytes:
        _, data = await self._ask("get", patience_s=_FILE_S, path=path, max_bytes=max_bytes)
        return data

    async def close(self) -> None:
        self._closing = self._closing or asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._lease is not None:
            self._lease.cancel()
        await self._sandbox.forget(self, self._guest)

    def _renew(self) -> None:
        """The lease runs from here; over, it closes the session."""
        if self._lease is not None:
            self._lease.cancel()
        if self._closing is None:
            self._lease = asyncio.get_running_loop().call_later(self.spec.lease_s, self._lease_over)

    def _lease_over(self) -> None:
        self._closing = self._closing or asyncio.create_task(self._close())

    async def _ask(self, op: str, raw: bytes = b"", *, patience_s: float, **fields: Any) -> tuple[dict[str, Any], bytes]:
        if self._closing is not None:
            raise SandboxFailure("closed", f"session {self.id} is closed, or its lease of {self.spec.lease_s:g} s is over")
        answer, data = await self._guest.link.request(op, raw, patience_s=patience_s, m=0, **fields)
        checked_answer(self.id, answer)
        return answer, data


class DockerSandbox:
    """Sessions in containers of one engine."""

    def __init__(
        self,
        *,
        needs: Level = Level.DOCKER,
        url: str | None = None,
        warm: int = 0,
        cpus: float = 1.0,
        base: str = BASE,
        wheels: Path | None = None,
        shared: Mapping[str, str | Path] | None = None,
    ) -> None:
        """
        needs   the weakest level that will do; Level.GVISOR asks for the runtime runsc
        url     the engine's socket, such as unix:///run/podman/podman.sock; None: DOCKER_HOST, else the usual places
        warm    containers kept ready for each of the last four kinds (profile and limits) of sessions that were opened
        cpus    of one session
        base, wheels   of our image, see `docker_image.Recipe`
        shared  folders that sessions may ask for by name, see `shared.py`; of this machine, which must be the engine's
        """
        self._needs, self._url, self._cpus, self._base, self._wheels = needs, url, cpus, base, wheels
        self._shared = checked_folders(shared or {})
        self._runtime = GVISOR if needs >= Level.GVISOR else ""
        self._owner = Owner.this_process()
        self._sessions: dict[str, DockerSession] = {}
        self._opening: dict[str, tuple[SessionSpec, asyncio.Task[DockerSession]]] = {}
        self._images: dict[str, asyncio.Task[str]] = {}
        self._ends = asyncio.Semaphore(_PARALLEL_ENDS)
        self._pool = Pool(self._start, warm)
        self._docker: Docker | None = None
        self._reaper: asyncio.Task[None] | None = None

    @property
    def level(self) -> Level:
        return self.found.level

    async def __aenter__(self) -> Self:
        """Raises SandboxFailure if there is no engine, Unsupported if it cannot give the level that is needed."""
        docker, self.engine = await connect(self._url)
        self._docker = docker
        try:
            if self._runtime and not self.engine.gvisor:
                raise Unsupported(
                    f"DockerSandbox: {self.engine.name} has no runtime {GVISOR}: install gVisor and add it to the engine."
                )
            await reap(docker)
            self.found: Found = await probe(docker, self.engine, await self._image("python"), self._runtime, self._owner)
            _LOG.info(
                "docker sandbox on %s: level %s%s", self.engine.name, self.level.name, "".join(f"; {x}" for x in self.found.lost)
            )
            await self._try_guest()
            if self.level < self._needs:
                raise Unsupported(
                    f"DockerSandbox: level {self._needs.name} is needed, {self.engine.name} gives {self.level.name}: "
                    f"{'; '.join(self.found.lost)}."
                )
        except BaseException:
            await docker.close()
            raise
        self._guard = guard(self._url, self._owner)
        self._memory = Memory(docker, self._owner)
        self._reaper = asyncio.create_task(self._reap(docker))
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _try_guest(self) -> None:
        """Another kernel may lack calls that the guest needs; better said now than at the first episode."""
        if self._runtime:
            try:
                await (await self._start(self._shape(SessionSpec("probe")))).close()
            except SandboxFailure as failed:
                raise Unsupported(
                    f"DockerSandbox: this version of {self._runtime} cannot run the guest: {failed.detail}."
                ) from failed

    async def prepare(self, spec: SessionSpec) -> None:
        """Return when the pool holds what it can for sessions like this one."""
        await self._pool.prepare(self._shape(spec))

    async def open(self, spec: SessionSpec) -> DockerSession:
        check_asked(spec, self._shared, Level.DOCKER)
        known = self._opening.get(spec.id)
        if known is None:
            known = spec, asyncio.create_task(self._open(spec))
            self._opening[spec.id] = known
            known[1].add_done_callback(lambda _: self._settle(spec.id))
        if known[0] != spec:
            raise ConfigError(f"Session {spec.id} is open already, with another spec; choose an id once per trajectory.")
        return await asyncio.shield(known[1])

    def _settle(self, id: str) -> None:
        """A failed opening leaves the id free."""
        _, task = self._opening[id]
        if task.cancelled() or task.exception() is not None:
            del self._opening[id]

    async def _open(self, spec: SessionSpec) -> DockerSession:
        guest = await self._pool.take(self._shape(spec))
        session = DockerSession(self, spec, guest, self._memory)
        try:
            await session.begin()
        except BaseException:
            await guest.close()
            raise
        self._sessions[spec.id] = session
        return session

    async def forget(self, session: DockerSession, guest: Guest) -> None:
        """The end of a session's container."""
        self._sessions.pop(session.id, None)
        self._opening.pop(session.id, None)
        async with self._ends:
            await guest.close()
        self._memory.forget(guest.pipe.id)

    async def close(self) -> None:
        if self._docker is None:
            return
        opening = [task for _, task in self._opening.values()]
        await asyncio.gather(*opening, return_exceptions=True)
        await asyncio.gather(*(session.close() for session in list(self._sessions.values())))
        await self._pool.close()
        if self._reaper is not None:
            self._reaper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reaper
            await self._memory.close()
            self._guard.kill()
            await asyncio.to_thread(self._guard.communicate)
        await self._docker.close()
        self._docker = None

    async def _start(self, shape: Shape) -> Guest:
        if self._docker is None:
            raise SandboxFailure("closed", "the docker sandbox is not open")
        image = await self._image(shape.profile)
        return await Guest.start(self._docker, self.engine, self.found, shape, image, self._owner, self._runtime, self._cpus)

    async def _image(self, profile: str) -> str:
        extra = profile_of(profile).extra
        task = self._images.get(extra)
        if task is None or (task.done() and task.exception() is not None):
            assert self._docker is not None
            recipe = Recipe(self._base, packages_of(extra) if extra else (), self._wheels if extra else None)
            task = self._images[extra] = asyncio.create_task(ensure_image(self._docker, recipe))
        return await asyncio.shield(task)

    @staticmethod
    async def _reap(docker: Docker) -> None:
        while True:
            await asyncio.sleep(_REAP_S)
            await reap(docker)

    def _shape(self, spec: SessionSpec) -> Shape:
        shared = tuple((name, self._shared[name]) for name in sorted(set(spec.shared)))
        return Shape(spec.profile, spec.limits, spec.lease_s, shared)
