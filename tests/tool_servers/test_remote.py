"""The client against real servers and real sandboxes; between them, where something must break, a proxy that loses answers."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.admission import Capacity
from turnwise.tool_servers.app import Door
from turnwise.tool_servers.kinds import KINDS, opened
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Session, SessionSpec, Status
from turnwise.tool_servers.sandbox.remote import Patience, RemoteSandbox
from turnwise.tool_servers.serve import Listen, served
from turnwise.tool_servers.service import Service

TOKEN = "a token for tests only"
SMALL = Limits(memory_mb=64, wall_s=5)
COUNT = {"code": "n = globals().get('n', 0) + 1\nprint(n)"}
QUICK = Patience(total_s=10, answer_s=0.3, close_s=2, first_pause_s=0.01, longest_pause_s=0.05)


@asynccontextmanager
async def python(servers: int = 1, capacity: Capacity | None = None) -> AsyncGenerator[list[str], None]:
    """Addresses of servers that share one embedded sandbox."""
    async with opened(KINDS["python"], profiles=["python"]) as service, many(service, servers, capacity) as addresses:
        yield addresses


@asynccontextmanager
async def many(service: Service, servers: int, capacity: Capacity | None) -> AsyncGenerator[list[str], None]:
    if servers == 0:
        yield []
        return
    async with (
        served(service, Listen(), Door(token=TOKEN), capacity, mcp=False) as address,
        many(service, servers - 1, capacity) as others,
    ):
        yield [address, *others]


def spec(id: str, **changes: object) -> SessionSpec:
    return SessionSpec(id, limits=SMALL, **changes)  # pyright: ignore[reportArgumentType]


async def out(session: Session, seq: int, code: str) -> str:
    result = await session.call(seq, "python", {"code": code})
    assert result.status is Status.OK, result
    return result.out.strip()


# --- a proxy that loses answers: real requests reach the real server, what comes back may not reach the client ---------------


@dataclass
class Exchange:
    """One request that went through."""

    head: bytes
    body: bytes
    fault: str


@dataclass
class Proxy:
    """`fault` decides on each exchange, by how often the same request was seen before (0, 1, ...)."""

    target: str
    fault: Callable[[bytes, int], str]
    address: str = ""
    log: list[Exchange] = field(default_factory=list)
    _seen: Counter[bytes] = field(default_factory=Counter)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        url = urlsplit(self.target)
        self.writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            up_reader, up_writer = await asyncio.open_connection(url.hostname, url.port)
            self.writers.add(up_writer)
            await self._exchanges(reader, writer, up_reader, up_writer)
            up_writer.close()
        writer.close()

    async def _exchanges(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        while True:
            head, body = await _message(reader)
            up_writer.write(head + body)
            if b"/v1/attach/" in head:
                await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
                return
            answer_head, answer = await _message(up_reader)
            request = head.split(b"\r\n", 1)[0] + body
            fault = self.fault(head, self._seen[request])
            self._seen[request] += 1
            self.log.append(Exchange(head, body, fault))
            if fault == "stall":
                await asyncio.sleep(3600)
            if fault == "drop":
                return
            if fault == "garbage":
                answer_head, answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"<html></h"
            if fault == "cut":
                writer.write(answer_head + answer[: len(answer) // 2])
                return
            writer.write(answer_head + answer)

    def sever(self) -> None:
        """Break every connection, as the death of a client does."""
        for writer in self.writers:
            writer.transport.abort()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head, await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
    writer.close()


@asynccontextmanager
async def proxied(target: str, fault: Callable[[bytes, int], str]) -> AsyncGenerator[Proxy, None]:
    """A proxy before `target`, on a port of its own."""
    proxy = Proxy(target, fault)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(proxy.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    proxy.address = f"http://{host}:{port}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        proxy.sever()
        for writer in proxy.writers:
            with suppress(ConnectionError):
                await writer.wait_closed()


# --- the protocol, end to end ---------------------------------------------------------------------------------------------


def test_a_session_elsewhere_is_a_session() -> None:
    async def scenario() -> None:
        async with python() as addresses, RemoteSandbox(addresses, token=TOKEN) as sandbox:
            session = await sandbox.open(spec("a", files={"data/in.txt": b"\x00\xff hello"}))
            assert await out(session, 1, "x = 41") == ""
            first = await session.call(2, "python", {"code": "x += 1; print(x)"})
            again = await session.call(2, "python", {"code": "x += 1; print(x)"})
            assert first == again and first.out.strip() == "42" and first.seq == 2
            left, right = await session.fork(["a.l", "a.r"])
            assert await out(left, 3, "x = 'left'; print(x)") == "left"
            assert await out(right, 3, "print(x)") == await out(session, 3, "print(x)") == "42"
            assert await session.get("data/in.txt") == b"\x00\xff hello"
            await session.put("sub dir/é?#.bin", b"1" * 2_000_000)
            assert await session.get("sub dir/é?#.bin", max_bytes=2_000_000) == b"1" * 2_000_000
            broken = await session.call(4, "python", {"code": "1/0"})
            assert broken.status is Status.ERROR and "ZeroDivisionError" in broken.err
            slow = await session.call(5, "python", {"code": "while True: pass"}, wall_s=0.3)
            assert slow.status is Status.TIMEOUT

    asyncio.run(scenario())


ODD_PATHS = ("", ".", "..", "../x", "//", "/etc/passwd", "a/../../x", "nul\0", "\ud800")
STRANGE_NAMES = ("%2e%2e", "new\nline", "\udcff bytes that are no text", "a&path=b", "a+b c", "#", "?", "...")


def test_paths_arrive_as_they_were_meant() -> None:
    """A model may have chosen the name: it must be a file or the caller's mistake, never a broken server."""

    async def scenario() -> None:
        async with python() as addresses, RemoteSandbox(addresses, token=TOKEN, patience=QUICK) as sandbox:
            session = await sandbox.open(spec("a"))
            for name in STRANGE_NAMES:
                await session.put(name, name.encode("utf-8", "surrogateescape"))
                assert await session.get(name) == name.encode("utf-8", "surrogateescape")
            assert (await session.call(1, "python", {"code": "import os; len(os.listdir('.'))"})).value == str(len(STRANGE_NAMES))
            for name in ODD_PATHS:
                with pytest.raises(ConfigError):
                    await session.put(name, b"")
                with pytest.raises(ConfigError):
                    await session.get(name)
            with pytest.raises(FileNotFoundError):
                await session.get("fifo/x")

    asyncio.run(scenario())


def test_mistakes_of_the_caller_are_told_from_failures() -> None:
    async def scenario() -> None:
        async with python() as addresses, RemoteSandbox(addresses, token=TOKEN, patience=QUICK) as sandbox:
            session = await sandbox.open(spec("a"))
            assert (await sandbox.open(spec("a"))).id == "a"
            with pytest.raises(ConfigError, match="session id"):
                spec("../a")
            for wrong, message in (
                (spec("a", seed=1), "another spec"),
                (spec("b", profile="pyton"), "pyton"),
            ):
                with pytest.raises(ConfigError, match=message):
                    await sandbox.open(wrong)
            await session.call(1, "python", {"code": "1"})
            with pytest.raises(ConfigError, match="expected seq 2, got 7"):
                await session.call(7, "python", {"code": "1"})
            with pytest.raises(ConfigError, match="another call"):
                await session.call(1, "python", {"code": "2"})
            for path in ("../x", "..", "a/../../x"):
                with pytest.raises(ConfigError):
                    await session.put(path, b"")
            with pytest.raises(FileNotFoundError):
                await session.get("nothing")
            with pytest.raises(ConfigError, match="in parts"):
                await session.put("large", b"x" * 5_000_000)
            await session.close()
            await session.close()
            with pytest.raises(SandboxFailure, match="lost"):
                await session.call(2, "python", {"code": "1"})
            with pytest.raises(SandboxFailure, match="lost"):
                await sandbox.open(spec("a"))
        with pytest.raises(ConfigError, match="token"):
            async with python() as addresses, RemoteSandbox(addresses, token="wrong") as sandbox:
                pass

    asyncio.run(scenario())


# --- exactly once ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop", "cut", "stall"])
def test_every_answer_is_lost_once_and_everything_happens_once(fault: str) -> None:
    """The first answer to every request about sessions is lost; the counter in the session equals the number of calls."""

    def first_time(head: bytes, seen: int) -> str:
        return fault if b"/v1/sessions" in head and seen == 0 else ""

    async def scenario() -> None:
        async with (
            python(capacity=Capacity(queue_s=0.2)) as (address,),
            proxied(address, first_time) as proxy,
            RemoteSandbox(proxy.address, token=TOKEN, patience=QUICK) as sandbox,
        ):
            quick = Limits(memory_mb=64, wall_s=0.3)
            sessions = await asyncio.gather(*(sandbox.open(SessionSpec(f"s{i}", limits=quick)) for i in range(3)))
            for seq in range(1, 4):
                results = await asyncio.gather(*(s.call(seq, "python", COUNT) for s in sessions))
                assert [r.out.strip() for r in results] == [str(seq)] * 3
            (copy,) = await sessions[0].fork(["copy"])
            assert (await copy.call(4, "python", COUNT)).out.strip() == "4"
            lost = sum(exchange.fault == fault for exchange in proxy.log)
            assert lost == 3 + 9 + 1 + 1 and len(proxy.log) - lost >= lost

    asyncio.run(scenario())


def test_a_call_that_outlives_its_lost_answer_is_joined_not_run_again() -> None:
    """The answer is cut off by time while the call still runs; the repeated request waits for the same run."""

    async def scenario() -> None:
        async with python() as (address,), RemoteSandbox(address, token=TOKEN) as sandbox:
            session = await sandbox.open(spec("a"))
            code = {"code": "import time; time.sleep(0.5); n = globals().get('n', 0) + 1; print(n)"}
            twice = [RemoteSandbox(address, token=TOKEN), RemoteSandbox(address, token=TOKEN)]
            async with twice[0] as one, twice[1] as two:
                same = [await one.open(spec("a")), await two.open(spec("a"))]
                results = await asyncio.gather(*(s.call(1, "python", code) for s in same))
                assert results[0] == results[1] == await session.call(1, "python", code)
                assert results[0].out.strip() == "1"

    asyncio.run(scenario())


def test_a_server_of_garbage_is_a_failure_never_an_observation() -> None:
    async def scenario() -> None:
        def always(head: bytes, _: int) -> str:
            return "garbage" if b"/calls" in head else ""

        async with (
            python() as (address,),
            proxied(address, always) as proxy,
            RemoteSandbox(proxy.address, token=TOKEN, patience=QUICK) as sandbox,
        ):
            session = await sandbox.open(spec("a"))
            with pytest.raises(SandboxFailure):
                await session.call(1, "python", COUNT)

    asyncio.run(scenario())


# --- busy, lost, gone -----------------------------------------------------------------------------------------------------


def test_a_full_server_makes_clients_wait_and_then_refuses() -> None:
    full = Capacity(sessions=1, queue_s=0.05)
    patience = Patience(total_s=1.0, first_pause_s=0.01, longest_pause_s=0.05)

    async def scenario() -> None:
        async with (
            python(capacity=full) as addresses,
            RemoteSandbox(addresses, token=TOKEN, patience=patience) as sandbox,
            RemoteSandbox(addresses, token=TOKEN) as patient,
        ):
            first = await sandbox.open(spec("first"))
            with pytest.raises(SandboxFailure, match="gave up"):
                await sandbox.open(spec("second"))
            waiting = asyncio.create_task(patient.open(spec("third")))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await first.close()
            assert await out(await waiting, 1, "print('in')") == "in"

    asyncio.run(scenario())


def test_time_in_the_queue_is_not_charged() -> None:
    """Three calls of 1 s with a wall of 2.5 s each, one slot: the last is done after 3 s, and all end well."""

    async def scenario() -> None:
        async with python(capacity=Capacity(calls=1)) as addresses, RemoteSandbox(addresses, token=TOKEN) as sandbox:
            sessions = await asyncio.gather(*(sandbox.open(spec(f"s{i}")) for i in range(3)))
            sleep = {"code": "import time; time.sleep(1.0)"}
            results = await asyncio.gather(*(s.call(1, "python", sleep, wall_s=2.5) for s in sessions))
            assert [r.status for r in results] == [Status.OK] * 3
            assert all(r.usage.wall_ms < 2500 for r in results)

    asyncio.run(scenario())


def test_the_quota_of_calls_is_an_observation() -> None:
    async def scenario() -> None:
        async with python() as addresses, RemoteSandbox(addresses, token=TOKEN) as sandbox:
            session = await sandbox.open(SessionSpec("a", limits=Limits(memory_mb=64, calls=2)))
            statuses = [(await session.call(seq, "python", {"code": "1"})).status for seq in (1, 2, 3)]
            assert statuses == [Status.OK, Status.OK, Status.QUOTA]

    asyncio.run(scenario())


def test_a_lease_ends_a_session_that_nobody_uses() -> None:
    async def scenario() -> None:
        async with python() as addresses, RemoteSandbox(addresses, token=TOKEN) as sandbox:
            kept, session = await sandbox.open(spec("b")), await sandbox.open(spec("a", lease_s=2.0))
            await out(session, 1, "print()")
            await asyncio.sleep(3.0)
            with pytest.raises(SandboxFailure, match="lease"):
                await session.call(2, "python", COUNT)
            assert await out(kept, 1, "print(1)") == "1"

    asyncio.run(scenario())


def test_a_client_whose_connection_dies_leaves_no_session() -> None:
    async def scenario() -> None:
        async with (
            python(capacity=Capacity(orphan_s=0.2)) as (address,),
            RemoteSandbox(address, token=TOKEN) as other,
            proxied(address, lambda *_: "") as proxy,
        ):
            theirs = await other.open(spec("theirs"))
            victim = RemoteSandbox(proxy.address, token=TOKEN, patience=QUICK)
            await victim.__aenter__()
            await asyncio.gather(*(victim.open(spec(f"v{i}")) for i in range(4)))
            proxy.target = "http://127.0.0.1:1"  # nothing gets through any more
            proxy.sever()
            await until(lambda: alive(other, ["v0", "v1", "v2", "v3"]), 0)
            assert await out(theirs, 1, "print('here')") == "here"
            await victim.close()

    asyncio.run(scenario())


async def alive(sandbox: RemoteSandbox, ids: list[str]) -> int:
    """How many of them the server has not closed: opening a closed one again is refused."""
    count = 0
    for id in ids:
        try:
            await sandbox.open(spec(id))
            count += 1
        except SandboxFailure as error:
            assert error.kind == "lost"
    return count


async def until(measure: Callable[[], Awaitable[object]], goal: int, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while await measure() != goal:
            await asyncio.sleep(0.05)


def test_a_server_that_was_started_anew_has_lost_its_sessions() -> None:
    async def scenario() -> None:
        async with opened(KINDS["python"], profiles=["python"]) as service:
            async with served(service, Listen(), Door(token=TOKEN), mcp=False) as address:
                sandbox = RemoteSandbox(address, token=TOKEN, patience=Patience(total_s=5, close_s=0.5))
                await sandbox.__aenter__()
                session = await sandbox.open(SessionSpec("a", limits=Limits(memory_mb=64, wall_s=0.5)))
            port = int(address.rpartition(":")[2])
            async with served(service, Listen(port=port), Door(token=TOKEN), mcp=False):
                with pytest.raises(SandboxFailure, match="started anew"):
                    await session.call(1, "python", COUNT)
            with pytest.raises(SandboxFailure, match="gave up"):
                await session.call(1, "python", COUNT)
            await sandbox.close()

    asyncio.run(scenario())


# --- many servers ---------------------------------------------------------------------------------------------------------


def test_sessions_spread_over_servers_and_forks_stay() -> None:
    async def scenario() -> None:
        async with python(servers=3) as addresses, RemoteSandbox(addresses, token=TOKEN) as sandbox:
            sessions = await asyncio.gather(*(sandbox.open(spec(f"s{i}")) for i in range(48)))  # all on two: one in 10 million
            places = {session.id: session.address for session in sessions}
            assert len(set(places.values())) == 3
            async with RemoteSandbox(list(reversed(addresses)), token=TOKEN) as another:
                same = [await another.open(spec(f"s{i}")) for i in range(6)]
                assert all(session.address == places[session.id] for session in same)
                copies = await sessions[0].fork([f"c{i}" for i in range(6)])
                assert {copy.address for copy in copies} == {places["s0"]}
                assert [await out(copy, 1, "print(7)") for copy in copies] == ["7"] * 6

    asyncio.run(scenario())


def test_while_a_server_is_down_its_new_sessions_go_elsewhere() -> None:
    async def scenario() -> None:
        async with python() as (up,), RemoteSandbox(up, token=TOKEN, patience=QUICK) as plain:
            async with proxied(up, lambda *_: "") as proxy:
                sandbox = RemoteSandbox([up, proxy.address], token=TOKEN, patience=QUICK)
                await sandbox.__aenter__()
            sessions = [await sandbox.open(spec(f"s{i}")) for i in range(8)]
            assert {session.address for session in sessions} == {up}
            await sandbox.close()
            with pytest.raises(ConfigError, match="not entered"):
                await sandbox.open(spec("x"))
            assert (await plain.open(spec("y"))).id == "y"

    asyncio.run(scenario())


def test_wrong_addresses() -> None:
    async def scenario() -> None:
        for addresses, message in (([], "one or more"), (["a:1"], "http://HOST:PORT"), (["http://x", "http://x"], "different")):
            with pytest.raises(ConfigError, match=message):
                await RemoteSandbox(addresses, token="").__aenter__()
        nobody = RemoteSandbox("http://127.0.0.1:1", token="", patience=Patience(greet_s=0.2))
        with pytest.raises(SandboxFailure, match="gave up"):
            await nobody.__aenter__()

    asyncio.run(scenario())
