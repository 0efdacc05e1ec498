"""The guest in a container: what it is told to prepare, and the link to its supervisor once it is ready."""

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Self

from aiodocker import Docker

from turnwise.errors import SandboxFailure
from turnwise.tool_servers.guest.frames import FrameError, Frames
from turnwise.tool_servers.guest.plan import SHARED, Plan
from turnwise.tool_servers.sandbox.docker_container import container_settings
from turnwise.tool_servers.sandbox.docker_engine import Engine
from turnwise.tool_servers.sandbox.docker_link import Pipe
from turnwise.tool_servers.sandbox.docker_owner import LABEL, Owner
from turnwise.tool_servers.sandbox.docker_probe import Found
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.profiles import profile_of
from turnwise.tool_servers.sandbox.protocol import Level
from turnwise.tool_servers.sandbox.zygotes import Link

__all__ = ["Guest", "Shape"]

_HOME = "/opt/turnwise"
_READABLE = ("/bin", "/etc", "/lib", "/lib64", "/opt", "/sbin", "/usr", SHARED)
_READY_S = 60.0
_LEASE_MARGIN_S = 60.0
"""The owner closes a session whose lease is over; the container does it so much later, if nobody did."""
_OVERHEAD_MB, _IMPORTS_MB = 64, 256
"""What the guest needs, and what the imports of a profile with packages do."""
_USERS, _MAPPED_USERS = (0x10000000, 1 << 24), (1000, 50_000)
"""(first, how many) to choose a session's user from: the kernel counts processes by user, across containers."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a container is made for before it is known for whom."""

    profile: str
    limits: Limits
    lease_s: float
    shared: tuple[tuple[str, str], ...] = ()
    """(name, path) of the folders that it shows."""


class Guest:
    """A container whose guest is ready for its one session."""

    def __init__(self, pipe: Pipe, link: Link) -> None:
        self.pipe, self.link = pipe, link

    @property
    def alive(self) -> bool:
        return self.link.alive

    @classmethod
    async def start(
        cls, docker: Docker, engine: Engine, found: Found, shape: Shape, image: str, owner: Owner, runtime: str, cpus: float
    ) -> Self:
        """Raises SandboxFailure with what the guest said, with nothing left behind."""
        plan = json.dumps(asdict(_plan(shape.profile, found.landlock, _MAPPED_USERS if engine.mapped else _USERS)))
        settings = container_settings(
            image,
            ["python3", "-I", "-S", f"{_HOME}/guest/container.py", plan, f"{shape.lease_s + _LEASE_MARGIN_S:g}"],
            shape.limits,
            labels={LABEL: str(owner)},
            overhead_mb=_OVERHEAD_MB + (_IMPORTS_MB if profile_of(shape.profile).extra else 0),
            shared=dict(shape.shared),
            cpus=cpus,
            runtime=runtime,
            podman=engine.podman,
        )
        greeting = _Greeting()
        pipe = await Pipe.start(docker, settings, greeting)
        try:
            async with asyncio.timeout(_READY_S):
                said = await greeting.said
            if "broken" in said:
                raise SandboxFailure(
                    "guest", f"profile {shape.profile} in image {image}: {said['broken']} {pipe.last_words}".strip()
                )
        except BaseException as failed:
            await pipe.end()
            if isinstance(failed, TimeoutError):
                raise SandboxFailure("guest", f"not ready in {_READY_S:g} s: {pipe.last_words}", retriable=True) from failed
            raise
        link = Link()
        pipe.set_protocol(link)
        return cls(pipe, link)

    async def close(self) -> None:
        """End the container and wait until it is removed."""
        await self.pipe.end()


def _plan(profile: str, landlock: bool, users: tuple[int, int]) -> Plan:
    known = profile_of(profile)
    first, most = users
    return Plan(
        profile=profile,
        worker=f"{_HOME}/{known.worker.parent.name}/{known.worker.name}",
        level=int(Level.LANDLOCK if landlock else Level.RLIMITS),
        imports=known.imports,
        sites=(f"{_HOME}/packages",),
        readable=_READABLE,
        contained=True,
        first_user=first + int.from_bytes(os.urandom(4)) % most,
    )


class _Greeting(asyncio.Protocol):
    """Takes the first frame: the guest is ready, or says why not."""

    def __init__(self) -> None:
        self.said: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._frames = Frames()

    def data_received(self, data: bytes) -> None:
        try:
            for message, _ in self._frames.feed(data):
                if not self.said.done():
                    self.said.set_result(message)
        except FrameError as error:
            self._tell(f"it speaks another language: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell("the container ended before it was ready")

    def _tell(self, broken: str) -> None:
        if not self.said.done():
            self.said.set_result({"broken": broken})
