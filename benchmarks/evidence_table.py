"""docs/evidence.md from the results of benchmarks/evidence.py: intervals over seeds, differences to GRPO seed by seed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from evidence_arenas import ARENAS, METHODS

from turnwise.agents.statistics import wilson

__all__ = ["CURVE", "area", "at", "interval", "table", "tables", "write"]

Run = Mapping[str, Any]
BASELINE = "grpo"
CURVE = 64
"""Tasks of a point of the curve."""
_T95 = "12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 2.131 2.120 2.110 2.101 2.093"
T95 = dict(enumerate(map(float, _T95.split()), start=1))
"""Two-sided 95 % points of Student's t by degrees of freedom."""


def success(point: Mapping[str, Any]) -> float:
    return point["right"] / point["tasks"]


def area(run: Run, tokens: int) -> float:
    """Mean success over 0 to `tokens` sampled tokens, straight between points; what a run ended with holds to the end."""
    points = [(min(p["tokens"], tokens), success(p)) for p in run["points"]]
    points.append((tokens, points[-1][1]))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points)) / tokens


def at(run: Run, tokens: int) -> float:
    """Success after that many sampled tokens, straight between points."""
    points = [(p["tokens"], success(p)) for p in run["points"]]
    for (before, low), (after, high) in pairwise(points):
        if tokens <= after:
            return low + (high - low) * (tokens - before) / (after - before)
    return points[-1][1]


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval over seeds by Student's t: "0.91 +- 0.03"; without an interval for one seed."""
    if len(values) < 2:
        return f"{fmean(values):.3f}"
    return f"{fmean(values):.3f} ± {T95[len(values) - 1] * stdev(values) / math.sqrt(len(values)):.3f}"


def difference(own: Mapping[int, float], base: Mapping[int, float]) -> str:
    """Mean and interval of the differences on the seeds that both have."""
    both = sorted(own.keys() & base.keys())
    if not both:
        return "-"
    text = interval([own[seed] - base[seed] for seed in both])
    return text if text.startswith("-") else f"+{text}"


def thousands(values: Iterable[float]) -> str:
    return f"{fmean(values) / 1000:.1f} k"


def table(arena: str, runs: Sequence[Run]) -> str:
    """Markdown: a line a method, the baseline first."""
    tokens = ARENAS[arena].tokens
    finals: dict[str, dict[int, float]] = {}
    areas: dict[str, dict[int, float]] = {}
    for run in runs:
        finals.setdefault(run["method"], {})[run["seed"]] = success(run["points"][-1])
        areas.setdefault(run["method"], {})[run["seed"]] = area(run, tokens)
    lines = [
        "| method | seeds | held-out success | pooled tasks | area | success against `grpo` | area against `grpo` | "
        "tokens | tool calls | steps |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for method in sorted(finals, key=lambda m: (m != BASELINE, -fmean(areas[m].values()))):
        own = [run for run in runs if run["method"] == method]
        last = [run["points"][-1] for run in own]
        low, high = wilson(sum(p["right"] for p in last), sum(p["tasks"] for p in last))
        against = ["", ""] if method == BASELINE else [difference(v[method], v.get(BASELINE, {})) for v in (finals, areas)]
        cells = [
            *(f"`{method}`", str(len(own)), interval(list(finals[method].values())), f"{low:.3f} to {high:.3f}"),
            *(interval(list(areas[method].values())), *against),
            *(thousands(p["tokens"] for p in last), thousands(p["tool_calls"] for p in last)),
            f"{fmean(p['steps'] for p in last):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def on_a_share(runs: Sequence[Run]) -> list[str]:
    """A sentence about each method that may spend only a share of the tool calls: against the baseline at as many tokens."""
    base = {run["seed"]: run for run in runs if run["method"] == BASELINE}
    lines: list[str] = []
    for name, method in METHODS.items():
        own = {run["seed"]: run for run in runs if run["method"] == name and run["seed"] in base}
        if method.calls < 1 and own:
            ends = {seed: run["points"][-1] for seed, run in own.items()}
            even = [success(end) - at(base[seed], end["tokens"]) for seed, end in ends.items()]
            whole = [success(end) - success(base[seed]["points"][-1]) for seed, end in ends.items()]
            share = fmean(end["tool_calls"] / base[seed]["points"][-1]["tool_calls"] for seed, end in ends.items())
            lines.append(
                f"`{name}` spent {share:.0%} of `{BASELINE}`'s tool calls. Against `{BASELINE}` after as many sampled tokens "
                f"(between points of {CURVE} tasks) its success differs by {interval(even)}, against the end of `{BASELINE}`'s "
                f"whole budget by {interval(whole)}."
            )
    return lines


def tables(folder: Path) -> str:
    """All arenas that have results, with where they started."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    runs = [run for run in runs if run["arena"] in ARENAS and run["method"] in METHODS]
    parts: list[str] = []
    for arena in ARENAS:
        own = [run for run in runs if run["arena"] == arena]
        if own:
            begun = {run["seed"]: success(run["points"][0]) for run in own if run["method"] == BASELINE}
            start = f"After the warm-start: {interval(list(begun.values()))}." if begun else ""
            budget = f"Budget of a run: {ARENAS[arena].tokens:,} sampled tokens, {ARENAS[arena].tool_calls:,} tool calls."
            parts += [f"### `{arena}`", f"{budget} {start}".strip(), table(arena, own), *on_a_share(own)]
    return "\n\n".join(parts)


def write(folder: Path, page: Path) -> None:
    """Replace what stands between the marks of the page."""
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- generated: tables -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not mark or not end:
        raise SystemExit(f"{page}: has no marks to write between.")
    page.write_text(f"{before}{mark}{tables(folder)}\n{end}{after}", encoding="utf-8")
