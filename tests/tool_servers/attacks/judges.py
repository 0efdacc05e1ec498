"""What is looked at after an attack, from outside: the session's next answers, its files as the server reads them, the host."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from tests.tool_servers.attacks.neighbours import CHECK
from tests.tool_servers.attacks.record import BOUNDS
from tests.tool_servers.attacks.world import World
from turnwise.errors import ConfigError
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Session, Status, ToolResult

__all__ = ["JUDGES", "Case"]

_REFUSED = (ConfigError, OSError)
_FILE_S = 15.0
_LONGEST_S = 5.0
"""Seconds of a call whose limit is 2 s or less, on a machine that does much else."""


class Case:
    """One attack that was made: the session it was made in, and what came of it."""

    def __init__(self, world: World, session: Session, seq: int, result: ToolResult) -> None:
        self.world, self.session, self.seq, self.result = world, session, seq, result

    async def call(self, code: str) -> ToolResult:
        self.seq += 1
        return await self.session.call(self.seq, "python", {"code": code})

    async def get(self, path: str, found: list[str]) -> bytes:
        """What the server gives; b"" if it refuses. A hang, a lot or a secret is found."""
        try:
            data = await asyncio.wait_for(self.session.get(path, max_bytes=1_000_000), _FILE_S)
        except TimeoutError:  # an OSError too, so it comes first
            found.append(f"get({path[:40]!r}) hung")
            return b""
        except _REFUSED:
            return b""
        found += [f"get({path!r}): {leak}" for leak in self.world.leaks(data)]
        if len(data) > 1_000_000:
            found.append(f"get({path!r}) gave {len(data)} bytes")
        return data

    async def put(self, path: str, data: bytes, found: list[str]) -> bool:
        try:
            await asyncio.wait_for(self.session.put(path, data), _FILE_S)
        except TimeoutError:
            found.append(f"put({path[:40]!r}) hung")
        except _REFUSED:
            return False
        return True


async def truncated(case: Case) -> list[str]:
    most = BOUNDS.output_kb * 1024 + 100
    short = len(case.result.out.encode()) <= most and case.result.truncated
    return [] if short else [f"{len(case.result.out)} characters came, truncated={case.result.truncated}"]


async def goes_on(case: Case) -> list[str]:
    """The session answers, and what it says is its own; after its process was ended, a new one works."""
    first = await case.call("print(6 * 7)")
    fresh = await case.call("print(6 * 7)") if first.status is not Status.OK else first
    ended = case.result.status in (Status.DIED, Status.TIMEOUT, Status.MEMORY, Status.OUTPUT)
    if ended and (fresh.status, fresh.out.strip()) != (Status.OK, "42"):
        return [f"after {case.result.status} the session gave {fresh.status}, {fresh.out[:100]!r}, {fresh.err[-200:]!r}"]
    return []


async def not_forged(case: Case) -> list[str]:
    """Numbers and costs are the supervisor's, and a forged result does not stand for calls that come later."""
    found: list[str] = []
    for _ in range(3):
        result = await case.call("print(6 * 7)")
        if result.seq != case.seq:
            found.append(f"call {case.seq} was answered with number {result.seq}")
        if result.status is Status.OK and "42\n" not in result.out:
            found.append(f"a call that did not run was ok: {result.out[:60]!r}, {result.value!r}")
    if case.result.status is Status.OK and case.result.usage.wall_ms <= 0:
        found.append("the forged costs were believed")
    if case.result.out == "FORGED":
        found.append("the forged output was believed")
    return found


async def costs(case: Case) -> list[str]:
    spent = case.result.usage.cpu_ms
    return [] if spent >= 150 else [f"a fifth of a second of CPU was charged as {spent:.0f} ms"]


async def in_time(case: Case) -> list[str]:
    """It was ended at its limit, give or take what a full machine takes, and the session goes on."""
    late = case.result.usage.wall_ms / 1e3 - _LONGEST_S
    return [*([f"it ran {late:.1f} s longer than any limit"] if late > 0 else []), *await goes_on(case)]


async def forks_or_refuses(case: Case) -> list[str]:
    """A fork is a whole session or is refused; the one it comes from goes on."""
    try:
        (twin,) = await case.session.fork([f"{case.session.id}-twin"])
    except ForkRefused:
        return await goes_on(case)
    result = await twin.call(case.seq + 1, "python", {"code": "print(6 * 7)"})
    await twin.close()
    fine = result.status is not Status.OK or result.out.strip() == "42"
    return [*([] if fine else [f"the twin says {result.out[:100]!r}"]), *await goes_on(case)]


async def get_links(case: Case) -> list[str]:
    found: list[str] = []
    canaries = case.world.targets["canaries"]
    names = [f"{kind}{i}" for kind in ("link", "hard") for i in range(3)]
    names += [f"dir{i}/{os.path.basename(path)}" for i, path in enumerate(canaries)]
    names += [
        f"{root}{path}" for root in ("root", "up", "./root", "x/../root") for path in (*canaries, "/etc/shadow", "/etc/passwd")
    ]
    for name in (*names, "environ", "shadow", "loop", "loop/loop", "root/proc/self/environ", "root/proc/1/environ"):
        data = await case.get(name, found)
        if data.startswith((b"root:", b"root:x:0")):
            found.append(f"get({name!r}) gave a system file")
    return found


async def get_odd(case: Case) -> list[str]:
    found: list[str] = []
    for name in (
        "fifo",
        "socket",
        "folder",
        "sparse",
        "zero",
        "stdin",
        "a" * 255,
        "new\nline",
        "\udcff\udcfe",
        "locked",
        ".",
        "fifo/x",
    ):
        data = await case.get(name, found)
        if name in ("fifo", "socket", "folder", "zero", "stdin", ".") and data:
            found.append(f"get({name!r}) gave {len(data)} bytes of what is no file")
    return found


async def put_links(case: Case) -> list[str]:
    found: list[str] = []
    folders, marker = case.world.targets["folders"], case.world.targets["marker"]
    for i in range(len(folders)):
        await case.put(f"link{i}", b"x", found)
        await case.put(f"dir{i}/{marker}", b"x", found)
        await case.put(f"root{folders[i]}/{marker}", b"x", found)
    for name in ("fifo", "folder", "fifo/x"):
        await case.put(name, b"x", found)
    if await case.put("big", bytes(40 << 20), found):
        found.append("put of 40 MB where 16 are allowed was taken")
    return found


async def races(case: Case) -> list[str]:
    found: list[str] = []
    name = os.path.basename(case.world.targets["canaries"][0])
    loop = asyncio.get_running_loop()
    until = loop.time() + 2
    while loop.time() < until and not found:
        await case.get(f"a/{name}", found)
        await case.get("f", found)
        await case.put(f"a/{case.world.targets['marker']}", b"x", found)
        await case.put("f", b"x", found)
    secret = Path(case.world.targets["canaries"][0])
    if secret.read_text() != case.world.secrets["the temporary folder"]:
        found.append("the host's file was written over")
        secret.write_text(case.world.secrets["the temporary folder"])
    return found


async def bad_paths(case: Case) -> list[str]:
    found: list[str] = []
    canary, marker = case.world.targets["canaries"][0], case.world.targets["marker"]
    ups = ["../" * n for n in (1, 2, 6, 30)] + ["a/../../", "/", "//", "./../", "....//"]
    for up in ups:
        await case.get(up + canary.lstrip("/"), found)
        await case.get(up + "etc/shadow", found)
        for folder in case.world.targets["folders"][:6]:
            await case.put(f"{up}{folder.lstrip('/')}/{marker}", b"x", found)
    for name in ("", ".", "..", "/", "\0", "a\0b", "x" * 5000, "a/" * 3000, "nul/\0/../../x", "~", "$HOME/x", "C:\\x"):
        await case.get(name, found)
        await case.put(name, b"x", found)
    return found


async def no_listener(case: Case) -> list[str]:
    with socket.socket() as s:
        s.settimeout(1)
        reached = s.connect_ex(("127.0.0.1", case.world.targets["free"])) == 0
    return ["a port of the host answers"] if reached else []


async def neighbour(case: Case) -> list[str]:
    """The victim's own word: nobody connected, its child lives, its file is its own and alone."""
    result = await case.world.ask_neighbour(CHECK)
    fine = result.out.startswith("0 True True ['secret.txt']")
    return [] if fine else [f"the neighbour says {result.status}, {result.out[:200]!r} {result.err[-200:]!r}"]


async def neighbour_forks(case: Case) -> list[str]:
    """While the attacker holds what it could get, a neighbour can still do what it may."""
    result = await case.world.ask_neighbour(
        "import os\npids = [os.fork() or os._exit(0) for _ in range(5)]\nr, w = os.pipe()\n"
        "print(sum(os.waitpid(p, 0)[1] for p in pids)); os.close(r); os.close(w)"
    )
    fine = result.status is Status.OK and result.out.strip() == "0"
    return [] if fine else [f"the neighbour could not fork: {result.status}, {result.out[:100]!r} {result.err[-200:]!r}"]


JUDGES: Mapping[str, Callable[[Case], Awaitable[list[str]]]] = {
    f.__name__: f
    for f in (
        truncated,
        goes_on,
        not_forged,
        in_time,
        forks_or_refuses,
        costs,
        get_links,
        get_odd,
        put_links,
        races,
        bad_paths,
        no_listener,
        neighbour,
        neighbour_forks,
    )
} | {"ends_or_goes_on": goes_on}
