"""Success on held-out tasks: a point of the learning curve."""

from __future__ import annotations

from collections.abc import Callable

from turnwise.agents.episode import Problem
from turnwise.agents.evaluate import Evaluation, starts, summarize
from turnwise.errors import ConfigError
from turnwise.seeds import child
from turnwise.trainers import curve
from turnwise.trainers.curve import Point
from turnwise.trainers.live import Live, progress
from turnwise.types import Group, Trajectory

__all__ = ["measure"]


async def measure(live: Live, stage: str, step: int, tasks: int, *, quiet: bool = False) -> None:
    evaluation = await _held_out(live, tasks, quiet)
    estimate = evaluation.success
    if estimate is None:
        says = f"evaluation: every episode failed: {dict(evaluation.failures)}."
        if stage == "start":
            raise ConfigError(says)
        live.console.print(f"[yellow]{says}[/]")  # an outage on the way costs a point of the curve, not the run
        return
    live.points.append(Point(stage, step, estimate.mean, estimate.low, estimate.high, estimate.n))
    curve.draw(live.folder / "curve.png", live.points, live.success, ", ".join(c.id for c in live.recipe.env))
    if quiet and not live.console.is_terminal:
        live.console.print(f"step {step}: held-out success {estimate.mean:.3f}")
    if not quiet:
        name = {"start": "before training", "warm-start": "after warm-start", "rl": f"after {step} RL steps"}[stage]
        failed = f", {evaluation.failed} failed" if evaluation.failed else ""
        live.console.print(
            f"[bold]held-out success {name}: {estimate.mean:.3f}[/]  "
            f"95 % interval {estimate.low:.3f} to {estimate.high:.3f}, {estimate.n} unseen tasks{failed}"
        )


async def _held_out(live: Live, tasks: int, quiet: bool) -> Evaluation:
    """Success at the training temperature on test tasks, shared evenly among environments and difficulty levels."""
    recipe = live.recipe
    cells = [(c.id, level) for c in recipe.env for level in (c.difficulty or (None,))]
    seed = child(recipe.seed, "held-out")
    problems: list[tuple[Problem, int]] = []
    for index, (env_id, level) in enumerate(cells):
        count = tasks // len(cells) + (index < tasks % len(cells))
        if count:
            problems += starts(env_id, tasks=count, samples=1, split="test", difficulty=level, seed=seed)
    done: Callable[[Trajectory], None] = lambda _: None  # noqa: E731
    with progress(live.console) as bar:
        if not quiet:
            task = bar.add_task("held-out tasks", total=len(problems), note="")
            done = lambda _: bar.advance(task)  # noqa: E731
        played = await live.play(problems, done)
    groups = [Group(t.task, (t,)) for t in played]
    return summarize(groups, env_id=recipe.env[0].id, samples=1, split="test", difficulty=None, seed=seed)
