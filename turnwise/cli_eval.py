"""`turnwise eval`: an agent by name, its evaluation on each environment, and what is written of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from turnwise import __version__
from turnwise.agents.agent import Agent, ExpertAgent, RandomAgent
from turnwise.agents.chat_agent import ChatAgent
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.openai import OpenAIEngine
from turnwise.agents.evaluate import Evaluation, evaluate
from turnwise.agents.report import page
from turnwise.agents.store import TrajectoryWriter
from turnwise.agents.summary import summary
from turnwise.agents.worlds import Worlds
from turnwise.cli_parsing import env_id, levels, needs_torch
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Trajectory

__all__ = ["run_eval"]


@dataclass(frozen=True, slots=True)
class _Player:
    agent: Agent
    decode: Callable[[int], str] | None = None
    """One token id -> text, for agents with tokens."""
    usage: Callable[[], dict[str, int]] | None = None
    """What a provider was asked for."""


def run_eval(arguments: argparse.Namespace) -> int:
    """Evaluate, print, write; 1 if there is an environment where every episode failed."""
    out: Path | None = arguments.out
    if out and (out / "trajectories.jsonl").exists():
        raise ConfigError(f"--out {out}: holds an evaluation already; choose another folder or remove it.")
    evaluations, results, decode = asyncio.run(_evaluated(arguments))
    if arguments.json:
        print(json.dumps(results, indent=2, allow_nan=False))
    else:
        console = Console()
        for evaluation in evaluations:
            console.print(summary(evaluation, arguments.agent), "")
    if out:
        _write(out, results, evaluations, decode)
        Console(stderr=True, highlight=False).print(f"written: {out}/results.json, trajectories.jsonl, report.html", markup=False)
    dead = [e for e in evaluations if not e.played]
    for evaluation in dead:
        failure = next(t.failure for group in evaluation.groups for t in group.trajectories if t.failure)
        Console(stderr=True).print(
            f"error: {evaluation.env_id}: every episode failed, the first with {failure.kind}: {failure.detail}",
            style="red",
            markup=False,
            soft_wrap=True,
        )
    return 1 if dead else 0


async def _evaluated(
    arguments: argparse.Namespace,
) -> tuple[list[Evaluation], dict[str, Any], Callable[[int], str] | None]:
    evaluations: list[Evaluation] = []
    names = [env_id(word) for word in arguments.envs]
    difficulty = None if arguments.difficulty is None else levels(arguments.difficulty)
    worlds = Worlds({} if arguments.max_turns is None else {"max_turns": arguments.max_turns})
    async with _player(arguments) as player:
        for name in names:
            # A wrong argument shows now, not after the environments before it.
            await worlds.give_back(name, await worlds.take(name), broken=True)
        with ExitStack() as stack:
            writer = stack.enter_context(TrajectoryWriter(arguments.out / "trajectories.jsonl")) if arguments.out else None
            progress = stack.enter_context(_progress())
            for name in names:
                done = _watch(progress, name, arguments.tasks * arguments.samples, writer)
                evaluations.append(
                    await evaluate(
                        worlds,
                        player.agent,
                        name,
                        tasks=arguments.tasks,
                        samples=arguments.samples,
                        split=arguments.split,
                        difficulty=difficulty,
                        seed=arguments.seed,
                        concurrency=arguments.concurrency,
                        done=done,
                    )
                )
        await worlds.close()
        usage = player.usage() if player.usage else None
    return evaluations, _results(arguments, evaluations, usage), player.decode


def _results(arguments: argparse.Namespace, evaluations: Sequence[Evaluation], usage: dict[str, int] | None) -> dict[str, Any]:
    return {
        "turnwise": __version__,
        "agent": arguments.agent,
        "temperature": arguments.temperature,
        "max_tokens": arguments.max_tokens,
        "max_turns": arguments.max_turns,
        "usage": usage,
        "evaluations": [evaluation.to_json() for evaluation in evaluations],
    }


def _write(out: Path, results: dict[str, Any], evaluations: Sequence[Evaluation], decode: Callable[[int], str] | None) -> None:
    (out / "results.json").write_text(json.dumps(results, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    notes = {"agent": str(results["agent"])}
    for e in evaluations:
        rate = f"{e.success.mean:.1%} ({e.success.low:.1%} to {e.success.high:.1%})" if e.success else "-"
        notes[e.env_id] = f"success {rate} on {len(e.tasks)} {e.split} tasks, {e.failed} of {e.played + e.failed} episodes failed"
    trajectories = [t for e in evaluations for group in e.groups for t in group.trajectories]
    html = page(trajectories, title=f"turnwise eval: {results['agent']}", notes=notes, decode=decode)
    (out / "report.html").write_text(html, encoding="utf-8")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _watch(progress: Progress, name: str, total: int, writer: TrajectoryWriter | None) -> Callable[[Trajectory], None]:
    """A callback that stores each trajectory and moves the bar."""
    bar = progress.add_task(name, total=total, state="")
    seen: Counter[str] = Counter()

    def done(trajectory: Trajectory) -> None:
        if writer:
            writer.write([trajectory])
        seen["failed" if trajectory.failed else "solved" if trajectory.outcome >= 1.0 else "unsolved"] += 1
        state = ", ".join(f"{seen[kind]} {kind}" for kind in ("solved", "failed") if kind == "solved" or seen[kind])
        progress.update(bar, advance=1, state=state)

    return done


@asynccontextmanager
async def _player(arguments: argparse.Namespace) -> AsyncGenerator[_Player]:
    """The agent that `--agent` names; its engine is closed at the end."""
    kind, _, name = str(arguments.agent).partition(":")
    sampling = Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature)
    if kind in ("hf", "openai") and not name:
        raise ConfigError(f"--agent {kind}: names no model; write {kind}:{'PATH' if kind == 'hf' else 'MODEL'}.")
    match kind:
        case "expert":
            yield _Player(ExpertAgent())
        case "random":
            yield _Player(RandomAgent())
        case "hf":
            async with _local_model(name, sampling, arguments) as player:
                yield player
        case "openai":
            url = arguments.base_url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
            engine = OpenAIEngine(name, url, os.environ.get("OPENAI_API_KEY", ""), timeout_s=arguments.timeout)
            try:
                yield _Player(ChatAgent(engine, sampling), usage=lambda: asdict(engine.usage))
            finally:
                await engine.close()
        case _:
            raise UnknownName("agent", str(arguments.agent), ("expert", "random", "hf:PATH", "openai:MODEL"))


@asynccontextmanager
async def _local_model(path: str, sampling: Sampling, arguments: argparse.Namespace) -> AsyncGenerator[_Player]:
    needs_torch("--agent hf")
    if path.startswith((".", "/", "~")) and not Path(path).expanduser().is_dir():
        raise ConfigError(f"--agent hf:{path}: there is no such folder; give one that save_pretrained wrote, or a hub id.")
    import torch  # noqa: PLC0415  (seconds to load; only this agent needs it)

    from turnwise.agents.agent import ModelAgent  # noqa: PLC0415
    from turnwise.agents.chat import ChatTemplate, Tokenizer  # noqa: PLC0415
    from turnwise.agents.engines.torch import TorchEngine  # noqa: PLC0415
    from turnwise.trainers.policies.pretrained import Pretrained  # noqa: PLC0415

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = arguments.dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    local = str(Path(path).expanduser()) if path.startswith("~") else path
    model, tokenizer = Pretrained(path=local, dtype=dtype, device=device).build((), 0)
    model.eval()
    engine = TorchEngine(model, max_batch=arguments.concurrency)
    try:
        agent = ModelAgent(engine, ChatTemplate(cast(Tokenizer, tokenizer)), sampling)
        yield _Player(agent, decode=lambda token: str(tokenizer.decode([token])))
    finally:
        await engine.close()
