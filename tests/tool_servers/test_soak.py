"""Sessions come, work, are attacked, are forked and go, for a while: what the server holds stays flat.

About 20 s; TURNWISE_SOAK_S=3600 for the long form. Counts are compared between two quiet points with the same number of live
sessions, so nothing depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.tool_servers.attacks.killing import lives, tree
from turnwise.errors import SandboxFailure
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox, EmbeddedSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Level, SessionSpec, Status

SOAK_S = float(os.environ.get("TURNWISE_SOAK_S", "9"))
"""For each level."""
SESSIONS = 32 if SOAK_S > 60 else 8
LIMITS = Limits(wall_s=20, memory_mb=64, processes=8, disk_mb=4, inodes=128, output_stop_mb=2, open_files=64)
ATTACKS = (
    "while True: pass",
    "x = bytearray(b'x' * (200 << 20))",
    "import os\nwhile True: os.write(1, b'x' * 65536)",
    "import os\nos._exit(1)",
    "import os, time\nfor _ in range(20):\n    try: os.fork() or time.sleep(9)\n    except OSError: break",
    "import os\nif os.fork() == 0:\n    os.setsid()\n    import time; time.sleep(60)\n    os._exit(0)",
    "open('/tmp/fill', 'wb').write(bytes(50 << 20))",
    "import os\nfor i in range(999): open(f'f{i}', 'w').close()",
    "import os\nos.closerange(0, 64)",
    "import ctypes\nctypes.memset(0, 1, 1)",
    "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "raise SystemExit",
)


COUNTS = ("fds", "processes", "groups", "mounts", "zygote_fds")


@dataclass(frozen=True)
class Holdings:
    """What the server and everything below it hold at a quiet point."""

    fds: int
    processes: int
    groups: int
    mounts: int
    zygote_fds: int
    server_mb: int
    zygote_mb: int


def holdings() -> Holdings:
    gc.collect()
    server = psutil.Process()
    zygotes = server.children()
    mark = f"turnwise-{os.getpid()}-"
    groups = sum(len(folders) for root, folders, _ in os.walk("/sys/fs/cgroup") if mark in root)
    return Holdings(
        fds=server.num_fds(),
        processes=sum(map(lives, tree(server))),
        groups=groups,
        mounts=len(Path("/proc/self/mountinfo").read_text().splitlines()) if os.geteuid() else 0,
        zygote_fds=sum(z.num_fds() for z in zygotes),
        server_mb=server.memory_info().rss >> 20,
        zygote_mb=sum(z.memory_info().rss for z in zygotes) >> 20,
    )


async def one(sandbox: EmbeddedSandbox, name: str, chance: random.Random, seen: Counter[str]) -> None:
    """A trajectory: honest calls whose answers are checked, one attack in ten, sometimes a fork, sometimes no goodbye."""
    session = await sandbox.open(SessionSpec(name, limits=LIMITS, files={"data": b"x" * 1000}))
    kept, restarts = 0, 0
    twins: list[EmbeddedSession] = []
    for seq in range(1, chance.randrange(3, 12)):
        if chance.random() < 0.1:
            result = await session.call(seq, "python", {"code": chance.choice(ATTACKS)}, wall_s=0.5)
            seen[f"attack {result.status}"] += 1
            if result.status in (Status.OK, Status.ERROR):
                break  # the session may be full or have children: it goes as it is
            kept = 0
        else:
            result = await session.call(seq, "python", {"code": "n = globals().get('n', 0) + 1\nprint(n)"})
            restarts += result.restarted
            kept = 1 if result.restarted else kept + 1
            assert (result.status, result.out.strip()) == (Status.OK, str(kept)), result
            seen["honest"] += 1
        if chance.random() < 0.1:
            try:
                twins += await session.fork([f"{name}-{seq}"])
                seen["fork"] += 1
            except ForkRefused:
                seen["refused"] += 1
    for twin in twins:
        await twin.close()
    await session.close()


async def soak(level: Level, seconds: float) -> tuple[Holdings, Holdings, Counter[str]]:
    """Holdings after a first round, and after the last; in between rounds of SESSIONS trajectories at one time."""
    chance, seen = random.Random(3), Counter[str]()
    async with EmbeddedSandbox(level=level, needs=level) as sandbox:

        async def rounds(until: float, tag: str) -> None:
            number = 0

            async def work(lane: int) -> None:
                nonlocal number
                while asyncio.get_running_loop().time() < until:
                    number += 1
                    await one(sandbox, f"{tag}{number}", random.Random(chance.random()), seen)

            await asyncio.gather(*(work(lane) for lane in range(SESSIONS)))

        now = asyncio.get_running_loop().time
        await rounds(now() + seconds / 4, "a")
        first = await quiet(None)
        await rounds(now() + seconds * 3 / 4, "b")
        last = await quiet(first)
        return first, last, seen


async def quiet(goal: Holdings | None) -> Holdings:
    """Once nothing changes any more (or the goal's counts are there): what ended may need a moment to be buried."""
    before = holdings()
    for _ in range(1200):
        await asyncio.sleep(0.1)
        after = holdings()
        still = (after.processes, after.groups, after.fds) == (before.processes, before.groups, before.fds)
        if still and (goal is None or all(getattr(after, name) <= getattr(goal, name) for name in COUNTS)):
            return after
        before = after
    return before


@pytest.mark.parametrize("level", [Level.NAMESPACES, Level.LANDLOCK], ids=lambda level: level.name.lower())
def test_nothing_grows(level: Level) -> None:
    first, last, seen = asyncio.run(soak(level, SOAK_S))
    assert seen["honest"] > 20 and sum(n for word, n in seen.items() if word.startswith("attack")) > 0, seen
    for name in COUNTS:
        assert getattr(last, name) <= getattr(first, name), f"{name} grew: {first} -> {last}, {seen}"
    assert last.server_mb <= first.server_mb + 24 and last.zygote_mb <= first.zygote_mb + 16, f"{first} -> {last}, {seen}"


def test_a_dead_sandbox_is_no_observation() -> None:
    """Its supervisor and its zygote killed: every call is a failure of the sandbox, none is a result."""

    before = set(psutil.Process().children(recursive=True))

    async def run() -> None:
        async with EmbeddedSandbox() as sandbox:
            session = await sandbox.open(SessionSpec("dead"))
            assert (await session.call(1, "python", {"code": "print(1)"})).out == "1\n"
            for child in set(psutil.Process().children(recursive=True)) - before:
                with suppress(psutil.NoSuchProcess):  # it went with the one before it
                    child.kill()
            for seq in (2, 2, 3):
                with pytest.raises(SandboxFailure):
                    await session.call(seq, "python", {"code": "print(2)"})
            again = await sandbox.open(SessionSpec("fresh"))
            assert (await again.call(1, "python", {"code": "print(3)"})).out == "3\n"

    asyncio.run(run())
