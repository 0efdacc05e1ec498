"""The host as an attacker may find it: secrets, listeners and victims that are real, and that tell when somebody reached them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from turnwise.tool_servers.sandbox.protocol import Session, ToolResult

__all__ = ["HINT", "World", "token", "world"]

HINT = "twcanary"
"""Every secret of the judge begins so; the attacker knows that much."""
ROOT = Path(__file__).resolve().parents[3]
NOBODY = 65534
_STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


def token() -> str:
    return f"{HINT}{os.urandom(12).hex()}"


@dataclass
class World:
    """Secrets, listeners and victims; `seen` collects what was reached since it was last asked."""

    secrets: dict[str, str]
    """Where it is -> the secret."""
    targets: dict[str, Any]
    seen: list[str] = field(default_factory=list[str])
    victims: list[psutil.Popen] = field(default_factory=list[psutil.Popen])
    neighbour: Session | None = None
    """A second session of the same sandbox, with secrets of its own (`neighbours.VICTIM`)."""
    neighbour_calls: int = 0
    _state: tuple[Any, ...] = ()

    async def ask_neighbour(self, code: str) -> ToolResult:
        assert self.neighbour is not None
        self.neighbour_calls += 1
        return await self.neighbour.call(self.neighbour_calls, "python", {"code": code})

    def leaks(self, *texts: str | bytes) -> list[str]:
        """Secrets within what left a sandbox."""
        joined = b"\0".join(t if isinstance(t, bytes) else t.encode(errors="replace") for t in texts)
        forms: tuple[Callable[[str], bytes], ...] = (str.encode, lambda s: s.encode().hex().encode(), lambda s: s[::-1].encode())
        return [
            f"the secret of {where} came out" for where, secret in self.secrets.items() if any(f(secret) in joined for f in forms)
        ]

    def start_victims(self) -> None:
        """Two processes that only wait: one as we are, one as nobody where we may."""
        for user in (None, NOBODY if os.getuid() == 0 else None):
            self.victims.append(psutil.Popen(["sleep", "600"], user=user, stdin=subprocess.DEVNULL, env={}))
        self.targets["victims"] = [v.pid for v in self.victims]
        with contextlib.suppress(OSError):
            self.targets["address"] = int(Path(f"/proc/{self.victims[0].pid}/maps").read_text().split("-")[0], 16)
        self._state = self._look()

    def end_victims(self) -> None:
        for victim in self.victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
            victim.wait()
        self.victims.clear()

    def _look(self) -> tuple[Any, ...]:
        server = psutil.Process()
        state: list[Any] = [
            server.nice(),
            tuple(server.cpu_affinity()),
            resource.getrlimit(resource.RLIMIT_NOFILE),
            socket.gethostname(),
        ]
        for victim in self.victims:
            try:
                tracer = next(s for s in Path(f"/proc/{victim.pid}/status").read_text().splitlines() if s.startswith("TracerPid"))
                state.append(
                    (
                        victim.status() in _STOPPED,
                        tracer,
                        victim.nice(),
                        tuple(victim.cpu_affinity()),
                        hash(Path(f"/proc/{victim.pid}/limits").read_text()),
                    )
                )
            except (OSError, psutil.NoSuchProcess):
                state.append("gone")
        return tuple(state)

    def reached(self) -> list[str]:
        """What happened outside since the last time, and as if nothing had happened afterwards."""
        found, self.seen[:] = list(self.seen), []
        state = self._look()
        if state != self._state:
            found.append(f"the server or a victim changed: {self._state} -> {state}")
            self.end_victims()
            self.start_victims()
        for folder in self.targets["folders"]:
            path = Path(folder, self.targets["marker"])
            if os.path.lexists(path):
                found.append(f"a file was made on the host: {folder}")
                path.unlink()
        for kind, option in (("shm", "-M"), ("sem", "-S"), ("msg", "-Q")):
            lines = Path("/proc/sysvipc", kind).read_text().splitlines()
            if any(line.split()[0] == str(self.targets["key"]) for line in lines):
                found.append(f"a System V object on the host: {kind}")
                subprocess.run(["ipcrm", option, str(self.targets["key"])], check=True)
        drift = time.time() - time.monotonic() - self.targets["clock"]
        if abs(drift) > 3:
            found.append(f"the clock moved by {drift:.0f} s")
            self.targets["clock"] += drift
        return found


class _Counter(asyncio.DatagramProtocol):
    def __init__(self, seen: list[str], what: str) -> None:
        self.seen, self.what = seen, what

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.seen.append(f"{self.what} got a datagram")


def _addresses() -> list[str]:
    """Of this machine, loopback first."""
    found = ["127.0.0.1", "::1"]
    for interface in psutil.net_if_addrs().values():
        found += [a.address.split("%")[0] for a in interface if a.family is socket.AF_INET and a.address not in found]
    return found[:6]


@asynccontextmanager
async def world() -> AsyncGenerator[World, None]:
    """Set up in the process that is the server, which was started with a secret in its environment and one in its arguments."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="world-", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o777)
        secrets = {"the environment": os.environ["TURNWISE_CANARY"], "the arguments": sys.argv[-1], "the memory": token()}
        canaries = await _hide(stack, folder, secrets)
        seen: list[str] = []
        targets = await _listen(stack, folder, seen)
        targets |= {
            "hint": HINT,
            "server": os.getpid(),
            "canaries": canaries,
            "folders": [
                str(folder),
                "/tmp",
                "/var/tmp",
                "/dev/shm",
                str(Path.home()),
                str(ROOT),
                "/run",
                "/",
                "/etc",
                "/usr/lib",
            ],
            "marker": f"marker-{os.urandom(6).hex()}",
            "clock": time.time() - time.monotonic(),
            "address": 0,
            "key": int.from_bytes(os.urandom(3)) + 1,
            "neighbours": [],
        }
        made = World(secrets, targets, seen)
        made.start_victims()
        stack.callback(made.end_victims)
        yield made


async def _hide(stack: contextlib.AsyncExitStack, folder: Path, secrets: dict[str, str]) -> list[str]:
    paths: list[str] = []
    cache = ROOT / ".pytest_cache"
    cache.mkdir(exist_ok=True)
    for where, place, mode in (
        ("the temporary folder", folder, 0o644),
        ("the home", Path.home(), 0o600),
        ("the repository", cache, 0o644),
    ):
        path = place / f"secret-{os.urandom(6).hex()}"
        secrets[where] = token()
        path.write_text(secrets[where])
        path.chmod(mode)
        stack.callback(path.unlink, missing_ok=True)
        paths.append(str(path))
    return paths


async def _listen(stack: contextlib.AsyncExitStack, folder: Path, seen: list[str]) -> dict[str, Any]:
    """TCP, UDP and unix sockets that everybody could reach; what reaches them is seen."""

    def connected(what: str, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(f"{what} got a connection")
        writer.close()

    loop, abstract, path = asyncio.get_running_loop(), f"world-{os.urandom(6).hex()}", str(folder / "socket")
    tcp = await asyncio.start_server(partial(connected, "TCP"), ["0.0.0.0", "::1"] if _has_ipv6() else "0.0.0.0", 0)
    port = tcp.sockets[0].getsockname()[1]
    servers = [tcp, await asyncio.start_unix_server(partial(connected, "the unix socket"), path)]
    hidden = socket.socket(socket.AF_UNIX)
    hidden.bind(f"\0{abstract}")
    servers.append(await asyncio.start_unix_server(partial(connected, "the abstract socket"), sock=hidden))
    os.chmod(path, 0o777)
    for server in servers:
        stack.callback(server.close)
    udp, _ = await loop.create_datagram_endpoint(partial(_Counter, seen, "UDP"), ("0.0.0.0", 0))
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagrams.bind(f"\0{abstract}-d")
    unix, _ = await loop.create_datagram_endpoint(partial(_Counter, seen, "the abstract socket"), sock=datagrams)
    stack.callback(udp.close)
    stack.callback(unix.close)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        unused = free.getsockname()[1]
    return {
        "hosts": _addresses(), "tcp": port, "udp": udp.get_extra_info("sockname")[1], "abstract": abstract, "socket": path,
        "free": unused,
    }  # fmt: skip


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return False  # two families share no port by themselves
