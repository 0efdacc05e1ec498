"""Where attacks are made: every sandbox of this machine, and for comparison a plain process that nothing holds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from turnwise.errors import ConfigError
from turnwise.tool_servers.app import Door
from turnwise.tool_servers.kinds import KINDS, opened
from turnwise.tool_servers.sandbox import bubblewrap
from turnwise.tool_servers.sandbox.docker import DockerSandbox
from turnwise.tool_servers.sandbox.docker_owner import LABEL, Owner
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Level, Sandbox, Session, SessionSpec, Status, ToolResult
from turnwise.tool_servers.sandbox.remote import RemoteSandbox
from turnwise.tool_servers.serve import Listen, served

__all__ = ["BACKENDS", "Backend"]

IMAGE = "turnwise-base:latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One place to attack."""

    name: str
    open: Callable[[], AbstractAsyncContextManager[Sandbox]]
    lacks: Callable[[], str] = str
    """Why it cannot be had on this machine; "" if it can."""
    shared_pids: bool = False
    """Whether sessions see the numbers of the host's processes."""
    own_kernel: bool = False
    containers: bool = False
    one_shot: bool = False
    """Whether every call is a program of its own: nothing stays, and there are no files to fetch."""
    plain: bool = False


class _OneShot:
    """A session whose calls are programs that know nothing of each other."""

    def __init__(self, spec: SessionSpec, run: Callable[[str, SessionSpec, float], Any]) -> None:
        self.id, self._spec, self._run = spec.id, spec, run

    async def call(self, seq: int, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None) -> ToolResult:
        return await self._run(arguments["code"], self._spec, wall_s or self._spec.limits.wall_s)

    async def fork(self, ids: Sequence[str]) -> list[Session]:
        raise ForkRefused("programs are not forked")

    async def put(self, path: str, data: bytes) -> None:
        raise ConfigError("no files")

    async def get(self, path: str, *, max_bytes: int = 1_000_000) -> bytes:
        raise ConfigError("no files")

    async def close(self) -> None: ...


class _OneShots:
    def __init__(self, level: Level, run: Callable[[str, SessionSpec, float], Any]) -> None:
        self.level, self._run = level, run

    async def open(self, spec: SessionSpec) -> Session:
        return _OneShot(spec, self._run)

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...


async def _plain(code: str, spec: SessionSpec, wall_s: float) -> ToolResult:
    """What most tools do: a child process with our user, files and environment."""
    folder = tempfile.mkdtemp(prefix="plain-", dir="/tmp")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), wall_s + 6)
        status = Status.OK if process.returncode == 0 else Status.ERROR
        return ToolResult(status, out.decode(errors="replace"), err.decode(errors="replace"))
    except TimeoutError:
        return ToolResult(Status.TIMEOUT)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _bubblewrap(code: str, spec: SessionSpec, wall_s: float) -> ToolResult:
    limits = spec.limits
    chosen = type(limits)(**{f: getattr(limits, f) for f in limits.__dataclass_fields__ if f != "wall_s"}, wall_s=wall_s)
    box = bubblewrap.Box(limits=chosen)
    return await bubblewrap.run(["python3", "-I", "cell.py"], {"cell.py": code.encode()}, chosen, box=box)


@asynccontextmanager
async def _remote() -> AsyncGenerator[Sandbox]:
    async with (
        opened(KINDS["python"], profiles=["python"], options={"ready": 0}) as service,
        served(service, Listen(), Door(token="attack"), mcp=False) as address,
        RemoteSandbox([address], token="attack") as sandbox,
    ):
        yield sandbox


def _no_docker() -> str:
    done = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True) if shutil.which("docker") else None
    return "" if done and done.returncode == 0 else f"no Docker with the image {IMAGE}"


def _no_gvisor() -> str:
    done = subprocess.run(["docker", "info", "-f", "{{.Runtimes}}"], capture_output=True) if shutil.which("docker") else None
    return _no_docker() or ("" if done and b"runsc" in done.stdout else "Docker has no runtime runsc")


def container_ids() -> list[str]:
    """Of the containers that this process owns."""
    label = f"label={LABEL}={Owner.this_process()}"
    done = subprocess.run(["docker", "ps", "-aq", "--no-trunc", "--filter", label], capture_output=True, text=True, check=True)
    return done.stdout.split()


def inside(ids: Sequence[str]) -> set[int]:
    """Processes of the host that belong to these containers."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):
            text = path.read_text()
            if any(i in text for i in ids):
                found.add(int(path.parts[2]))
    return found


BACKENDS: Mapping[str, Backend] = {
    b.name: b
    for b in (
        Backend(name="none", open=lambda: _OneShots(Level.RLIMITS, _plain), one_shot=True, plain=True, shared_pids=True),
        Backend(name="landlock", open=lambda: EmbeddedSandbox(level=Level.LANDLOCK, needs=Level.LANDLOCK), shared_pids=True),
        Backend(name="namespaces", open=lambda: EmbeddedSandbox(level=Level.NAMESPACES, ready=0)),
        Backend(name="http", open=_remote),
        Backend(
            name="bubblewrap",
            open=lambda: _OneShots(Level.NAMESPACES, _bubblewrap),
            lacks=lambda: "" if shutil.which("bwrap") else "no bwrap",
            one_shot=True,
        ),
        Backend(name="docker", open=lambda: DockerSandbox(base=IMAGE, warm=3), lacks=_no_docker, containers=True),
        Backend(
            name="gvisor",
            open=lambda: DockerSandbox(base=IMAGE, needs=Level.GVISOR),
            lacks=_no_gvisor,
            containers=True,
            own_kernel=True,
        ),
    )
}
