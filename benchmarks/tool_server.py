"""A cell in a live, isolated Python session over HTTP, and a fresh session for one cell: how fast, and at what cost.

    python benchmarks/tool_server.py [--calls 1500] [--rounds 5] [--out benchmarks/results/tool_server.json]

The server is `turnwise serve python`, a process of its own; client and server share the machine. Beside our client: httpx on the
same server, and the same cell over MCP. The ways take turns in every round, so that a busy neighbour hits them all; the table has
the medians of the rounds and, for wall times, the best round. CPU milliseconds are those of the server and its sessions; the
last line is the bar that was set for a fresh session.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import httpx
import httpx2
import mcp
from cpu_clock import Clock
from mcp.client.streamable_http import streamable_http_client

from turnwise.tool_servers.mcp import SESSION
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status
from turnwise.tool_servers.sandbox.remote import RemoteSandbox

CODE = {"code": "print(sum(i * i for i in range(1000)))"}
TOKEN = os.urandom(16).hex()
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
LIMITS = Limits(memory_mb=64, calls=1_000_000)
Call = Callable[[], Awaitable[object]]
"""One call of one client, who keeps what it needs between them."""


@dataclass(frozen=True)
class Round:
    """What one way did in one round."""

    p50_ms: float
    p95_ms: float
    per_s: float
    cpu_ms: float


@dataclass(frozen=True)
class Way:
    """One row: medians over the rounds, best and worst of the p50."""

    way: str
    clients: int
    p50_ms: float
    p50_ms_range: tuple[float, float]
    p95_ms: float
    per_s: float
    per_s_best: float
    cpu_ms: float


# --- the server -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def server(*where: str) -> AsyncGenerator[tuple[str, Clock], None]:
    """`turnwise serve python`; its address and its CPU."""
    argv = [sys.executable, "-m", "turnwise.cli", "serve", "python", *where]
    process = await asyncio.create_subprocess_exec(
        *argv, "--memory-mb", "100000", env=os.environ | {"TURNWISE_TOKEN": TOKEN}, stdout=subprocess.PIPE
    )
    clock = Clock(process.pid)
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        yield line.split(" at ")[1].split()[0], clock
    finally:
        process.terminate()
        await process.wait()
        clock.close()


# --- the ways -------------------------------------------------------------------------------------------------------------


NAMES = (f"bench-{os.getpid()}-{n}" for n in count())


async def ours(stack: AsyncExitStack, address: str, clients: int) -> list[Call]:
    """Our client: one sandbox, one session per client."""
    sandbox = await stack.enter_async_context(RemoteSandbox(address, token=TOKEN))
    sessions = [await sandbox.open(SessionSpec(next(NAMES), limits=LIMITS)) for _ in range(clients)]
    seqs = [count(1) for _ in sessions]

    def call(n: int) -> Call:
        async def run() -> None:
            result = await sessions[n].call(next(seqs[n]), "python", CODE)
            assert result.status is Status.OK, result

        return run

    return [call(n) for n in range(clients)]


async def by_httpx(stack: AsyncExitStack, address: str, clients: int) -> list[Call]:
    """The same requests by one shared httpx client."""
    sandbox = await stack.enter_async_context(RemoteSandbox(address, token=TOKEN))
    sessions = [await sandbox.open(SessionSpec(next(NAMES), limits=LIMITS)) for _ in range(clients)]
    http = await stack.enter_async_context(httpx.AsyncClient(headers=HEADERS, timeout=60))
    seqs = [count(1) for _ in sessions]

    def call(n: int) -> Call:
        async def run() -> None:
            body = {"seq": next(seqs[n]), "tool": "python", "arguments": CODE}
            answer = await http.post(f"{address}/v1/sessions/{sessions[n].id}/calls", json=body)
            assert answer.json()["status"] == "ok"

        return run

    return [call(n) for n in range(clients)]


async def by_mcp(stack: AsyncExitStack, address: str, clients: int) -> list[Call]:
    """The SDK's client over streamable HTTP, stateless; the session is named in `_meta`."""
    sandbox = await stack.enter_async_context(RemoteSandbox(address, token=TOKEN))
    sessions = [await sandbox.open(SessionSpec(next(NAMES), limits=LIMITS)) for _ in range(clients)]
    http = await stack.enter_async_context(httpx2.AsyncClient(headers=HEADERS, timeout=60))
    client = await stack.enter_async_context(mcp.Client(streamable_http_client(f"{address}/mcp", http_client=http)))

    def call(n: int) -> Call:
        async def run() -> None:
            result = await client.call_tool("python", CODE, meta={SESSION: sessions[n].id})
            assert not result.is_error

        return run

    return [call(n) for n in range(clients)]


async def fresh(stack: AsyncExitStack, address: str, clients: int) -> list[Call]:
    """A new session, one cell, and its end."""
    sandbox = await stack.enter_async_context(RemoteSandbox(address, token=TOKEN))

    async def run() -> None:
        session = await sandbox.open(SessionSpec(next(NAMES), limits=LIMITS))
        result = await session.call(1, "python", CODE)
        assert result.status is Status.OK, result
        await session.close()

    return [run] * clients


# --- measuring ------------------------------------------------------------------------------------------------------------


async def measured(calls: list[Call], total: int, clock: Clock) -> Round:
    """`total` calls, shared evenly by the clients."""
    each = max(1, total // len(calls))
    took: list[float] = []

    async def client(call: Call) -> None:
        for _ in range(each):
            began = time.perf_counter()
            await call()
            took.append((time.perf_counter() - began) * 1e3)

    for call in calls:
        await call()
    cpu, began = clock.read_ms(), time.perf_counter()
    await asyncio.gather(*(client(call) for call in calls))
    wall = time.perf_counter() - began
    took.sort()
    return Round(statistics.median(took), took[int(0.95 * len(took))], len(took) / wall, (clock.read_ms() - cpu) / len(took))


def summed(way: str, clients: int, rounds: list[Round]) -> Way:
    p50 = [r.p50_ms for r in rounds]
    rates = [r.per_s for r in rounds]
    middle = statistics.median
    return Way(
        way,
        clients,
        round(middle(p50), 3),
        (round(min(p50), 3), round(max(p50), 3)),
        round(middle(r.p95_ms for r in rounds), 3),
        round(middle(rates), 1),
        round(max(rates), 1),
        round(middle(r.cpu_ms for r in rounds), 3),
    )


async def main(calls: int, rounds: int, out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with server("--port", "0") as (tcp, tcp_clock), server("--unix", f"{folder}/s.sock") as (unix, unix_clock):
            plans = [
                (name, way, c, calls)
                for c in (1, 8, 32)
                for name, way in (("http tcp", ours), ("http unix", ours), ("httpx tcp", by_httpx))
            ]
            plans += [("mcp tcp", by_mcp, c, calls // 3) for c in (1, 8)]
            plans += [("open+cell+close tcp", fresh, c, calls // 10) for c in (1, 8)]
            found: dict[tuple[str, int], list[Round]] = {(name, c): [] for name, _, c, _ in plans}
            for _ in range(rounds):
                for name, way, clients, total in plans:
                    address, clock = (unix, unix_clock) if "unix" in name else (tcp, tcp_clock)
                    async with AsyncExitStack() as stack:
                        found[name, clients].append(await measured(await way(stack, address, clients), total, clock))
    ways = [summed(name, clients, done) for (name, clients), done in found.items()]
    print(f"{'way':22}{'clients':>8}{'p50 ms':>9}{'(range)':>18}{'p95 ms':>9}{'per s':>9}{'best':>9}{'CPU ms':>9}")
    for w in ways:
        span = f"({w.p50_ms_range[0]:.2f}-{w.p50_ms_range[1]:.2f})"
        print(f"{w.way:22}{w.clients:8}{w.p50_ms:9.2f}{span:>18}{w.p95_ms:9.2f}{w.per_s:9.0f}{w.per_s_best:9.0f}{w.cpu_ms:9.2f}")
    rate = {(w.way, w.clients): w.per_s for w in ways}
    ratios = {
        f"{other} at {c}": round(rate["http tcp", c] / rate[other, c], 2)
        for other, c in rate
        if c in (1, 8, 32) and other not in ("http tcp", "open+cell+close tcp")
    }
    print("times the calls per second of", ", ".join(f"{name}: {ratio:g}" for name, ratio in ratios.items()))
    opened = next(w for w in ways if w.way.startswith("open") and w.clients == 1)
    print(f"{opened.way}: {opened.cpu_ms:.2f} CPU-ms by {tcp_clock.source}, asked for is less than 15")
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    out.parent.mkdir(exist_ok=True)
    result = {
        "machine": machine,
        "calls": calls,
        "rounds": rounds,
        "cpu_by": tcp_clock.source,
        "ways": [asdict(w) for w in ways],
        "times_ours": ratios,
    }
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=1500)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tool_server.json")
    given = options.parse_args()
    asyncio.run(main(given.calls, given.rounds, given.out))
