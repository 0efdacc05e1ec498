"""What an engine is and can, and what happens in it: found out once when a sandbox opens, watched while it lives."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from aiodocker import Docker, DockerError
from aiohttp import ClientError

from turnwise.errors import SandboxFailure
from turnwise.tool_servers.sandbox.docker_owner import LABEL, Owner

__all__ = ["GVISOR", "Engine", "Memory", "connect", "reap", "remove_all"]

GVISOR = "runsc"
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class Engine:
    """Facts of an engine."""

    name: str
    """Such as "Docker 20.10.24" or "Podman 4.3.1"."""
    podman: bool
    gvisor: bool
    """Whether it has the runtime runsc."""
    mapped: bool
    """Whether its containers have only the first 65,536 user ids: rootless, or with users remapped."""
    machine: str
    """Its processor, as uname names it."""
    missing: tuple[str, ...]
    """What it cannot do for us, each with its mend."""

    @classmethod
    def of(cls, version: Mapping[str, Any], info: Mapping[str, Any]) -> Self:
        """From the engine's answers to /version and /info."""
        podman = any("Podman" in str(part.get("Name")) for part in version.get("Components") or ())
        options = " ".join(info.get("SecurityOptions") or ())
        checks = {
            "no system call filter: the engine's kernel or build lacks seccomp": podman or "seccomp" in options,
            "no bound of memory: the engine has no memory cgroup": bool(info.get("MemoryLimit")),
            "no bound of processes: the engine has no pids cgroup": bool(info.get("PidsLimit")),
            "no bound of files: podman's tmpfs counts no inodes; use Docker": not podman,
        }
        return cls(
            name=f"{'Podman' if podman else 'Docker'} {version.get('Version')}",
            podman=podman,
            gvisor=GVISOR in (info.get("Runtimes") or {}),
            mapped="rootless" in options or "userns" in options,
            machine=_MACHINES.get(str(info.get("Architecture")), str(info.get("Architecture"))),
            missing=tuple(text for text, fine in checks.items() if not fine),
        )


async def connect(url: str | None) -> tuple[Docker, Engine]:
    """A client and what it is connected to. `url` None: DOCKER_HOST, else the usual sockets. Raises SandboxFailure."""
    try:
        docker = Docker(url)
    except (ValueError, AssertionError) as nowhere:  # aiodocker asserts that it found a socket
        raise SandboxFailure("docker", "no engine: no DOCKER_HOST, and no socket of Docker or Podman") from nowhere
    # A container holds a connection for as long as it lives; aiohttp stops at a hundred, and aiodocker has no setting for it.
    docker.connector._limit = 0  # pyright: ignore[reportPrivateUsage]
    try:
        return docker, Engine.of(await docker.version(), await docker.system.info())
    except (DockerError, ClientError, OSError) as silent:
        await docker.close()
        raise SandboxFailure("docker", f"no engine answers at {docker.docker_host}: {silent}") from silent


async def reap(docker: Docker) -> int:
    """Remove the containers of owners that are provably gone; how many there were."""
    return await _remove(docker, LABEL, lambda labels: (owner := Owner.of(labels)) is not None and owner.is_gone())


async def remove_all(docker: Docker, owner: str) -> int:
    """Remove every container of one owner, living or not; how many there were."""
    return await _remove(docker, f"{LABEL}={owner}", lambda _: True)


async def _remove(docker: Docker, label: str, unwanted: Callable[[Mapping[str, str]], bool]) -> int:
    removed = 0
    with contextlib.suppress(ClientError, OSError, DockerError):
        for container in await docker.containers.list(all=True, filters=json.dumps({"label": [label]})):
            if unwanted(container["Labels"]):
                with contextlib.suppress(DockerError):
                    await container.delete(force=True)
                    removed += 1
    return removed


class Memory:
    """Remembers which containers of this owner met their memory bound: the engine says so once, and then they are gone."""

    def __init__(self, docker: Docker, owner: Owner) -> None:
        self._met: dict[str, asyncio.Event] = {}
        self._docker = docker
        self._events = docker.events.subscribe(
            filters=json.dumps({"label": [f"{LABEL}={owner}"], "event": ["oom"], "type": ["container"]})
        )
        self._task = asyncio.create_task(self._watch())

    async def met(self, container: str, wait_s: float) -> bool:
        """Whether that container ran out of memory since it was asked last; the news may be `wait_s` late."""
        event = self._met.setdefault(container, asyncio.Event())
        try:
            await asyncio.wait_for(event.wait(), wait_s)
        except TimeoutError:
            return False
        event.clear()
        return True

    def forget(self, container: str) -> None:
        self._met.pop(container, None)

    async def _watch(self) -> None:
        while (event := await self._events.get()) is not None:
            self._met.setdefault(str(event["Actor"]["ID"]), asyncio.Event()).set()

    async def close(self) -> None:
        await self._docker.events.stop()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
