"""The search sandbox: shaped like any other, its calls run once, and the model's mistakes are results."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Level, Sandbox, Session, SessionSpec, Status
from turnwise.tool_servers.search.corpus import Document
from turnwise.tool_servers.search.index import DiskIndex, Hit, open_index
from turnwise.tool_servers.search.sandbox import PAGE, SearchSandbox

LONG = "word " * (PAGE // 2)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> DiskIndex:
    documents = [Document("nile", "Nile", "A river in Africa."), Document("long", "Long", LONG), Document("none", "None", "")]
    return open_index(documents, tmp_path_factory.mktemp("cache"))


def play(index: DiskIndex, script: Callable[[SearchSandbox], Awaitable[None]]) -> None:
    async def run() -> None:
        async with SearchSandbox(index) as sandbox:
            await script(sandbox)

    asyncio.run(run())


def spec(id: str, calls: int = 1000) -> SessionSpec:
    return SessionSpec(id, "search", Limits(calls=calls))


def test_search_and_open(index: DiskIndex) -> None:
    async def script(sandbox: SearchSandbox) -> None:
        as_protocol: Sandbox = sandbox
        session: Session = await as_protocol.open(spec("a"))
        found = await session.call(1, "search", {"query": "river", "k": 2})
        assert found.status is Status.OK and found.seq == 1 and found.usage.wall_ms > 0
        assert found.value["snapshot"] == index.digest
        (hit,) = found.value["hits"]
        assert hit == {"id": "nile", "title": "Nile", "snippet": "A river in Africa.", "score": hit["score"]}
        page = (await session.call(2, "open", {"id": "long"})).value
        assert (page["page"], page["pages"], len(page["text"])) == (1, 3, PAGE)
        texts = [(await session.call(3 + i, "open", {"id": "long", "page": i + 1})).value["text"] for i in range(3)]
        assert "".join(texts) == LONG
        assert (await session.call(6, "open", {"id": "none"})).value["pages"] == 1
        assert sandbox.level is max(Level)

    play(index, script)


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("search", {}, "needs a query"),
        ("search", {"query": 3}, "needs a query"),
        ("search", {"query": "x", "k": 0}, "k must be"),
        ("search", {"query": "x", "k": 10**9}, "k must be"),
        ("search", {"query": "x", "k": True}, "k must be"),
        ("search", {"query": "x", "k": "5"}, "k must be"),
        ("open", {"id": "nope"}, "no document 'nope'"),
        ("open", {"id": ["nile"]}, "no document"),
        ("open", {"id": "../../etc/passwd"}, "no document"),
        ("open", {"id": "nile", "page": 2}, "has 1 page"),
        ("open", {"id": "nile", "page": -1}, "page must be"),
        ("delete", {}, "tools are search and open"),
    ],
)
def test_mistakes_are_results(index: DiskIndex, tool: str, arguments: dict[str, object], reason: str) -> None:
    async def script(sandbox: SearchSandbox) -> None:
        result = await (await sandbox.open(spec("a"))).call(1, tool, arguments)
        assert result.status is Status.ERROR and reason in result.err and result.value is None

    play(index, script)


def test_a_call_runs_once(index: DiskIndex) -> None:
    async def script(sandbox: SearchSandbox) -> None:
        session = await sandbox.open(spec("a", calls=3))
        first = await session.call(1, "search", {"query": "river"})
        assert await session.call(1, "search", {"query": "other"}) is first
        again = await asyncio.gather(*(session.call(2, "open", {"id": "nile"}) for _ in range(5)))
        assert all(result is again[0] for result in again)
        for wrong in (4, 0, -1):
            with pytest.raises(ConfigError, match="must be 3"):
                await session.call(wrong, "search", {"query": "x"})
        await session.call(3, "search", {"query": "x"})
        over = await session.call(4, "search", {"query": "x"})
        assert over.status is Status.QUOTA and "3 calls" in over.err
        assert await sandbox.open(spec("a", calls=3)) is session
        with pytest.raises(ConfigError, match="another spec"):
            await sandbox.open(spec("a", calls=4))

    play(index, script)


def test_forks_go_their_own_way(index: DiskIndex) -> None:
    async def script(sandbox: SearchSandbox) -> None:
        session = await sandbox.open(spec("a", calls=2))
        first = await session.call(1, "search", {"query": "river"})
        one, two = await session.fork(["b", "c"])
        assert await one.call(1, "search", {"query": "?"}) is first
        assert (await one.call(2, "open", {"id": "nile"})).status is Status.OK
        assert (await one.call(3, "open", {"id": "nile"})).status is Status.QUOTA
        assert (await two.call(2, "open", {"id": "nope"})).status is Status.ERROR
        assert (await session.call(2, "search", {"query": "word"})).status is Status.OK
        for taken in (["b"], ["d", "d"]):
            with pytest.raises(ConfigError, match="new id"):
                await session.fork(taken)

    play(index, script)


def test_closed_and_expired(index: DiskIndex) -> None:
    async def run() -> None:
        now = [0.0]
        async with SearchSandbox(index, clock=lambda: now[0]) as sandbox:
            session = await sandbox.open(spec("a"))
            await session.close()
            await session.close()
            with pytest.raises(SandboxFailure, match="closed"):
                await session.call(1, "search", {"query": "x"})
            old = await sandbox.open(spec("b"))
            now[0] = 301.0
            await sandbox.open(spec("c"))
            with pytest.raises(SandboxFailure, match="closed"):
                await old.call(1, "search", {"query": "x"})

    asyncio.run(run())


def test_no_files_and_no_other_profile(index: DiskIndex) -> None:
    async def script(sandbox: SearchSandbox) -> None:
        session = await sandbox.open(spec("a"))
        with pytest.raises(ConfigError, match="no files"):
            await session.put("a.txt", b"x")
        with pytest.raises(FileNotFoundError):
            await session.get("a.txt")
        for wrong in (
            SessionSpec("x"),
            SessionSpec("x", "search", files={"a": b""}),
            SessionSpec("x", "search", settings={"k": 1}),
        ):
            with pytest.raises(ConfigError, match="expected profile 'search'"):
                await sandbox.open(wrong)

    play(index, script)


def test_a_broken_index_is_no_observation(tmp_path: Path) -> None:
    async def run() -> None:
        index = open_index([Document("a", "", "x")], tmp_path, engine="fts5")
        (tmp_path / f"fts5-1-{index.digest}" / "fts5.sqlite").write_bytes(b"not an index" * 1000)
        async with SearchSandbox(index) as sandbox:
            with pytest.raises(SandboxFailure, match="search"):
                await (await sandbox.open(spec("a"))).call(1, "search", {"query": "x"})

    asyncio.run(run())


class Slow:
    """An index that takes its time."""

    digest = "slow"

    def __init__(self) -> None:
        self.go = asyncio.Event()

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        asyncio.run(asyncio.wait_for(self.wait(), 20))
        return ()

    async def wait(self) -> None:
        while not self.go.is_set():
            await asyncio.sleep(0.01)

    def document(self, id: str) -> Document | None:
        return Document(id, "", "text")

    def close(self) -> None:
        self.go.set()


def test_a_slow_search_times_out_and_holds_nobody_up() -> None:
    async def run() -> None:
        slow = Slow()
        async with SearchSandbox(slow) as sandbox:
            session, other = await sandbox.open(spec("a")), await sandbox.open(spec("b"))
            waiting = asyncio.create_task(session.call(1, "search", {"query": "x"}, wall_s=0.2))
            assert (await other.call(1, "open", {"id": "x"})).status is Status.OK
            result = await waiting
            assert result.status is Status.TIMEOUT and "0.2 s" in result.err
            assert await session.call(1, "search", {"query": "x"}) is result
            slow.close()

    asyncio.run(run())
