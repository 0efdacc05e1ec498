"""The learning curve of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["Point", "draw"]


@dataclass(frozen=True, slots=True)
class Point:
    """Held-out success at one moment."""

    stage: str
    """"start", "warm-start" or "rl"."""
    step: int
    """Training steps done; 0 before RL."""
    success: float
    low: float
    high: float
    """95 % interval."""
    tasks: int


def draw(path: Path, points: Sequence[Point], train: Sequence[tuple[int, float]], title: str) -> None:
    """A PNG: held-out success with its interval over RL steps, stages before RL at the left, training success behind it."""
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        if train:
            axes.plot(*zip(*train, strict=True), color="0.75", linewidth=1.2, label="training tasks, each step")
        rl = [p for p in points if p.stage != "start"]
        if rl:
            steps = [p.step for p in rl]
            axes.fill_between(steps, [p.low for p in rl], [p.high for p in rl], color="tab:blue", alpha=0.15, linewidth=0)
            axes.plot(steps, [p.success for p in rl], "o-", color="tab:blue", markersize=4, label="held-out tasks, 95 % interval")
        for point in (p for p in points if p.stage == "start"):
            axes.axhline(
                point.success, color="tab:red", linewidth=1, linestyle=":", label=f"before training: {point.success:.2f}"
            )
        _label_ends(axes, rl)
        axes.set(xlabel="RL step", ylabel="success", ylim=(-0.03, 1.05), title=title)
        axes.grid(axis="y", color="0.9")
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path, dpi=150)


def _label_ends(axes: Axes, points: Sequence[Point]) -> None:
    if len(points) < 2:
        return
    first, last = points[0], points[-1]
    name = "after warm-start" if first.stage == "warm-start" else "before RL"
    axes.annotate(f"{name}: {first.success:.2f}", (first.step, first.success), (14, -5), textcoords="offset points")
    axes.annotate(f"after RL: {last.success:.2f}", (last.step, last.success), (-4, -16), textcoords="offset points", ha="right")
