"""SIGKILL in the middle of work, at moments drawn by a seed: two seconds later nothing of ours is left.

`python benchmarks/kill.py` measures how long that takes.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.tool_servers.attacks.backends import BACKENDS
from tests.tool_servers.attacks.killing import (
    containers_of,
    kill,
    mine,
    named,
    owner,
    reaping,
    supervisors_of,
    tree,
    until_nothing,
)
from tests.tool_servers.attacks.traces import traces

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


@pytest.fixture(autouse=True)
def reaper() -> Iterator[None]:
    with reaping():
        yield


def here(backend: str) -> None:
    if why := BACKENDS[backend].lacks():
        pytest.skip(why)


@pytest.mark.parametrize(("backend", "seed"), [(b, s) for b, n in MOMENTS.items() for s in range(n)])
def test_a_killed_server_leaves_nothing(backend: str, seed: int, tmp_path: Path) -> None:
    here(backend)
    chance = random.Random(seed)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    containers = BACKENDS[backend].containers
    with owner(backend, SESSIONS[backend], tmp_path) as server:
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
    with owner(backend, SESSIONS[backend], tmp_path) as server:
        zygotes = server.children()
        kill(zygotes if victim == "zygote" else supervisors_of(server))
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
    with owner("namespaces", SESSIONS["namespaces"], tmp_path) as server:
        watchers = named(server, "zygote", "janitor", "builder", "supervisor")
        kill([server, *watchers, *(p for p in tree(server) if chance.random() < 0.5)])
        deadline = time.monotonic() + LEFT_S + 3
        while (left := mine(before | {server.pid})) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, f"{len(left)} left: {left}"

    async def start() -> None:
        async with BACKENDS["namespaces"].open():
            assert not traces(server.pid, tmp_path)

    asyncio.run(start())
