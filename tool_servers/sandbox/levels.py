"""How strong the walls are on this machine, found by doing: a session is opened at each level and attacks are tried in it.

    level, notice = await reach(Level.LANDLOCK)       # the strongest embedded level that holds, at least that one

No level is chosen because a program or a file is there, and RLIMITS never unless it was asked for by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from turnwise.errors import SandboxFailure, Unsupported
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.profiles import profile_of
from turnwise.tool_servers.sandbox.protocol import Level
from turnwise.tool_servers.sandbox.zygotes import Zygote, plan_of

__all__ = ["LEVELS", "Probe", "probe", "reach"]

LEVELS = (Level.NAMESPACES, Level.LANDLOCK, Level.RLIMITS)
"""Of the embedded sandbox, the strongest first."""
_LOST = {
    Level.LANDLOCK: "no namespaces: no forks, the host's process ids are seen, files lie in a temporary folder",
    Level.RLIMITS: "no isolation: the code reads what you read and may use the network",
}
_CANARIES = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
got = []
def attack(name, act):
    try:
        if act() is not False:
            got.append(name)
    except OSError:
        pass
def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(2)
        s.connect(address)
attack("read a file of the host", lambda: open({secret!r}).read())
attack("write beside it", lambda: open({secret!r} + ".2", "w"))
attack("connect to the host over TCP", lambda: connect(socket.AF_INET, ("127.0.0.1", {port})))
attack("connect to an abstract socket of the host", lambda: connect(socket.AF_UNIX, {abstract!r}))
attack("look into the server's memory", lambda: libc.ptrace(16, {pid}, 0, 0) == 0)
attack("become root", lambda: os.setuid(0))
attack("make a user namespace", lambda: libc.unshare(0x10000000) == 0)
attack("open a vsock", lambda: socket.socket(40, socket.SOCK_STREAM).close())
attack("read the server's environment", lambda: open("/proc/{pid}/environ").read())
try:
    os.kill({victim}, 9)  # whether it arrives is seen outside: the same number may be another process in here
except OSError:
    pass
", ".join(got)
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of trying a level."""

    level: Level
    why: str
    """Why it is not to be had; "" if it holds."""

    @property
    def holds(self) -> bool:
        return not self.why


_seen: dict[Level, Probe] = {}


async def probe(level: Level) -> Probe:
    """Open a session at exactly that level and let the canaries loose in it. Done once per process."""
    if level not in _seen:
        _seen[level] = await _probe(level)
    return _seen[level]


async def reach(needs: Level) -> tuple[Level, str]:
    """The strongest level that holds, and one line on what is missing. Raises Unsupported if that is below `needs`."""
    reasons: list[str] = []
    for level in LEVELS:
        if level < needs:
            break
        if level is Level.RLIMITS and needs is not Level.RLIMITS:
            break
        found = await probe(level)
        if found.holds:
            lost = f"{_LOST[level]}. {' '.join(reasons)}" if reasons else ""
            return level, f"Sandbox level {level.name.lower()}: {lost}" if lost else ""
        reasons.append(f"{level.name.lower()} is not to be had: {found.why}. {_mend(level)}")
    raise Unsupported(f"EmbeddedSandbox: needs level {needs.name.lower()}. {' '.join(reasons)}")


async def _probe(level: Level) -> Probe:
    zygote = None
    try:
        zygote = await Zygote.start(plan_of(profile_of("python"), level))
        escaped = await _escapes(zygote)
    except (SandboxFailure, Unsupported) as error:
        return Probe(level, str(error))
    finally:
        if zygote is not None:
            await zygote.close()
    if level is Level.RLIMITS:
        return Probe(level, "")
    return Probe(level, f"code in a session could {escaped}" if escaped else "")


async def _escapes(zygote: Zygote) -> str:
    """What the canaries could do, in words."""
    link = await zygote.connect()
    try:
        with _bait() as (bait, victim):
            bounds = {**asdict(Limits()), "seed": 0, "settings": {}}
            opened, _ = await link.request("open", patience_s=60, bounds=bounds, files=[])
            code = {"code": _CANARIES.format(**bait)}
            answer, _ = await link.request("call", patience_s=60, m=opened["m"], tool="python", arguments=code, wall_s=None)
            killed = victim.poll() is not None
    finally:
        link.close()
        await link.ended(10)
    if answer["status"] != "ok":
        raise SandboxFailure("probe", f"the canaries ended with {answer['status']}: {answer['err'][-500:]}")
    return ", ".join([*filter(None, [str(answer["value"]).strip("'\"")]), *(["kill a process of the host"] if killed else [])])


@contextlib.contextmanager
def _bait() -> Generator[tuple[dict[str, Any], subprocess.Popen[bytes]]]:
    """Things of ours that a session must not reach, and a process that it must not end."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turnwise-bait-")))
        folder.chmod(0o777)
        secret = folder / "secret"
        secret.write_text("secret")
        secret.chmod(0o666)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        local = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract = f"\0turnwise-bait-{os.getpid()}-{folder.name}"
        local.bind(abstract)
        local.listen()
        victim = stack.enter_context(subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE))
        stack.callback(victim.kill)
        bait = {"secret": str(secret), "port": tcp.getsockname()[1], "abstract": abstract, "pid": os.getpid()}
        yield json.loads(json.dumps({**bait, "victim": victim.pid})), victim


def _setting(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""


def _mend(level: Level) -> str:
    """How to get a level on this machine."""
    if level is Level.LANDLOCK:
        return "It takes Linux 5.13 or newer with Landlock among /sys/kernel/security/lsm."
    for name, bad, good in (
        ("user/max_user_namespaces", "0", "15000"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ):
        if _setting(name) == bad:
            return f"To get it: sysctl -w {name.replace('/', '.')}={good}"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "To get it in a container: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    return "To get it: allow unprivileged user namespaces, or run the tool server on a machine that does."


def forget() -> None:
    """Probe again at the next question."""
    _seen.clear()
