"""Programs that are not Python (compilers, node, Chromium) in bubblewrap: own namespaces, no network, bounded as a whole.

    result = await run(["sh", "-c", "gcc main.c -o main && ./main"], files={"main.c": source})

Inside: an empty environment, the system's /usr read-only, /work and /tmp on one sized tmpfs, nothing else. As root the
program gets a user id of its own. `bubblewrap_launch.py` watches the process tree and dies with its owner, and all of it with it.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Any

from turnwise.errors import ConfigError, SandboxFailure, Unsupported
from turnwise.tool_servers.guest import seccomp
from turnwise.tool_servers.guest.output import Capture
from turnwise.tool_servers.guest.plan import SHARED
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Status, ToolResult, Usage

__all__ = ["Box", "Program", "command", "probe", "run", "start"]

_HOUSE = Path(__file__).resolve().parents[1]
_BOOT = """
import sys, types
for name in ("", ".tool_servers", ".tool_servers.guest", ".tool_servers.sandbox"):
    package = sys.modules["turnwise" + name] = types.ModuleType("turnwise" + name)
    package.__path__ = [sys.argv[1] + name.removeprefix(".tool_servers").replace(".", "/")]
from turnwise.tool_servers.sandbox.bubblewrap_launch import main
sys.exit(main(sys.argv[2], sys.argv[3:]))
"""
"""Starts the launcher with the standard library alone: empty packages stand in for ours, as in `guest/boot.py`."""
_ETC = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime")
_PATH = "/usr/local/bin:/usr/bin:/bin"
_NAMESPACES = ("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
_GRACE_S = 10.0
"""Beyond its wall time until the supervisor itself is held for broken."""
_started = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What a program finds and may use."""

    limits: Limits = field(default_factory=Limits)
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Relative path -> content, in /work, executable."""
    readable: tuple[str, ...] = ()
    """Further folders or files of this machine, read-only at the same path; what is missing is left out."""
    shared: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name -> folder of this machine that is at /shared/NAME, read-only."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    proc: bool = False
    """Whether there is a /proc (of the sandbox's own processes but the first)."""
    reserve: bool = True
    """Whether each process is bounded as well; False for programs that reserve far more address space than they use."""
    tick_s: float = 0.05
    """How often memory and CPU are looked at."""
    fds: int = 3
    """How many descriptors, from 0, the program inherits."""


async def run(
    argv: Sequence[str],
    files: Mapping[str, bytes] | None = None,
    limits: Limits | None = None,
    *,
    box: Box | None = None,
    stdin: bytes = b"",
) -> ToolResult:
    """Run one program to its end; `value` is {"exit": code}, negative for a signal.

    Raises SandboxFailure if bubblewrap broke, Unsupported if it cannot work here.
    """
    given = box or Box()
    chosen = replace(given, files={**given.files, **(files or {})}, limits=limits or given.limits)
    program = await start(argv, chosen)
    try:
        return await program.finish(stdin)
    finally:
        await program.kill()


async def start(argv: Sequence[str], box: Box) -> Program:
    """Start a program and leave it running; the caller ends it with `kill` or waits for it with `finish`."""
    report, report_end = os.pipe()
    status, status_end = os.pipe()
    plan = _memory(json.dumps(_plan(argv, box, wall_s=box.limits.wall_s, report=report_end, status=status_end)))
    try:
        process = await asyncio.create_subprocess_exec(
            *_launcher(f"fd:{plan}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(plan, report_end, status_end),
            env={},
        )
    except OSError as error:
        os.close(report)
        os.close(status)
        raise SandboxFailure("start", f"bubblewrap's launcher: {error}", retriable=True) from error
    finally:
        for fd in (plan, report_end, status_end):
            os.close(fd)
    return Program(process, box.limits, report, status)


def command(argv: Sequence[str], box: Box) -> list[str]:
    """The same as one command line, for another launcher (Playwright's); arguments after it are the program's. No wall time."""
    return _launcher(json.dumps(_plan(argv, box, wall_s=None, report=None, status=None)))


async def probe() -> None:
    """Find out by doing whether it works here; Unsupported with the reason and the mend."""
    try:
        result = await run(["true"])
    except SandboxFailure as error:
        raise Unsupported(
            f"bubblewrap: a sandbox could not be made here ({error.detail}). It needs unprivileged user namespaces: "
            "sysctl user.max_user_namespaces > 0 and kernel.unprivileged_userns_clone=1; inside Docker, "
            "--security-opt seccomp=unconfined --security-opt apparmor=unconfined or a host-side tool server."
        ) from error
    if result.status is not Status.OK:
        raise Unsupported(f"bubblewrap: `true` ended with {result.status} in the sandbox: {result.err}")


class Program:
    """A started program. Its output is bounded while it is read, its end is told by the supervisor alone."""

    def __init__(self, process: asyncio.subprocess.Process, limits: Limits, report: int, status: int) -> None:
        self.process, self.limits = process, limits
        self._report, self._status = report, status
        self._pidfd = os.pidfd_open(process.pid)
        self._closed = False

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self.process.pid

    async def finish(self, stdin: bytes = b"") -> ToolResult:
        """Feed it, read it to its end, say what came of it."""
        out, err = Capture(self.limits.output_kb * 1024), Capture(self.limits.output_kb * 1024)
        assert self.process.stdin and self.process.stdout and self.process.stderr
        work = asyncio.gather(
            _feed(self.process.stdin, stdin),
            self._read(self.process.stdout, out),
            self._read(self.process.stderr, err),
            self.process.wait(),
        )
        try:
            await asyncio.wait_for(work, self.limits.wall_s + _GRACE_S)
        except TimeoutError as error:
            raise SandboxFailure("supervisor", "it did not end a program at its wall time") from error
        return self._result(out, err)

    async def kill(self) -> None:
        """End it and everything below it. Again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._stop()
        await asyncio.gather(_drain(self.process.stdout), _drain(self.process.stderr))
        await self.process.wait()
        for fd in (self._report, self._status, self._pidfd):
            os.close(fd)

    async def _read(self, pipe: asyncio.StreamReader, kept: Capture) -> None:
        """To the end also after a flood, for a process is over only when its pipes are empty."""
        while block := await pipe.read(65536):
            kept.feed(block)
            if self._flooded(kept):
                self._stop()

    def _flooded(self, kept: Capture) -> bool:
        return kept.total > self.limits.output_stop_mb << 20

    def _stop(self) -> None:
        with suppress(ProcessLookupError):  # by pidfd: Popen.kill would reap it under the event loop's hands
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _result(self, out: Capture, err: Capture) -> ToolResult:
        report = _last_json(self._report)
        if "refused" in report:
            raise SandboxFailure("isolation", report["refused"])
        flood = self._flooded(out) or self._flooded(err)
        if not report and not flood:
            raise SandboxFailure("supervisor", "it ended without a report")
        usage = Usage(*(report.get(name, 0.0) for name in ("wall_ms", "cpu_ms", "peak_mb")))
        end = "output" if flood else report["end"]
        code: int | None = _last_json(self._status).get("exit-code")
        if end == "exit" and code is None:
            reason = err.text().strip()
            if not reason.startswith("bwrap: execvp "):
                raise SandboxFailure("bubblewrap", reason or f"exit status {report['code']}")
            code = 127  # what a shell says when it cannot start a program
        signed = None if code is None else code if code <= 128 else 128 - code
        status, line = _verdict(end, signed, self.limits)
        text = err.text()
        return ToolResult(
            status,
            out.text(),
            f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}" if line else text,
            {"exit": signed} if end == "exit" else None,
            truncated=bool(out.cut or err.cut),
            usage=usage,
        )


def _verdict(end: str, code: int | None, limits: Limits) -> tuple[Status, str]:
    """What an end means, and the line for the model."""
    if end == "wall":
        return Status.TIMEOUT, f"Stopped after {limits.wall_s:g} s: do less, or in smaller parts."
    if end == "cpu" or code == -signal.SIGXCPU:
        return Status.TIMEOUT, f"Stopped after {limits.cpu_s:g} s of CPU time: do less."
    if end == "memory":
        return Status.MEMORY, f"Stopped at {limits.memory_mb} MB of memory: use less at one time."
    if end == "output":
        return Status.OUTPUT, f"Stopped after {limits.output_stop_mb} MB of output: print less."
    if code == 0:
        return Status.OK, ""
    if code is not None and code < 0:
        return Status.DIED, f"Ended by signal {-code}."
    return Status.ERROR, f"Exit status {code}."


def _plan(argv: Sequence[str], box: Box, *, wall_s: float | None, report: int | None, status: int | None) -> dict[str, Any]:
    """All that the launcher needs, as JSON."""
    if not argv:
        raise ConfigError("bubblewrap: argv must name a program, got nothing.")
    limits, uid = box.limits, 0x60000000 + (os.getpid() % 0x8000 << 12) + next(_started) % 0x1000
    sources = [*box.readable, *box.shared.values()]
    carried = [path for path in sources if os.getuid() == 0 and not _reachable(Path(path))]
    return {
        "bwrap": _bwrap(),
        "argv": list(argv),
        "options": [*_options(box, carried), *([] if status is None else ["--json-status-fd", str(status)])],
        "uid": uid,
        "size": limits.disk_mb << 20,
        "inodes": limits.inodes,
        "files": {_relative(path): base64.b64encode(data).decode() for path, data in box.files.items()},
        "carried": carried,
        "rlimits": _rlimits(box),
        "seccomp": base64.b64encode(seccomp.program(seccomp.Policy())).decode(),
        "memory_mb": limits.memory_mb,
        "cpu_s": limits.cpu_s,
        "wall_s": wall_s,
        "tick_s": box.tick_s,
        "passed": box.fds,
        "report": report,
        "status": status,
    }


def _options(box: Box, carried: Sequence[str]) -> list[str]:
    """bwrap's options: what is there, then the root made read-only."""
    options = [*_NAMESPACES, "--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        if os.path.islink(name):
            options += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            options += ["--ro-bind", name, name]
    options += ["--bind", "/mnt/work", "/work", "--bind", "/mnt/tmp", "/tmp", "--dev", "/dev"]
    places = [(path, path) for path in (*_ETC, *box.readable)]
    for path, place in [*places, *((path, f"{SHARED}/{name}") for name, path in box.shared.items())]:
        source = f"/mnt/carried{carried.index(path)}" if path in carried else path
        options += ["--ro-bind" if path in carried else "--ro-bind-try", source, place]
    options += ["--bind", "/mnt/shm", "/dev/shm", "--remount-ro", "/dev"]
    # Under /proc/1 stands the memory of bwrap itself, which is of the same user.
    options += ["--proc", "/proc", "--size", "4096", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1"] if box.proc else []
    options += ["--remount-ro", "/", "--chdir", "/work"]
    for name, value in {"PATH": _PATH, "HOME": "/work", "LANG": "C.UTF-8", **box.environment}.items():
        options += ["--setenv", name, value]
    return options


def _rlimits(box: Box) -> dict[str, int]:
    """Per process; the supervisor bounds the whole tree. The supervisor and bwrap's two processes count as the user's too."""
    limits = box.limits
    each = {
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": limits.processes + 4,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_CPU": ceil(limits.cpu_s) + 1,
    }
    if box.reserve:
        each |= {"RLIMIT_DATA": (2 * limits.memory_mb + 256) << 20, "RLIMIT_FSIZE": limits.disk_mb << 20}
    return each


def _bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise Unsupported("bubblewrap: the program `bwrap` is not on the PATH; install it (`apt install bubblewrap`).")
    return found


def _reachable(path: Path) -> bool:
    """Whether every folder on the way lets everybody through."""
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents) if path.exists() else True


def _relative(path: str) -> str:
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise ConfigError(f"files: a path must be relative and stay in the work folder, got {path!r}.")
    return str(parts)


def _launcher(plan: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", _BOOT, str(_HOUSE), plan]


def _memory(text: str) -> int:
    fd = os.memfd_create("plan")
    with open(fd, "w", closefd=False) as file:
        file.write(text)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


async def _feed(pipe: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):
        pipe.write(data)
        await pipe.drain()
    pipe.close()


async def _drain(pipe: asyncio.StreamReader | None) -> None:
    while pipe and await pipe.read(65536):
        pass


def _last_json(fd: int) -> dict[str, Any]:
    """All keys of the JSON lines in a pipe whose writers have ended."""
    os.set_blocking(fd, False)
    with suppress(BlockingIOError):
        text = os.read(fd, 65536).decode()
        return {key: value for line in text.splitlines() for key, value in json.loads(line).items()}
    return {}
