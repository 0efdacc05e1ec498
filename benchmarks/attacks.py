"""Time limits under attack: how exactly is a call ended at its time, and what do honest neighbours feel of it?

    python benchmarks/attacks.py [--hostile 32] [--seconds 10] [--out benchmarks/results/attacks.json]

Hostile sessions run endless loops, sleepers and forks with `wall_s` = 0.5, call after call, each after a fresh process. `over` is
how long after its limit none of a call's processes could run any further, `late` how long after it the client has the result, the
end of the last process and the start of the fresh one before the call included. Four honest sessions make small calls all the
while; their latency is compared with that before. All depend on the number of cores, and on what else the machine does: with two,
32 loops share them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from pathlib import Path

from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox, EmbeddedSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status

WALL_S = 0.5
HOSTILE = (
    "while True: pass",
    "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass",
    "import signal\nfor n in (1, 2, 3, 15, 24): signal.signal(n, signal.SIG_IGN)\nwhile True: pass",
    "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
)
HONEST = "sum(i * i for i in range(1000))"


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def hostile(session: EmbeddedSession, code: str, until: float, late: list[float], over: list[float]) -> None:
    seq = 0
    while time.monotonic() < until:
        seq += 1
        started = time.monotonic()
        result = await session.call(seq, "python", {"code": code}, wall_s=WALL_S)
        assert result.status is not Status.OK, result
        if result.status is Status.TIMEOUT:
            late.append((time.monotonic() - started - WALL_S) * 1e3)
            over.append(result.usage.wall_ms - WALL_S * 1e3)


async def honest(session: EmbeddedSession, until: float, seq: int, took: list[float]) -> int:
    while time.monotonic() < until:
        seq += 1
        started = time.monotonic()
        result = await session.call(seq, "python", {"code": HONEST})
        assert result.value == "332833500", result
        took.append((time.monotonic() - started) * 1e3)
        await asyncio.sleep(0.02)
    return seq


async def measure(count: int, seconds: float) -> dict[str, float]:
    async with EmbeddedSandbox() as sandbox:
        good = [await sandbox.open(SessionSpec(f"h{n}", limits=Limits(calls=10**6))) for n in range(4)]
        before: list[float] = []
        seqs = await asyncio.gather(*(honest(s, time.monotonic() + seconds / 3, 0, before) for s in good))
        bad = [
            await sandbox.open(SessionSpec(f"b{n}", limits=Limits(calls=10**6, cpu_s=10**6, processes=8, memory_mb=64)))
            for n in range(count)
        ]
        until, late, over, during = time.monotonic() + seconds, list[float](), list[float](), list[float]()
        await asyncio.gather(
            *(hostile(s, HOSTILE[n % len(HOSTILE)], until, late, over) for n, s in enumerate(bad)),
            *(honest(s, until, seq, during) for s, seq in zip(good, seqs, strict=True)),
        )
    return {
        "hostile_sessions": count,
        "timeouts": len(late),
        "over_ms_p50": statistics.median(over),
        "over_ms_p99": percentile(over, 0.99),
        "late_ms_p50": statistics.median(late),
        "late_ms_p99": percentile(late, 0.99),
        "honest_calls": len(during),
        "honest_ms_p50_alone": statistics.median(before),
        "honest_ms_p95_alone": percentile(before, 0.95),
        "honest_ms_p50_attacked": statistics.median(during),
        "honest_ms_p95_attacked": percentile(during, 0.95),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hostile", type=int, nargs="*", default=[2, 8, 32])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/attacks.json")
    chosen = parser.parse_args()
    runs = [asyncio.run(measure(count, chosen.seconds)) for count in chosen.hostile]
    for run in runs:
        print("  ".join(f"{name} {value:.1f}" for name, value in run.items()))
    machine = {
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    chosen.out.write_text(json.dumps({"machine": machine, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
