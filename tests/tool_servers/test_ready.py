"""What outlives a session: one supervisor, and where asked for blank sessions; nothing of a session is in either."""

import asyncio
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.tool_servers.attacks.killing import named, zygote
from turnwise.errors import ConfigError
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status

POLL = {"x86_64": "7", "aarch64": "73"}.get(platform.machine())
"""The number of the system call; on the second it is ppoll's, which is what poll becomes."""
LOOK = "import os, random; (sorted(os.listdir('/work')), os.listdir('/tmp'), [n for n in dir() if n == 'mine'], random.random())"


def below(sandbox: EmbeddedSandbox) -> set[int]:
    return {p.pid for p in zygote(sandbox).children(recursive=True)}


def inner(sandbox: EmbeddedSandbox) -> set[int]:
    """The processes that sessions, also blank ones, live in."""
    return {p.pid for p in named(zygote(sandbox), "session")}


async def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def test_the_same_processes_before_and_after() -> None:
    """And one brancher more, for a second after the last forked session, that waits for the next to be forked."""

    async def main() -> None:
        async with EmbeddedSandbox(ready=0) as sandbox:
            before, fds = below(sandbox), 0

            def as_before() -> bool:
                branchers = {p.pid for p in named(zygote(sandbox), "brancher")}
                return len(branchers) <= 1 and below(sandbox) - branchers == before

            for turn in range(3):
                sessions = await asyncio.gather(*(sandbox.open(SessionSpec(f"s{turn}-{i}")) for i in range(4)))
                (twin,) = await sessions[0].fork([f"t{turn}"])
                await asyncio.gather(*(s.close() for s in (twin, *sessions)))
                await until(as_before)
                (supervisor,) = named(zygote(sandbox), "supervisor")
                fds = fds or supervisor.num_fds()
                assert supervisor.num_fds() == fds and zygote(sandbox).num_fds() <= fds + 4

    asyncio.run(main())


def test_supervisors_wait_for_the_next_sessions_but_not_all_of_them() -> None:
    async def main() -> None:
        async with EmbeddedSandbox() as sandbox:

            async def at_once(names: str) -> None:
                sessions = await asyncio.gather(*(sandbox.open(SessionSpec(name)) for name in names))
                assert [(await s.call(1, "python", {"code": "x = 1; x"})).value for s in sessions] == ["1"] * len(names)
                await asyncio.gather(*(s.close() for s in sessions))

            def supervisors() -> set[int]:
                return {p.pid for p in named(zygote(sandbox), "supervisor")}

            await at_once("abcdefghijkl")
            await until(lambda: len(supervisors()) in (8, 9))
            waiting = supervisors()
            await at_once("mnopqrst")
            assert supervisors() <= waiting and len(supervisors()) >= 8 and not inner(sandbox)
            (task,) = sandbox._zygotes.values()
            task.result().expire(time.monotonic() + 3600)
            await until(lambda: len(supervisors()) == 1)
            await at_once("ab")

    asyncio.run(main())


def test_what_a_session_used_is_not_the_next_ones() -> None:
    """They have one supervisor and one control group, which counts on; also for forks, whose family is asked one by one."""
    burn = "import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"

    async def main() -> None:
        async with EmbeddedSandbox(ready=0) as sandbox:
            supervisors = set[int]()
            for turn in range(4):
                session = await sandbox.open(SessionSpec(f"s{turn}", limits=Limits(cpu_s=1.0)))
                supervisors.update(p.pid for p in named(zygote(sandbox), "supervisor"))
                assert (await session.call(1, "python", {"code": burn})).status is Status.OK, f"session {turn}"
                (twin,) = await session.fork([f"t{turn}"])
                result = await twin.call(2, "python", {"code": burn})
                assert result.status is Status.OK and result.usage.cpu_ms >= 400, f"fork of session {turn}: {result}"
                await asyncio.gather(twin.close(), session.close())
            assert len(supervisors) == 1, "this is about one that is used again"

    asyncio.run(main())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees in which system call others wait")
def test_init_cannot_miss_the_end_of_a_child() -> None:
    """It waits in poll, with a pipe in which the end of a child leaves a byte. In recvmsg it would sleep on, as it once did, if
    the signal came a moment before; then the child was never buried, and the session broke over it."""

    def waits_in(process: psutil.Process) -> str:
        return Path(f"/proc/{process.pid}/syscall").read_text().split()[0]

    async def main() -> None:
        async with EmbeddedSandbox(ready=0) as sandbox:
            session = await sandbox.open(SessionSpec("s"))
            await session.call(1, "python", {"code": "import os\nif os.fork() == 0: os._exit(0)"})
            (init,) = named(zygote(sandbox), "init")
            await until(lambda: waits_in(init) != "running")
            assert waits_in(init) == POLL

    asyncio.run(main())


def test_nothing_of_a_session_is_in_the_next() -> None:
    async def main() -> None:
        async with EmbeddedSandbox() as sandbox:
            users: list[str] = []
            for limits in (Limits(disk_mb=1), Limits(disk_mb=2, open_files=50), Limits(memory_mb=100)):
                session = await sandbox.open(SessionSpec("s", limits=limits, seed=5, files={"given": b""}))
                assert (await session.call(1, "python", {"code": LOOK})).value == "(['given'], [], [], 0.6229016948897019)"
                size = "s = os.statvfs('/work'); s.f_blocks * s.f_frsize >> 20"
                assert (await session.call(2, "python", {"code": size})).value == str(limits.disk_mb)
                leave = "mine = 1; import resource; open('/work/left', 'w'); open('/tmp/left', 'w'); resource.getrlimit(7)[0]"
                assert (await session.call(3, "python", {"code": leave})).value == str(limits.open_files)
                end = await session.call(4, "python", {"code": "bytearray(1 << 30)"})
                assert end.status in (Status.MEMORY, Status.ERROR)
                users.append(str((await session.call(5, "python", {"code": "1"})).status))
                await session.close()
            assert users == ["ok"] * 3

    asyncio.run(main())


def test_blank_sessions_are_handed_out_once_with_what_was_asked_for() -> None:
    async def main() -> None:
        async with EmbeddedSandbox(ready=2) as sandbox:
            first = [await sandbox.open(SessionSpec(f"a{i}")) for i in range(2)]
            await until(lambda: len(inner(sandbox)) == 4)
            blank = inner(sandbox)
            spec = {"files": {"given": b""}}
            sessions = await asyncio.gather(
                *(sandbox.open(SessionSpec(f"b{i}", seed=i // 2, files=spec["files"])) for i in range(4)),
                sandbox.open(SessionSpec("other", limits=Limits(disk_mb=1))),
            )
            assert blank <= inner(sandbox)  # they became sessions
            looks = [(await s.call(1, "python", {"code": LOOK + "; mine = 1"})).err for s in sessions]
            assert looks == [""] * 5
            draws = [(await s.call(2, "python", {"code": "random.random()"})).value for s in sessions[:4]]
            assert draws[0] == draws[1] != draws[2] == draws[3]
            size = await sessions[4].call(2, "python", {"code": "s = os.statvfs('/work'); s.f_blocks * s.f_frsize >> 20"})
            assert size.value == "1"
            await asyncio.gather(*(s.close() for s in (*first, *sessions)))
            await until(lambda: len(inner(sandbox)) <= 2 and not inner(sandbox) & blank)

    asyncio.run(main())


def test_a_blank_session_that_died_is_not_handed_out() -> None:
    async def main() -> None:
        async with EmbeddedSandbox(ready=1) as sandbox:
            first = await sandbox.open(SessionSpec("a"))
            mine = inner(sandbox)
            await until(lambda: len(inner(sandbox)) == 2)
            (blank,) = inner(sandbox) - mine
            psutil.Process(blank).kill()
            second = await sandbox.open(SessionSpec("b"))
            for session in (first, second):
                assert (await session.call(1, "python", {"code": "1 + 1"})).value == "2"
            with pytest.raises(ConfigError, match="no settings"):
                await sandbox.open(SessionSpec("c", settings={"colour": 1}))

    asyncio.run(main())


def test_ready_is_a_number_of_sessions() -> None:
    with pytest.raises(ConfigError, match="ready must be a number"):
        EmbeddedSandbox(ready=-1)
