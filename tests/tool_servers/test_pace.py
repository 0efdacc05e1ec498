"""Who gets the processor when others want it: what owes time goes last, but it is never kept from beginning."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tool_servers.attacks.killing import named, zygote
from turnwise.tool_servers.guest.cgroups import Pace, find_groups
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox, EmbeddedSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Level, SessionSpec, Status

SHARES, FREEZER = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/freezer")
BUSY = "while True: pass"

pytestmark = pytest.mark.skipif(not os.access(SHARES, os.W_OK), reason="no groups that share the processor may be made here")


@contextmanager
def crowd(weight: int) -> Generator[None]:
    """Beside the sessions of this process two busy processes for each core, which weigh so much together."""
    parent = next(path for path in SHARES.glob(f"turnwise-{os.getpid()}-*") if not path.name.endswith("-watch"))
    group = parent / "crowd"
    group.mkdir()
    (group / "cpu.shares").write_text(str(weight))
    members: list[subprocess.Popen[bytes]] = []
    try:
        for core in [*os.sched_getaffinity(0)] * 2:
            members.append(subprocess.Popen([sys.executable, "-I", "-S", "-c", BUSY]))
            (group / "cgroup.procs").write_text(str(members[-1].pid))
            os.sched_setaffinity(members[-1].pid, {core})
        yield
    finally:
        for member in members:
            member.kill()
            member.wait()
        _remove(group)


def _remove(group: Path) -> None:
    for _ in range(500):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.01)
    raise AssertionError(f"{group} holds somebody")


async def in_debt(sandbox: EmbeddedSandbox) -> EmbeddedSession:
    """A session that has computed for long, and is ready again."""
    session = await sandbox.open(SessionSpec("in-debt", limits=Limits(wall_s=60)))
    work = "import time\nwhile time.process_time() < 0.4: pass"
    assert (await session.call(1, "python", {"code": work}, wall_s=60)).status is Status.OK
    return session


@pytest.mark.parametrize("level", [Level.NAMESPACES, Level.LANDLOCK], ids=lambda level: level.name.lower())
def test_debt_is_not_charged_to_the_wall_clock(level: Level) -> None:
    """Beside a crowd that weighs as much as 32 sessions, whoever goes last has its turn after seconds."""

    async def run() -> None:
        async with EmbeddedSandbox(level=level, needs=level) as sandbox:
            session = await in_debt(sandbox)
            with crowd(32 * 1024):
                for seq in range(2, 6):
                    result = await session.call(seq, "python", {"code": "print(1)"}, wall_s=1.0)
                    assert (result.status, result.out) == (Status.OK, "1\n"), result

    asyncio.run(run())


def test_what_could_not_begin_has_a_little_more_time() -> None:
    """A call that is over its time before anybody looked whether it starves: it runs before all, and not for long."""

    async def run() -> None:
        async with EmbeddedSandbox(level=Level.NAMESPACES) as sandbox:
            session = await in_debt(sandbox)
            with crowd(32 * 1024):
                done = [await session.call(seq, "python", {"code": "1"}, wall_s=0.05) for seq in range(2, 6)]
                asleep = await session.call(6, "python", {"code": "import time; time.sleep(9)"}, wall_s=0.05)
            assert any(result.status is Status.OK for result in done), done
            assert asleep.status is Status.TIMEOUT

    asyncio.run(run())


def test_the_order_of_paces() -> None:
    """Each weighs more than the one before; the last gets only what nobody else wants; who starves is among equals next."""
    groups = find_groups(f"turnwise-{os.getpid()}-pace")
    assert groups is not None
    group = groups.group("s")
    folder = SHARES / groups.name / "s"
    try:
        weights: list[int] = []
        for pace in Pace:
            group.pace(pace)
            assert group.late == (pace is Pace.LATE)
            assert (folder / "cpu.idle").read_text().strip() == ("1" if pace is Pace.LAST else "0")
            weights.append(int((folder / "cpu.shares").read_text()))
        assert weights[1:] == sorted(weights[1:]) and weights[Pace.USUAL] == 1024
        for pace in (Pace.LAST, Pace.LATE):
            group.pace(pace)
            assert group.faster() is Pace.USUAL
    finally:
        group.remove()
        groups.remove()


def test_who_watches_is_not_among_the_sessions() -> None:
    """What sessions use up is charged to their folder; a supervisor below it would wait for its turn with them."""

    async def run() -> None:
        async with EmbeddedSandbox(level=Level.NAMESPACES) as sandbox:
            await sandbox.open(SessionSpec("s"))
            root = zygote(sandbox)
            (session,) = named(root, "session")
            watchers = [root, *named(root, "supervisor")]
            assert len(watchers) > 1 and {_place(p.pid) for p in watchers} == {f"{Path(_place(session.pid)).parent}-watch"}

    asyncio.run(run())


def _place(pid: int) -> str:
    """Its group in the controller that shares the processor."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(path for _, controllers, path in (line.split(":", 2) for line in lines) if "cpu" in controllers.split(","))


@pytest.mark.skipif(not os.access(FREEZER, os.W_OK), reason="nothing can be frozen here")
def test_what_is_killed_is_doomed_before_it_is_gone() -> None:
    """A killed process that has to wait in the kernel, here because it is frozen, runs no further; it is gone later."""
    groups = find_groups(f"turnwise-{os.getpid()}-doom")
    assert groups is not None
    group, frozen = groups.group("s"), FREEZER / f"turnwise-{os.getpid()}-doom"
    frozen.mkdir()
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", BUSY])
    try:
        group.add(process.pid)
        (frozen / "cgroup.procs").write_text(str(process.pid))
        (frozen / "freezer.state").write_text("FROZEN")
        assert group.doom_all_but(0, 10.0)
        assert not group.end_all_but(0, 0.1)
        (frozen / "freezer.state").write_text("THAWED")
        assert process.wait(10.0) == -signal.SIGKILL and group.end_all_but(0, 10.0)
    finally:
        (frozen / "freezer.state").write_text("THAWED")
        process.kill()
        process.wait()
        _remove(frozen)
        group.remove()
        groups.remove()
