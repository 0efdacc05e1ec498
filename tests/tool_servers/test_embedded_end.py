"""The end of sessions: by close, lease, and SIGKILL of whoever holds them; nothing is left. And the same as an ordinary user."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.tool_servers.attacks.killing import lives, zygote
from turnwise.errors import SandboxFailure
from turnwise.tool_servers.guest.cgroups import leftovers
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.protocol import Level, SessionSpec, Status

HERE = Path(__file__).parent
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


def until(true: Callable[[], bool], seconds: float = 120.0) -> bool:
    """Ask again and again; False after that time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def dead(processes: list[psutil.Process]) -> bool:
    return not any(lives(p) for p in processes)


def traces(pids: list[int], owner: int) -> list[str]:
    """What is left in the file system: temporary folders, control groups, mounts."""
    found = [str(p) for pid in pids for p in Path("/tmp").glob(f"turnwise-{pid}-*")]
    found += [name for name in leftovers() if name.startswith(f"turnwise-{owner}-")]
    return found + [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " /box " in line]


def kinds_below(owner: int) -> dict[int, str]:
    """Process -> kind: what it calls itself, without those that are just leaving."""
    kinds: dict[int, str] = {}
    for process in below(owner):
        with contextlib.suppress(psutil.NoSuchProcess):
            kinds[process.pid] = process.name().removeprefix("tw-")
    return {pid: kind for pid, kind in kinds.items() if psutil.pid_exists(pid)}


class Owner:
    """A program with sessions, all of whose processes are known."""

    def __init__(self, level: str, count: int, *, ordinary: bool = False) -> None:
        self._before = set(Path("/tmp").glob("turnwise-*"))
        become = [sys.executable, str(HERE / "plain_user.py")] if ordinary else []
        program = [sys.executable, str(HERE / "embedded_owner.py"), level, str(count)]
        self._process = subprocess.Popen([*become, *program], stdout=subprocess.PIPE, text=True, cwd=HERE.parents[1])
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"
        self.pid = self._process.pid
        self._kinds = kinds_below(self.pid)
        self.processes = [psutil.Process(pid) for pid in self._kinds]

    def of_kind(self, kind: str) -> list[psutil.Process]:
        return [p for p in self.processes if self._kinds[p.pid] == kind]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    def nothing_left(self) -> bool:
        return until(lambda: dead(self.processes) and not self.traces())

    def traces(self) -> list[str]:
        return [t for t in traces([p.pid for p in self.processes], self.pid) if Path(t) not in self._before]


@pytest.mark.parametrize(("level", "count"), [("NAMESPACES", 200), ("LANDLOCK", 20)])
def test_sigkill_of_the_owner_leaves_nothing(level: str, count: int) -> None:
    owner = Owner(level, count)
    assert len(owner.processes) >= 2 + 3 * count + count // 4
    owner.kill()
    assert owner.nothing_left(), (dead(owner.processes), owner.traces())


@pytest.mark.parametrize("level", ["NAMESPACES", "LANDLOCK"])
@pytest.mark.parametrize("victims", ["zygote", "supervisor", "init", "session", "zygote supervisor"])
def test_sigkill_of_any_link_of_the_chain(victims: str, level: str) -> None:
    owner = Owner(level, 8)
    killed = [p for kind in victims.split() for p in owner.of_kind(kind)]
    assert killed
    try:
        for process in killed:
            with contextlib.suppress(psutil.NoSuchProcess):  # the death of one is the end of others
                process.kill()
        if "zygote" not in victims and victims != "session":
            assert until(lambda: dead([*owner.of_kind("init"), *owner.of_kind("session")]))
    finally:
        owner.kill()
    assert owner.nothing_left(), owner.traces()


@ROOT_ONLY
def test_sigkill_of_an_ordinary_owner() -> None:
    owner = Owner("NAMESPACES", 20, ordinary=True)
    owner.kill()
    assert owner.nothing_left(), ([p for p in owner.processes if lives(p)], owner.traces())


@ROOT_ONLY
@pytest.mark.parametrize("level", ["NAMESPACES", "LANDLOCK"])
def test_an_ordinary_user_gets_the_same(level: str) -> None:
    program = [sys.executable, HERE / "plain_user.py", sys.executable, HERE / "embedded_owner.py", level, "0", "canaries"]
    done = subprocess.run(program, capture_output=True, text=True, cwd=HERE.parents[1], timeout=600)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    inside = "65534" if level == "NAMESPACES" else "54321"
    assert said["level"] == level and said["ids"][1] == f"({inside}, {inside}, {inside})"
    assert said["loop"][0] == "timeout" and said["after"][1] == "'x'"
    assert said["hogs"][0] == "memory" and "128 MB" in said["hogs"][2]
    assert (
        said["bomb"][:2] == ["ok", "11"]
        if level == "NAMESPACES"
        else said["bomb"][0] == "error" and "12 processes" in said["bomb"][2]
    )
    assert said.get("fork", "2") == "2"


def test_close_leaves_nothing() -> None:
    async def main() -> tuple[list[psutil.Process], list[int]]:
        async with EmbeddedSandbox(ready=0) as sandbox:
            session = await sandbox.open(SessionSpec("a"))
            await session.call(
                1, "python", {"code": "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"}
            )
            kinds = kinds_below(zygote(sandbox).pid)
            processes = [psutil.Process(pid) for pid in kinds]
            inner = [p for p in processes if kinds[p.pid] not in ("janitor", "builder")]
            assert len(inner) == 4
            await session.close()
            assert dead([p for p in inner if kinds[p.pid] != "supervisor"])  # which waits for the next session
            await sandbox.open(SessionSpec("b"))
            processes.append(zygote(sandbox))
        return processes, [p.pid for p in processes]

    processes, pids = asyncio.run(main())
    assert until(lambda: dead(processes)) and not traces(pids, os.getpid())


def test_a_lease_that_is_over() -> None:
    async def main() -> None:
        async with EmbeddedSandbox() as sandbox:
            kept = await sandbox.open(SessionSpec("kept", lease_s=2.0))
            idle = await sandbox.open(SessionSpec("idle", lease_s=0.5))
            busy = asyncio.create_task(kept.call(1, "python", {"code": "import time; time.sleep(3); 7"}))
            end = time.monotonic() + 120
            while True:
                try:
                    await idle.get("nothing")
                except SandboxFailure as failure:
                    assert "lease of 0.5 s" in str(failure)
                    break
                except FileNotFoundError:
                    pass
                assert time.monotonic() < end
                await asyncio.sleep(1.0)
            assert (await busy).value == "7"

    asyncio.run(main())


def test_a_dead_zygote_is_replaced_and_its_sessions_live() -> None:
    async def main() -> None:
        async with EmbeddedSandbox() as sandbox:
            old = await sandbox.open(SessionSpec("old"))
            zygote(sandbox).kill()
            fresh = await asyncio.gather(*(sandbox.open(SessionSpec(f"new{i}")) for i in range(4)))
            for session in (old, *fresh):
                assert (await session.call(1, "python", {"code": "1 + 1"})).value == "2"

    asyncio.run(main())


def test_a_dead_supervisor_is_no_observation() -> None:
    async def main() -> None:
        async with EmbeddedSandbox() as sandbox:
            for name, kind in (("a", "supervisor"), ("b", "init")):
                session = await sandbox.open(SessionSpec(name))
                await session.call(1, "python", {"code": "1"})
                running = asyncio.create_task(session.call(2, "python", {"code": "while True: pass"}))
                await asyncio.sleep(0.1)
                for pid in [p for p, k in kinds_below(os.getpid()).items() if k == kind]:
                    os.kill(pid, signal.SIGKILL)
                with pytest.raises(SandboxFailure) as failure:
                    await running
                assert not failure.value.retriable
                with pytest.raises(SandboxFailure):
                    await session.call(2, "python", {"code": "1"})
                with pytest.raises(SandboxFailure) as failure:
                    await session.call(3, "python", {"code": "1"})
                assert failure.value.retriable
                assert (await session.call(1, "python", {"code": "1"})).status is Status.OK
                await session.close()

    asyncio.run(main())


def test_200_sessions_at_once() -> None:
    async def main() -> None:
        async with EmbeddedSandbox() as sandbox:
            fds = psutil.Process().num_fds()
            sessions = await asyncio.gather(*(sandbox.open(SessionSpec(f"s{i}")) for i in range(200)))
            values = await asyncio.gather(*(s.call(1, "python", {"code": str(i)}) for i, s in enumerate(sessions)))
            assert [v.value for v in values] == [str(i) for i in range(200)]
            assert psutil.Process().num_fds() - fds <= 200 + 8
            parent = zygote(sandbox)
        assert not lives(parent)

    asyncio.run(main())


def test_level_of_a_level() -> None:
    assert EmbeddedSandbox(needs=Level.LANDLOCK, level=Level.LANDLOCK).level is Level.LANDLOCK


DEEP = """
import os
here = os.open('.', os.O_RDONLY)
for _ in range(300):
    os.mkdir('d' * 20, dir_fd=here)
    there = os.open('d' * 20, os.O_RDONLY, dir_fd=here)
    os.close(here)
    here = there
"""


def test_a_tree_deeper_than_paths_reach_is_removed_at_the_end() -> None:
    async def test() -> str:
        async with EmbeddedSandbox(needs=Level.LANDLOCK, level=Level.LANDLOCK) as sandbox:
            session = await sandbox.open(SessionSpec("s"))
            folder = (await session.call(1, "python", {"code": "import os; os.getcwd()"})).value or ""
            await session.call(2, "python", {"code": DEEP})
            assert os.path.isdir(folder.strip("'") + "/" + "d" * 20)
            await session.close()
            return folder.strip("'")

    folder = asyncio.run(test())
    assert folder.startswith("/tmp/turnwise-") and until(lambda: not os.path.lexists(folder))
