"""`turnwise serve` as a person runs it: real processes, signals, sockets and files."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.tool_servers.attacks.killing import lives
from turnwise.cli import main
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status
from turnwise.tool_servers.sandbox.remote import RemoteSandbox

TOKEN = "a token for tests only"
SMALL = Limits(memory_mb=64, wall_s=5)


@dataclass
class Server:
    process: subprocess.Popen[str]
    banner: str
    address: str

    def family(self) -> list[psutil.Process]:
        """The server and everything it started."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=120)


@contextmanager
def serving(*argv: str, token: str | None = TOKEN) -> Iterator[Server]:
    """`turnwise serve ARGV`; stopped at the end, if it still runs."""
    env = {k: v for k, v in os.environ.items() if k != "TURNWISE_TOKEN"} | ({"TURNWISE_TOKEN": token} if token else {})
    where = () if "--unix" in argv else ("--port", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "turnwise.cli", "serve", *argv, *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        banner = ""
        while "stop " not in banner:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            banner += line
        found = re.search(r" at (\S+)", banner)
        assert found
        yield Server(process, banner, found[1])
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=120)
        process.stdout.close()
        process.stderr.close()


def until(true: Callable[[], Any], within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if lives(p)]


async def metric(address: str, line: str) -> bool:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
        http.get(f"{address}/metrics") as response,
    ):
        return line in (await response.text()).splitlines()


# --- starting and stopping ------------------------------------------------------------------------------------------------


def test_a_server_says_what_one_needs_to_know_and_sigterm_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)

    async def use(address: str) -> None:
        async with RemoteSandbox(address, token=TOKEN) as sandbox:
            session = await sandbox.open(SessionSpec("a", limits=SMALL))
            assert (await session.call(1, "python", {"code": "print(6 * 7)"})).out == "42\n"
            running = asyncio.create_task(session.call(2, "python", {"code": "import time; time.sleep(1); print('done')"}))
            while not await metric(address, "turnwise_calls_running 1"):
                await asyncio.sleep(0.02)
            server.process.send_signal(signal.SIGTERM)
            assert (await running).out == "done\n"

    with serving("python", "--token-file", str(file), token=None) as server:
        assert re.search(r"python server at http://127\.0\.0\.1:\d+ \(MCP at /mcp\)", server.banner)
        assert re.search(r"isolation +(namespaces|landlock) \(level \d of 4\)", server.banner)
        assert str(file) in server.banner and "SIGTERM" in server.banner and TOKEN not in server.banner
        family = server.family()
        asyncio.run(use(server.address))
        assert server.process.wait(timeout=120) == 0
        until(lambda: not alive(family))


def test_a_unix_socket_is_for_its_owner_and_leaves_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def use(id: str) -> None:
        async with RemoteSandbox(f"unix:{path}", token=TOKEN) as sandbox:
            session = await sandbox.open(SessionSpec(id, limits=SMALL))
            assert (await session.call(1, "python", {"code": "print(1)"})).out == "1\n"

    with socket.socket(socket.AF_UNIX) as stale:  # of a server that was killed
        stale.bind(str(path))
    with serving("python", "--unix", str(path)) as server:
        assert server.address == f"unix:{path}" and path.stat().st_mode & 0o777 == 0o600
        asyncio.run(use("a"))
        again = subprocess.run(
            [sys.executable, "-m", "turnwise.cli", "serve", "python", "--unix", str(path)],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert again.returncode == 2 and "another server answers" in again.stderr
        asyncio.run(use("b"))
        assert server.stop() == 0 and not path.exists()


def test_sigkill_of_the_server_leaves_no_process() -> None:
    async def fill(address: str) -> None:
        sandbox = RemoteSandbox(address, token=TOKEN)
        await sandbox.__aenter__()
        sessions = await asyncio.gather(*(sandbox.open(SessionSpec(f"s{i}", limits=SMALL)) for i in range(8)))
        loop = asyncio.gather(*(s.call(1, "python", {"code": "while True: pass"}) for s in sessions), return_exceptions=True)
        await asyncio.sleep(0.3)
        family.extend(server.family())
        server.process.kill()
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        for inside in sandbox._servers:  # pyright: ignore[reportPrivateUsage]
            inside._patience = inside._patience.__class__(close_s=0.1)  # pyright: ignore[reportPrivateUsage]
        await sandbox.close()

    family: list[psutil.Process] = []
    with serving("python") as server:
        asyncio.run(fill(server.address))
        assert len(family) > 8
        until(lambda: not alive(family))


def test_sigkill_of_a_client_ends_its_sessions() -> None:
    client = textwrap.dedent(
        """
        import asyncio, sys
        from turnwise.tool_servers.sandbox.protocol import SessionSpec
        from turnwise.tool_servers.sandbox.limits import Limits
        from turnwise.tool_servers.sandbox.remote import RemoteSandbox
        async def main():
            async with RemoteSandbox(sys.argv[1]) as sandbox:
                specs = [SessionSpec(f"v{i}", limits=Limits(memory_mb=64, wall_s=60)) for i in range(5)]
                sessions = await asyncio.gather(*map(sandbox.open, specs))
                print("open", flush=True)
                await asyncio.gather(*(s.call(1, "python", {"code": "while True: pass"}) for s in sessions))
        asyncio.run(main())
        """
    )
    with serving("python", "--option", "ready=0") as server:
        before = len(server.family())
        victim = subprocess.Popen(
            [sys.executable, "-c", client, server.address], stdout=subprocess.PIPE, env=os.environ | {"TURNWISE_TOKEN": TOKEN}
        )
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"open\n"
        until(lambda: asyncio.run(metric(server.address, "turnwise_calls_running 5")))
        victim.kill()
        victim.wait()
        victim.stdout.close()
        until(lambda: asyncio.run(metric(server.address, 'turnwise_sessions_closed_total{cause="orphan"} 5')))
        assert asyncio.run(metric(server.address, "turnwise_sessions_live 0"))
        until(lambda: len(alive(server.family())) <= before)


# --- the other kinds ------------------------------------------------------------------------------------------------------


def test_search(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "fox.txt").write_text("The quick brown fox jumps over the lazy dog.")
    (tmp_path / "corpus" / "sea.txt").write_text("She sells sea shells.")

    async def use(address: str) -> None:
        async with RemoteSandbox(address, token=TOKEN) as sandbox:
            session = await sandbox.open(SessionSpec("a", "search"))
            result = await session.call(1, "search", {"query": "shells"})
            assert result.status is Status.OK and [hit["id"] for hit in result.value["hits"]] == ["sea.txt"]
        async with aiohttp.ClientSession() as http, http.get(f"{address}/readyz") as response:
            assert await response.json() == {"status": "ok"}

    with serving("search", "--corpus", str(tmp_path / "corpus")) as server:
        assert "isolation" not in server.banner and "tools open, search" in server.banner
        asyncio.run(use(server.address))


def test_sql(tmp_path: Path) -> None:
    async def use(address: str) -> None:
        async with RemoteSandbox(address, token=TOKEN) as sandbox:
            script = "create table t(x); insert into t values (1), (41);"
            session = await sandbox.open(SessionSpec("a", "sql", limits=SMALL, settings={"script": script}))
            result = await session.call(1, "query", {"sql": "select sum(x) as s from t"})
            assert result.status is Status.OK and result.value["rows"] == [[42]], result
            assert (await session.call(2, "query", {"sql": "delete from t"})).status is Status.ERROR
        async with aiohttp.ClientSession() as http, http.get(f"{address}/readyz") as response:
            assert await response.json() == {"status": "ok"}

    with serving("sql") as server:
        assert "tools query, schema" in server.banner
        asyncio.run(use(server.address))


def test_browser(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<title>Shop</title><button onclick=\"this.textContent='sold'\">buy</button>")

    async def use(address: str) -> None:
        async with RemoteSandbox(address, token=TOKEN) as sandbox:
            settings = {"bundle": "shop", "start": "http://app.test/"}
            session = await sandbox.open(SessionSpec("a", "browser", settings=settings))
            assert "buy" in (await session.call(1, "observe", {})).out
            assert "sold" in (await session.call(2, "click", {"mark": 1})).out

    with serving("browser", "--site", f"shop={tmp_path}") as server:
        asyncio.run(use(server.address))


# --- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["python", "--host", "0.0.0.0", "--no-token"], "other machines"),
        (["python", "--backend", "dokker"], "Did you mean 'docker'"),
        (["python", "--profile", "pyton"], "Did you mean 'python'"),
        (["python", "--needs", "gvisors"], "Did you mean 'gvisor'"),
        (["python", "--needs", "gvisor"], "the docker backend has more"),
        (["python", "--option", "wram=8"], "option of embedded"),
        (["python", "--port", "70000"], "0 to 65535"),
        (["python", "--max-sessions", "0"], "above 0"),
        (["python", "--setting", "x"], "KEY=VALUE"),
        (["search"], "--corpus"),
        (["python", "--corpus", "x"], "search servers"),
        (["browser"], "--site"),
    ],
)
def test_mistakes_are_told(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNWISE_TOKEN", TOKEN)
    assert main(["serve", *argv]) == 2
    assert message in capsys.readouterr().err


def test_a_taken_port_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNWISE_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "python", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot listen" in capsys.readouterr().err


def test_help_is_for_newcomers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = capsys.readouterr().out
    assert all(
        word in text for word in ("python", "sql", "search", "browser", "token", "RemoteSandbox", "curl", "stdio", "/metrics")
    )
