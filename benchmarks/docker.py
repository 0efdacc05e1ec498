"""What a call costs in Docker: in a warm session of ours, by `docker exec` over the engine's API, and by `docker run`.

    python benchmarks/docker.py [--calls 300] [--repeats 3] [--base turnwise-base:latest] [--out benchmarks/results/docker.json]

CPU milliseconds of everything that works for the call: this process, dockerd, containerd, the shims, what they start for a moment
(all put into one accounting group for it: needs root and cgroup v1), and the containers. So the numbers do not depend on who else
uses the machine; only nobody else may use the engine meanwhile. Wall times depend on everything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from aiodocker import Docker

from turnwise.tool_servers.sandbox.docker import DockerSandbox
from turnwise.tool_servers.sandbox.docker_container import container_settings
from turnwise.tool_servers.sandbox.docker_link import Pipe
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Session, SessionSpec, Status

CODE = "print(sum(i * i for i in range(1000)))"
CPUACCT = Path("/sys/fs/cgroup/cpuacct")
DAEMONS = ("dockerd", "containerd", "containerd-shim", "docker-proxy")


@dataclass(frozen=True)
class Cost:
    """Per call: medians over the repeats, and the lowest and highest CPU of a repeat."""

    way: str
    calls: int
    cpu_ms: float
    cpu_ms_range: tuple[float, float]
    wall_ms: float


class Meter:
    """CPU time of this process, the engine and its containers together, from two accounting groups."""

    def __init__(self, group: Path) -> None:
        self._files = [group / "cpuacct.usage", CPUACCT / "docker" / "cpuacct.usage"]

    def ms(self) -> float:
        return sum(int(file.read_text()) for file in self._files if file.exists()) / 1e6


@contextmanager
def meter():
    """Moves the engine's processes and this one into a group, and back at the end."""
    group = CPUACCT / f"turnwise-benchmark-{os.getpid()}"
    group.mkdir()
    moved = {pid: (CPUACCT / home.lstrip("/")) for pid in [os.getpid(), *daemons()] if (home := home_of(pid)) is not None}
    try:
        for pid in moved:
            (group / "cgroup.procs").write_text(str(pid))
        yield Meter(group)
    finally:
        for pid in map(int, (group / "cgroup.procs").read_text().split()):
            (moved.get(pid, CPUACCT) / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def daemons() -> list[int]:
    names = {pid: (Path("/proc") / pid / "comm").read_text().strip() for pid in filter(str.isdecimal, os.listdir("/proc"))}
    return [int(pid) for pid, name in names.items() if name in DAEMONS]


def home_of(pid: int) -> str | None:
    """The accounting group of a process."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(","):
            return path
    return None


async def measure(way: str, work: Callable[[], Awaitable[None]], calls: int, repeats: int, clock: Meter) -> Cost:
    """`work` makes one call."""
    await work()
    cpu: list[float] = []
    wall: list[float] = []
    for _ in range(repeats):
        start, began = clock.ms(), time.perf_counter()
        for _ in range(calls):
            await work()
        wall.append((time.perf_counter() - began) * 1e3 / calls)
        await asyncio.sleep(0.3)  # what the engine still does afterwards belongs to it
        cpu.append((clock.ms() - start) / calls)
    cost = Cost(way, calls, statistics.median(cpu), (min(cpu), max(cpu)), statistics.median(wall))
    print(f"{way:42s} {cost.cpu_ms:8.2f} CPU-ms ({min(cpu):.2f} to {max(cpu):.2f})  {cost.wall_ms:8.2f} ms wall", flush=True)
    return cost


def cells(session: Session) -> Callable[[], Awaitable[None]]:
    """Calls in one live session."""
    numbers = iter(range(1, 1_000_000))

    async def call() -> None:
        result = await session.call(next(numbers), "python", {"code": CODE})
        assert result.status is Status.OK and result.out == "332833500\n", result

    return call


def fresh(sandbox: DockerSandbox, name: str) -> Callable[[], Awaitable[None]]:
    """Open, one call, close."""
    numbers = iter(range(1_000_000))

    async def call() -> None:
        session = await sandbox.open(SessionSpec(f"{name}-{next(numbers)}"))
        await cells(session)()
        await session.close()

    return call


async def by_exec(docker: Docker, container: str) -> None:
    """`docker exec` as its command line does it, less the command line."""
    run = await docker.containers.container(container).exec(["python3", "-c", CODE])
    async with run.start() as stream:
        message = await stream.read_out()
    assert message is not None and message.data == b"332833500\n", message


async def by_run(docker: Docker, image: str) -> None:
    """`docker run --rm` with the same walls."""
    settings = container_settings(image, ["python3", "-c", CODE], Limits(), labels={}, overhead_mb=32)
    pipe, reader = await Pipe.reading(docker, settings)
    assert await reader.read() == b"332833500\n", pipe.last_words
    await pipe.end()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--base", default="turnwise-base:latest")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/docker.json"))
    chosen = parser.parse_args()
    few = max(3, chosen.calls // 20)
    async with DockerSandbox(base=chosen.base) as sandbox, Docker() as docker:
        sleeper = container_settings(chosen.base, ["python3", "-c", "input()"], Limits(), labels={}, overhead_mb=32)
        idle, _ = await Pipe.reading(docker, sleeper)
        with meter() as clock:
            session = await sandbox.open(SessionSpec("bench"))
            costs = [
                await measure("a call in a warm session", cells(session), chosen.calls, chosen.repeats, clock),
                await measure("docker exec over the API", lambda: by_exec(docker, idle.id), few, chosen.repeats, clock),
                await measure("docker run over the API", lambda: by_run(docker, chosen.base), few, chosen.repeats, clock),
                await measure("open, call, close: no pool", fresh(sandbox, "cold"), few, chosen.repeats, clock),
            ]
            async with DockerSandbox(base=chosen.base, warm=few + 1) as pooled:
                await pooled.prepare(SessionSpec("first"))
                costs.append(await measure("open, call, close: pool", fresh(pooled, "pool"), few, chosen.repeats, clock))
        await idle.end()
        engine = sandbox.engine.name
    warm = costs[0].cpu_ms
    print(f"{engine}: exec costs {costs[1].cpu_ms / warm:.0f} warm calls, run {costs[2].cpu_ms / warm:.0f}")
    report = {"engine": engine, "cpu": platform.processor() or platform.machine(), "costs": [asdict(cost) for cost in costs]}
    chosen.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
