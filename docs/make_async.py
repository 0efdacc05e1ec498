"""Writes the table of docs/async.md: `python docs/make_async.py` (a test fails if it is stale).

Simulated time (`turnwise.trainers.simulation`): the real training loop, pool, admission and controller; only the engine, the
tools and the learner are latency models. The same numbers on every machine.
"""

from __future__ import annotations

import re
from pathlib import Path

from turnwise.trainers.simulation import Scenario, Simulated, simulate

PAGE = Path(__file__).parent / "async.md"
ETAS = (0, 1, 2, 4)
SCENARIOS = {
    "slow tools (median 0.3 s, 99th percentile 3 s)": Scenario(),
    "long replies, quick tools (median 512 tokens, some ten times as long)": Scenario(
        turns=(1, 2), reply_tokens=512.0, reply_spread=1.0, tool_s=0.02, tool_p99_s=0.1, learn_s=4.0
    ),
    "even replies, quick tools: the learner is the bottleneck": Scenario(
        reply_tokens=64.0, reply_spread=0.1, tool_s=0.02, tool_p99_s=0.1, learn_s=4.0
    ),
}
STEPS = 8


def table() -> str:
    """Markdown."""
    rows = [
        "| what is slow | eta | episodes/s | speed-up | staleness, mean (most) | learner at work |",
        "|---|---|---|---|---|---|",
    ]
    for name, scenario in SCENARIOS.items():
        runs = {eta: simulate(scenario, eta=eta, steps=STEPS, tasks=4) for eta in ETAS}
        rows += [_row(name if eta == 0 else "", eta, run, runs[0]) for eta, run in runs.items()]
    return "\n".join(rows)


def _row(name: str, eta: int, run: Simulated, lock: Simulated) -> str:
    cells = [name, f"{eta}", f"{run.rate:.1f}", f"{run.rate / lock.rate:.2f}", f"{run.staleness:.2f} ({run.stalest})"]
    return f"| {' | '.join([*cells, f'{run.learning:.0%}'])} |"


def page() -> str:
    """The page with the table as it should be."""
    return re.sub(r"(<!-- table -->\n).*?(\n<!-- end -->)", rf"\1{table()}\2", PAGE.read_text(), flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page())
