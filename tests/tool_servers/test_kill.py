"""SIGKILL in the middle of work, at moments drawn by a seed: two seconds later nothing of ours is left.

The test makes itself the reaper of all that it started, so that no process can hide by losing its parents.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.tool_servers.attacks.backends import BACKENDS, LABEL
from tests.tool_servers.attacks.traces import traces

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("TURNWISE_FULL") == "1"
"""The long form: 200 sessions and 20 moments; the short one has fewer of both."""
SESSIONS = {
    "namespaces": 200 if FULL else 40,
    "landlock": 200 if FULL else 24,
    "http": 200 if FULL else 16,
    "docker": 6,
    "gvisor": 3,
}
MOMENTS = {"namespaces": 20 if FULL else 2, "landlock": 20 if FULL else 1, "http": 20 if FULL else 1, "docker": 3 if FULL else 1}
LEFT_S = 2.0
SUBREAPER = 36


@pytest.fixture(autouse=True)
def reaper() -> Iterator[None]:
    """While a test runs, orphans below it become its children."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(SUBREAPER, 0, 0, 0, 0)


def tree(root: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return root.children(recursive=True)
    return []


@contextmanager
def owner(backend: str, folder: Path) -> Generator[psutil.Process]:
    """A server with its sessions open and at work."""
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.tool_servers.attacks.owner", backend, str(SESSIONS[backend])]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        server = psutil.Process(process.pid)
        try:
            assert process.stdout.readline() == b"ready\n", "the server did not come up"
            yield server
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


def here(backend: str) -> None:
    if why := BACKENDS[backend].lacks():
        pytest.skip(why)


@pytest.mark.parametrize(("backend", "seed"), [(b, s) for b, n in MOMENTS.items() for s in range(n)])
def test_a_killed_server_leaves_nothing(backend: str, seed: int, tmp_path: Path) -> None:
    here(backend)
    chance = random.Random(seed)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    containers = BACKENDS[backend].containers
    with owner(backend, tmp_path) as server:
        assert containers or len(tree(server)) >= 2 * SESSIONS[backend]
        assert not containers or len(containers_of(server.pid)) >= SESSIONS[backend]
        time.sleep(chance.random())
        server.kill()
        left = until_nothing(before, server.pid, tmp_path, containers, 10 * LEFT_S if containers else LEFT_S + 3)
        assert not left, f"{len(left)} left: {left[:5]}"


@pytest.mark.parametrize("victim", ["zygote", "supervisors"])
@pytest.mark.parametrize("backend", ["namespaces", "landlock"])
def test_killed_in_the_middle(backend: str, victim: str, tmp_path: Path) -> None:
    """The zygote or all supervisors die, and their sessions with them; when the server dies too, nothing is left."""
    here(backend)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    with owner(backend, tmp_path) as server:
        zygotes = server.children()
        supervisors = [s for z in zygotes for s in z.children()]
        kill(zygotes if victim == "zygote" else supervisors)
        if victim == "supervisors":
            own = {p.pid for p in (server, *zygotes)}
            deadline = time.monotonic() + LEFT_S + 3
            while (left := mine(before | own)) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not left, f"{len(left)} processes outlive their supervisors"
        kill([server])
        left = until_nothing(before, server.pid, tmp_path, False, LEFT_S + 3)
        assert not left, f"{len(left)} left: {left[:5]}"


def test_all_who_watch_and_a_random_half_are_killed(tmp_path: Path) -> None:
    """At once, with the server: no process is left, and the next start removes the control groups that nobody was left to remove.

    Not at the level of Landlock: without a pid namespace a process that wants to outlives its init and supervisor killed at once.
    """
    chance = random.Random(7)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    with owner("namespaces", tmp_path) as server:
        watchers = [p for z in server.children() for p in (z, *z.children())]
        kill([server, *watchers, *(p for p in tree(server) if chance.random() < 0.5)])
        deadline = time.monotonic() + LEFT_S + 3
        while (left := mine(before | {server.pid})) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, f"{len(left)} left: {[cmdline(p) for p in left][:5]}"

    async def start() -> None:
        async with BACKENDS["namespaces"].open():
            assert not traces(server.pid, tmp_path)

    asyncio.run(start())


def kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
