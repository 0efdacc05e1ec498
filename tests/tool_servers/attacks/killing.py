"""What is needed to kill a server in the middle of its work, and to count what is left of it.

Who counts makes itself the reaper of all that it started, so that no process can hide by losing its parents.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.tool_servers.attacks.backends import LABEL
from tests.tool_servers.attacks.traces import traces
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox

__all__ = [
    "containers_of",
    "kill",
    "lives",
    "mine",
    "named",
    "owner",
    "program",
    "reaping",
    "supervisors_of",
    "tree",
    "until_nothing",
    "zygote",
]

ROOT = Path(__file__).parents[3]
SUBREAPER = 36


@contextmanager
def reaping() -> Generator[None]:
    """Meanwhile orphans below this process become its children."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        libc.prctl(SUBREAPER, 0, 0, 0, 0)


def tree(root: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return root.children(recursive=True)
    return []


def lives(process: psutil.Process) -> bool:
    """It has not ended, also not while we looked."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def named(root: psutil.Process, *names: str) -> list[psutil.Process]:
    """Those below that call themselves so: zygote, janitor, builder, supervisor, init, brancher, session."""
    found: list[psutil.Process] = []
    for process in tree(root):
        with suppress(psutil.NoSuchProcess):
            if process.name().removeprefix("tw-") in names:
                found.append(process)
    return found


def zygote(sandbox: EmbeddedSandbox) -> psutil.Process:
    """Of this sandbox, which has one profile: the process may have others."""
    (task,) = sandbox._zygotes.values()  # pyright: ignore[reportPrivateUsage]
    return psutil.Process(task.result().zygote.pid)


def supervisors_of(server: psutil.Process) -> list[psutil.Process]:
    """Of all zygotes."""
    return named(server, "supervisor")


@contextmanager
def owner(backend: str, sessions: int, folder: Path) -> Generator[psutil.Process]:
    """A server (or a client of one) with its sessions open and at work."""
    with program(backend, sessions, folder) as (process, said):
        assert said == "ready", "the server did not come up"
        yield process


@contextmanager
def program(backend: str, sessions: int, folder: Path) -> Generator[tuple[psutil.Process, str]]:
    """`owner.py` with these arguments, and the first line that it says."""
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.tool_servers.attacks.owner", backend, str(sessions)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        server = psutil.Process(process.pid)
        try:
            yield server, process.stdout.readline().decode().strip()
        finally:
            for left in [*tree(server), server]:
                with suppress(psutil.NoSuchProcess):
                    left.kill()


def mine(others: set[int]) -> set[int]:
    """Processes below this test but for the others; those that ended are buried on the way."""
    found: set[int] = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.pid in others:
                continue
            if child.status() == psutil.STATUS_ZOMBIE:
                if child.ppid() == os.getpid():
                    with suppress(ChildProcessError):
                        os.waitpid(child.pid, os.WNOHANG)
                continue
            found.add(child.pid)
    return found


def cmdline(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[-80:]
    return "ended meanwhile"


def containers_of(pid: int) -> list[str]:
    form = f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}'
    lines = subprocess.run(["docker", "ps", "-a", "--format", form], capture_output=True, text=True, check=True).stdout
    return [f"container {line}" for line in lines.splitlines() if f"/{pid}/" in line]


def until_nothing(before: set[int], pid: int, folder: Path, containers: bool, within_s: float) -> list[str]:
    """Poll; what is still there when the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        left = [f"process {p} {cmdline(p)}" for p in mine(before | {pid})] + traces(pid, folder)
        left += containers_of(pid) if containers else []
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
