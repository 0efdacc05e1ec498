"""The docker sandbox against a real engine: verdicts, walls, memory, files, lives that end, and nothing left behind.

`.ci/docker` brings up the engine and the base image. Without an engine the tests fail for root, who could have one, and are
skipped for others.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiodocker import Docker

from turnwise.errors import ConfigError, SandboxFailure, Unsupported
from turnwise.tool_servers.sandbox.docker import DockerSandbox, DockerSession
from turnwise.tool_servers.sandbox.docker_engine import connect, reap
from turnwise.tool_servers.sandbox.docker_owner import LABEL, Owner
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Level, SessionSpec, Status, ToolResult

BASE = "turnwise-base:latest"
"""What `.ci/docker` makes; elsewhere: docker tag python:3.11-slim turnwise-base:latest"""
SMALL = Limits(wall_s=5, memory_mb=100, disk_mb=8, inodes=200, processes=16, output_kb=4, calls=50)


def _reason() -> str:
    """Why there is nothing to test against; "" if there is."""

    async def ask() -> str:
        try:
            docker, _ = await connect(None)
        except SandboxFailure as nobody:
            return str(nobody)
        async with docker:
            try:
                await docker.images.inspect(BASE)
            except Exception as missing:
                return f"no image {BASE}: {missing}"
        return ""

    return asyncio.run(ask())


REASON = _reason()
pytestmark = pytest.mark.skipif(bool(REASON) and os.geteuid() != 0, reason=REASON)


@asynccontextmanager
async def sandbox(**settings: object) -> AsyncIterator[DockerSandbox]:
    assert not REASON, f"{REASON}; run .ci/docker"
    async with DockerSandbox(base=BASE, **settings) as made:  # type: ignore[arg-type]
        yield made


class Cells:
    """Calls of a session, numbered."""

    def __init__(self, session: DockerSession) -> None:
        self.session, self.seq = session, 0

    async def __call__(self, code: str, wall_s: float | None = None) -> ToolResult:
        self.seq += 1
        return await self.session.call(self.seq, "python", {"code": code}, wall_s=wall_s)


def with_session(test: Callable[[Cells], Awaitable[None]], spec: SessionSpec | None = None) -> None:
    async def main() -> None:
        async with sandbox() as made:
            await test(Cells(await made.open(spec or SessionSpec("s", limits=SMALL))))

    asyncio.run(main())


async def ours(owner: str) -> list[str]:
    """Ids of the containers of an owner."""
    async with Docker() as docker:
        found = await docker.containers.list(all=True, filters=json.dumps({"label": [f"{LABEL}={owner}"]}))
        return [container.id for container in found]


async def until(true: Callable[[], Awaitable[bool]], what: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.02)


def test_verdicts_of_calls() -> None:
    async def check(run: Cells) -> None:
        assert (await run("x = 20\nprint('hi')\nx + 1")).out == "hi\n"
        again = await run("x + 1")
        assert again.status is Status.OK and again.value == "21" and again.usage.cpu_ms > 0 and not again.restarted
        failed = await run("1 / 0")
        assert failed.status is Status.ERROR and "ZeroDivisionError" in failed.err
        assert (await run("while True: pass", 0.3)).status is Status.TIMEOUT
        fresh = await run("x")
        assert fresh.status is Status.ERROR and "NameError" in fresh.err, "a fresh process over the same files"
        assert (await run("import os; os._exit(0)")).status is Status.DIED
        memory = await run("b = bytearray(300 << 20)")
        assert memory.status is Status.MEMORY and "100 MB" in memory.err
        cut = await run("print('a' * 20_000)")
        assert cut.status is Status.OK and cut.truncated and len(cut.out) < 6_000
        assert (await run("1 + 1")).value == "2"

    with_session(check)


def test_memory_of_many_processes_counts_together() -> None:
    async def check(run: Cells) -> None:
        code = """
            import os, time
            for _ in range(4):
                if os.fork() == 0:
                    b = bytearray(40 << 20)
                    time.sleep(60)
            time.sleep(60)
        """
        result = await run("\n".join(line[12:] for line in code.splitlines()))
        assert result.status is Status.MEMORY
        assert (await run("1 + 1")).value == "2"

    with_session(check)


def test_the_walls_from_inside() -> None:
    attacks = {
        "root": "import os; os.setuid(0)",
        "write /usr": "open('/usr/x', 'w')",
        "read shadow": "open('/etc/shadow').read()",
        "connect out": "import socket; socket.create_connection(('1.1.1.1', 80), 2)",
        "vsock": "import socket; socket.socket(40, socket.SOCK_STREAM)",
        "netlink": "import socket; socket.socket(16, socket.SOCK_RAW)",
        "inodes": "for i in range(400): open(f'f{i}', 'w').close()",
        "disk": "open('big', 'wb').write(bytes(30 << 20))",
        "engine": "import socket; socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')",
        "supervisor": "import os\nfor p in range(1, 30): p != os.getpid() and os.kill(p, 0)",
        "supervisor's memory": "open('/proc/1/mem', 'rb')",
        "environment": "open('/proc/1/environ', 'rb').read()",
    }

    async def check(run: Cells) -> None:
        for name, code in attacks.items():
            result = await run(code)
            assert result.status is Status.ERROR, f"{name}: {result}"
        assert (await run("import os; os.listdir('.')")).status is Status.OK
        who = await run("import os; (os.getuid(), sorted(os.environ), len(os.listdir('/')) > 0)")
        assert who.status in (Status.OK, Status.ERROR) and "DOCKER" not in str(who.value)

    with_session(check)


def test_a_fork_bomb_ends_with_the_call() -> None:
    async def check(run: Cells) -> None:
        result = await run("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", 1.0)
        assert result.status in (Status.TIMEOUT, Status.ERROR) and result.restarted
        assert (await run("1 + 1")).value == "2"

    with_session(check, SessionSpec("bomb", limits=replace(SMALL, memory_mb=400)))


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            open('beat', 'a').write('x')
            time.sleep(0.01)
    os._exit(0)
"""


def test_a_daemon_dies_with_the_call_that_times_out() -> None:
    async def check(run: Cells) -> None:
        assert (await run(DAEMON + "while True: pass", 2.0)).status is Status.TIMEOUT
        first = await run.session.get("beat")
        assert first and (await run("import time; time.sleep(0.2)")).status is Status.OK
        assert await run.session.get("beat") == first

    with_session(check)


def test_files_go_in_and_out_and_nowhere_else() -> None:
    spec = SessionSpec("files", limits=SMALL, files={"in/a.txt": b"alpha"})

    async def check(run: Cells) -> None:
        assert (await run("open('in/a.txt').read()")).value == "'alpha'"
        await run.session.put("b/c.bin", bytes(range(256)))
        assert (await run("sum(open('b/c.bin', 'rb').read())")).value == str(sum(range(256)))
        assert await run.session.get("b/c.bin") == bytes(range(256))
        await run("import os; os.symlink('/etc/passwd', 'link'); os.mkfifo('pipe')")
        for path in ("../x", "/etc/passwd", "link", "pipe", "in", "in/../../x"):
            with pytest.raises(ConfigError):
                await run.session.get(path)
        with pytest.raises(FileNotFoundError):
            await run.session.get("none")
        with pytest.raises(ConfigError):
            await run.session.get("b/c.bin", max_bytes=10)

    with_session(check, spec)


def test_every_call_runs_once() -> None:
    async def main() -> None:
        async with sandbox() as made:
            session = await made.open(SessionSpec("once", limits=replace(SMALL, calls=3)))
            count = {"code": "n = globals().get('n', 0) + 1; n"}
            first = await session.call(1, "python", count)
            both = await asyncio.gather(*(session.call(2, "python", count) for _ in range(5)))
            assert {r.value for r in both} == {"2"} and await session.call(1, "python", count) == first
            with pytest.raises(ConfigError):
                await session.call(4, "python", count)
            assert (await session.call(3, "python", count)).value == "3"
            assert (await session.call(4, "python", count)).status is Status.QUOTA
            assert await made.open(session.spec) is session
            with pytest.raises(ConfigError):
                await made.open(replace(session.spec, seed=1))
            with pytest.raises(ForkRefused, match="replay"):
                await session.fork(["twin"])

    asyncio.run(main())


def test_what_cannot_be_opened_leaves_nothing() -> None:
    async def main() -> None:
        async with sandbox() as made:
            for wrong in (
                SessionSpec("path", files={"../x": b""}),
                SessionSpec("settings", settings={"no": "such"}),
            ):
                with pytest.raises(ConfigError):
                    await made.open(wrong)
            assert await ours(str(Owner.this_process())) == []
            session = await made.open(SessionSpec("path", limits=SMALL))
            assert (await session.call(1, "python", {"code": "1"})).value == "1"

    asyncio.run(main())


def test_a_lost_container_is_a_failure_and_never_a_result() -> None:
    async def main() -> None:
        async with sandbox() as made:
            session = await made.open(SessionSpec("lost", limits=SMALL))
            running = asyncio.create_task(session.call(1, "python", {"code": "import time; time.sleep(4)"}))
            await asyncio.sleep(0.2)
            async with Docker() as docker:
                await docker.containers.container(session.container).kill()
            with pytest.raises(SandboxFailure):
                await running
            with pytest.raises(SandboxFailure):
                await session.call(2, "python", {"code": "1"})
            await session.close()
            await session.close()

    asyncio.run(main())


def test_a_container_that_ran_out_of_memory_is_no_failure() -> None:
    """Whoever could turn a lost episode into a broken one would have it left out of the count."""

    async def main() -> None:
        async with sandbox() as made:
            session = await made.open(SessionSpec("greedy", limits=SMALL))
            async with Docker() as docker:
                container = docker.containers.container(session.container)
                hog = await container.exec(["python3", "-c", "b = bytearray(1 << 30)"])
                async with hog.start() as stream:
                    assert await stream.read_out() is None
                assert (await hog.inspect())["ExitCode"] == 137, "ended by the kernel"
                await container.kill()
            result = await session.call(1, "python", {"code": "1"})
            assert result.status is Status.MEMORY and "100 MB" in result.err
            assert (await session.call(2, "python", {"code": "1"})).status is Status.DIED

    asyncio.run(main())


def test_a_lease_ends_a_session_that_nobody_calls() -> None:
    async def main() -> None:
        async with sandbox() as made:
            session = await made.open(SessionSpec("lease", limits=SMALL, lease_s=0.3))
            owner = str(Owner.this_process())
            await until(lambda: _none(owner), "the lease is over and the container is still there")
            with pytest.raises(SandboxFailure, match="lease"):
                await session.call(1, "python", {"code": "1"})

    asyncio.run(main())


async def _none(owner: str) -> bool:
    return not await ours(owner)


def test_the_pool_gives_fresh_containers() -> None:
    async def main() -> None:
        owner = str(Owner.this_process())
        async with sandbox(warm=2) as made:
            await made.prepare(SessionSpec("any", limits=SMALL))
            waiting = set(await ours(owner))
            assert len(waiting) == 2
            sessions = [await made.open(SessionSpec(f"p{i}", limits=SMALL)) for i in range(2)]
            assert {s.container for s in sessions} == waiting
            for session in sessions:
                await session.call(1, "python", {"code": "open('mine', 'w').write('x')"})
                await session.close()
            third = await made.open(SessionSpec("p3", limits=SMALL))
            assert third.container not in waiting
            assert (await third.call(1, "python", {"code": "import os; os.listdir('.')"})).value == "[]"
        assert await ours(owner) == []

    asyncio.run(main())


OWNER = """
import asyncio, sys
from turnwise.tool_servers.sandbox.docker import DockerSandbox
from turnwise.tool_servers.sandbox.docker_owner import Owner
from turnwise.tool_servers.sandbox.protocol import SessionSpec
async def main():
    async with DockerSandbox(base=sys.argv[1], warm=2) as made:
        sessions = [await made.open(SessionSpec(f"k{i}")) for i in range(3)]
        for session in sessions[:2]:
            asyncio.create_task(session.call(1, "python", {"code": "while True: pass"}))
        print(Owner.this_process(), flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def test_nothing_is_left_of_an_owner_that_is_killed() -> None:
    assert not REASON, REASON
    owner = subprocess.Popen([sys.executable, "-c", OWNER, BASE], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        assert len(asyncio.run(ours(name))) >= 3
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.communicate()
    asyncio.run(until(lambda: _none(name), "containers outlive their owner"))


def test_the_reaper_takes_only_what_is_provably_nobodys() -> None:
    assert not REASON, REASON

    async def main() -> None:
        me = Owner.this_process()
        dead, elsewhere = replace(me, start="1"), replace(me, boot="another", start="1")
        async with Docker() as docker:
            made = [
                await docker.containers.create({"Image": BASE, "Cmd": ["sleep", "60"], "Labels": {LABEL: str(owner)}})
                for owner in (dead, elsewhere, me)
            ]
            try:
                assert await reap(docker) >= 1
                assert [len(await ours(str(owner))) for owner in (dead, elsewhere, me)] == [0, 1, 1]
            finally:
                for container in made[1:]:
                    await container.delete(force=True)

    asyncio.run(main())


def test_levels_are_found_and_never_lowered() -> None:
    async def main() -> None:
        async with sandbox() as made:
            assert made.level is Level.DOCKER and made.found.lost == made.engine.missing
        docker, _ = await connect(None)
        async with docker:
            assert docker.connector.limit == 0, "more than a hundred sessions need more than a hundred connections"
        with pytest.raises(SandboxFailure, match="no engine answers"):
            await DockerSandbox(url="unix:///nowhere.sock").__aenter__()

    asyncio.run(main())


def test_gvisor_is_used_where_it_can_run_the_guest_and_refused_elsewhere() -> None:
    async def main() -> None:
        made = DockerSandbox(needs=Level.GVISOR, base=BASE)
        try:
            await made.__aenter__()
        except Unsupported as refused:
            assert "runsc" in str(refused) and ("no runtime" in str(refused) or "cannot run the guest" in str(refused))
        else:
            async with made:
                assert made.level is Level.GVISOR
                session = await made.open(SessionSpec("g", limits=SMALL))
                assert (await session.call(1, "python", {"code": "import os; os.uname().release"})).value != repr(
                    os.uname().release
                )
        assert await ours(str(Owner.this_process())) == []

    asyncio.run(main())


def test_the_sql_worker_runs_in_a_container() -> None:
    async def main() -> None:
        async with sandbox() as made:
            spec = SessionSpec(
                "sql", profile="sql", limits=SMALL, settings={"script": "create table t(a); insert into t values (1), (2);"}
            )
            session = await made.open(spec)
            result = await session.call(1, "query", {"sql": "select sum(a) from t"})
            assert result.status is Status.OK and "3" in json.dumps(result.value)

    asyncio.run(main())


def test_the_image_knows_nothing_of_turnwise_but_the_guest() -> None:
    async def check(run: Cells) -> None:
        assert (await run("import turnwise")).status is Status.ERROR
        assert Path(__file__).parts[1] not in str((await run("import sys; sys.path")).value).split("'")

    with_session(check)
