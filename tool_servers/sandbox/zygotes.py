"""The server's side of the guest: zygote processes, and the link to each session's supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import select
import socket
import subprocess
import sys
import sysconfig
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from turnwise.errors import SandboxFailure, Unsupported
from turnwise.tool_servers.guest.cgroups import PREFIX, discard, leftovers
from turnwise.tool_servers.guest.frames import FrameError, Frames, packed
from turnwise.tool_servers.guest.plan import Plan
from turnwise.tool_servers.sandbox.profiles import Profile
from turnwise.tool_servers.sandbox.protocol import Level

__all__ = ["Link", "Zygote", "plan_of", "sweep"]

_BOOT = Path(__file__).resolve().parents[1] / "guest" / "boot.py"
_SYSTEM = (
    "/bin",
    "/lib",
    "/lib64",
    "/lib32",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
)
"""What programs need; nothing of it is anybody's own."""
_READY_S, _END_S = 60.0, 10.0
_ENVIRONMENT = {"LD_BIND_NOW": "1"}
"""What a library's first call has to find out is written into it: once here, not in every session."""


_numbers = itertools.count(1)


def _started(pid: int) -> str:
    """When a process started, by which it is told from a later one of that id; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _group_name() -> str:
    return f"{PREFIX}{os.getpid()}-{_started(os.getpid())}-{next(_numbers)}"


def sweep() -> None:
    """Remove control groups of servers that died together with all that could have cleaned up behind them."""
    for name in leftovers():
        pid, _, rest = name.removeprefix(PREFIX).partition("-")
        if pid.isdigit() and _started(int(pid)) != rest.partition("-")[0]:
            discard(name)


def plan_of(profile: Profile, level: Level) -> Plan:
    """What a zygote on this machine prepares for a profile. Raises Unsupported if an import is not installed."""
    sites: list[str] = []
    for name in profile.imports:
        top = name.split(".")[0]
        spec = find_spec(top)
        if spec is None:
            raise Unsupported(f"sandbox profile {profile.name}: {top} is not installed; pip install 'turnwise[{profile.extra}]'.")
        if top not in sys.stdlib_module_names and spec.origin:
            sites.append(str(Path(spec.origin).parents[1 if spec.submodule_search_locations else 0]))
    sites = list(dict.fromkeys(sites))
    return Plan(
        profile=profile.name,
        worker=str(profile.worker),
        level=int(level),
        imports=profile.imports,
        sites=tuple(sites),
        readable=(*_SYSTEM, *_interpreter(), *sites),
        group=_group_name(),
    )


def _interpreter() -> list[str]:
    """Folders of this Python: program, standard library, shared library."""
    base = Path(sys.base_prefix)
    inside = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}  # not the virtual environment
    names = {sysconfig.get_path(n, vars=inside) for n in ("stdlib", "platstdlib")} | {str(base / "bin")}
    library = sysconfig.get_config_var("LIBDIR")
    shared = [str(f) for f in Path(library).glob("libpython*")] if library else []
    real = {os.path.realpath(n) for n in names}
    return sorted(names | real | set(shared) | {os.path.realpath(s) for s in shared})


class Link(asyncio.Protocol):
    """Requests to a supervisor and their answers, any number at a time."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], bytes]]] = {}
        self._transport: asyncio.Transport | None = None
        self._n = 0
        self.members = 0
        """Sessions that use it."""
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return not self._lost.done()

    async def request(self, op: str, raw: bytes = b"", *, patience_s: float, **fields: Any) -> tuple[dict[str, Any], bytes]:
        """Raises SandboxFailure if the supervisor is gone or does not answer in time."""
        if self._transport is None or not self.alive:
            raise SandboxFailure("supervisor", "it is gone", retriable=True)
        self._n += 1
        answer: asyncio.Future[tuple[dict[str, Any], bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[self._n] = answer
        n = self._n
        timer = asyncio.get_running_loop().call_later(patience_s, self._overdue, n, op, patience_s)
        try:
            self._transport.write(packed({"n": n, "op": op, **fields}, raw))
            message, data = await answer
        finally:
            timer.cancel()
            self._waiting.pop(n, None)
        if "broken" in message:
            raise SandboxFailure("sandbox", message["broken"])
        return message, data

    def close(self) -> None:
        """Say goodbye; the supervisor ends its sessions, then itself."""
        if self._transport is not None and self.alive and self._transport.can_write_eof():
            self._transport.write_eof()

    async def ended(self, seconds: float) -> None:
        """Wait for the supervisor's end, after `close`; it is cut off if that takes too long."""
        try:
            await asyncio.wait_for(asyncio.shield(self._lost), seconds)
        except TimeoutError:
            if self._transport is not None:
                self._transport.abort()

    def _overdue(self, n: int, op: str, patience_s: float) -> None:
        answer = self._waiting.get(n)
        if answer is not None and not answer.done():
            answer.set_exception(SandboxFailure("supervisor", f"no answer to {op} in {patience_s:g} s"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for message, raw in self._frames.feed(data):
                answer = self._waiting.get(message["n"])
                if answer is not None and not answer.done():
                    answer.set_result((message, raw))
        except (FrameError, KeyError):
            self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(SandboxFailure("supervisor", "it ended during the request"))
        if not self._lost.done():
            self._lost.set_result(None)


class Zygote:
    """One zygote process."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, group: str, cgroups: int) -> None:
        self._process, self._control, self._group = process, control, group
        self.cgroups = cgroups
        """Version of the control groups that bound its sessions; 0 for none."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @classmethod
    async def start(cls, plan: Plan) -> Zygote:
        """Raises SandboxFailure with what the zygote said."""
        return await asyncio.to_thread(cls._start, plan)

    @classmethod
    def _start(cls, plan: Plan) -> Zygote:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(_BOOT), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.settimeout(_READY_S)
        answer: dict[str, Any]
        try:
            ours.sendall(packed(asdict(plan)))
            answer = _first(ours)
        except OSError as error:
            answer = {"broken": f"{type(error).__name__}: {error}"}
        if "broken" in answer:
            ours.close()
            process.kill()
            process.wait()
            raise SandboxFailure("zygote", f"profile {plan.profile}: {answer['broken']}")
        return cls(process, ours, plan.group, answer["cgroups"])

    async def dying(self) -> None:
        """After a failure that may be its end: wait a moment until that can be seen, and then until it is over, which takes the
        processor, and on a full machine its time."""
        for _ in range(50):
            if not self.alive or self._left():
                break
            await asyncio.sleep(0.01)
        if self._left():
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _END_S)

    def _left(self) -> bool:
        """Whether its end of the control socket is closed."""
        poll = select.poll()
        if self._control.fileno() >= 0:
            poll.register(self._control, 0)
        return bool(poll.poll(0))

    async def connect(self) -> Link:
        """A link to a fresh supervisor. Raises SandboxFailure(retriable) if the zygote is gone."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [packed({})], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise SandboxFailure("zygote", f"it is gone: {error}", retriable=True) from error
        ours.setblocking(False)
        _, link = await asyncio.get_running_loop().create_unix_connection(Link, sock=ours)
        return link

    async def close(self) -> None:
        """Close the control socket, and wait until it has seen its sessions off."""
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, _END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        if self._process.returncode and self._group:
            discard(self._group)


def _first(control: socket.socket) -> dict[str, Any]:
    frames = Frames()
    with contextlib.suppress(FrameError):
        while data := control.recv(1 << 16):
            for message, _ in frames.feed(data):
                return message
    return {"broken": "it ended before it was ready"}
