"""A whole run: demonstrations, warm-start, RL, evaluation before and after each, files. All I/O of training is here.

OUT/recipe.toml  metrics.jsonl  seconds.jsonl  tensorboard/  curve.png  checkpoints/  model/
OUT/trajectories.jsonl  events.jsonl  results.json
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from rich.markup import escape
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from turnwise.agents.chat import ChatTemplate
from turnwise.agents.report import page
from turnwise.agents.store import TrajectoryWriter, read_groups
from turnwise.agents.worlds import Worlds
from turnwise.errors import LearnerFailure
from turnwise.seeds import child
from turnwise.trainers import checkpoint, resuming
from turnwise.trainers.cluster.fleet import launch
from turnwise.trainers.cluster.learner import RayLearner, Settings
from turnwise.trainers.cluster.resources import connected
from turnwise.trainers.concurrency import AIMD, Tuner
from turnwise.trainers.curve import Point
from turnwise.trainers.demonstrations import demonstrations
from turnwise.trainers.engines.protocol import PolicyEngine
from turnwise.trainers.held_out import measure
from turnwise.trainers.learner import Learner, LocalLearner, Update
from turnwise.trainers.live import Live, limits_of, progress, worlds_of
from turnwise.trainers.logbook import Logbook, read_metrics
from turnwise.trainers.lora import with_adapters
from turnwise.trainers.memory import announce
from turnwise.trainers.monitor import alarms
from turnwise.trainers.policies.pretrained import Pretrained
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import LocalPool, RolloutPool
from turnwise.trainers.recipe import Recipe
from turnwise.trainers.recording import EventLog, Logged, pack_admitted, unpack_admitted
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.sft import SFT, encode, texts
from turnwise.trainers.trainer import Step, train
from turnwise.trainers.watch import Watch
from turnwise.types import Trajectory

__all__ = ["Result", "run", "update_of"]

PAGE_GROUPS = 8
"""Groups of the last step that the page of a run shows."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    points: tuple[Point, ...]
    """Held-out success: at the start, after the warm-start, along RL, at the end."""
    folder: Path
    seconds: float

    def summary(self) -> str:
        """A few lines for the console: success by stage, the time, the files."""
        names = {"start": "before training", "warm-start": "after warm-start", "rl": "after RL"}
        last = {point.stage: point for point in self.points}
        rows = [f"  {names[stage]:<18}{p.success:.3f}   95 % interval {p.low:.3f} to {p.high:.3f}" for stage, p in last.items()]
        before = last.get("warm-start", last.get("start"))
        gain = [f"  RL alone: {100 * (last['rl'].success - before.success):+.0f} points"] if before and "rl" in last else []
        head = ["", "Success on held-out tasks"] if rows else [""]
        minutes, seconds = divmod(round(self.seconds), 60)
        files = [
            f"Done in {minutes} min {seconds} s. In {self.folder}:",
            "  curve.png           the learning curve",
            "  model/              the checkpoint, for transformers and `turnwise eval ENV --agent hf:...`",
            "  trajectories.jsonl  every episode, token by token; trajectories.html to look at the last ones",
            "  metrics.jsonl       the numbers of each step (TensorBoard: tensorboard/)",
        ]
        return "\n".join([*head, *rows, *gain, "", *files])


async def run(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    wandb: str = "",
    console: Console | None = None,
    until: int = 0,
    rollouts: RolloutPool | None = None,
) -> Result:
    """Carry out a recipe; everything lands in `out`. `resume` goes on exactly where the last checkpoint in `out` stands.

    `until` stops after so many steps of the recipe's, `rollouts` is a pool to take them from instead of playing (replay).

    Raises ConfigError for what a person has to mend: an unknown environment, a model that cannot be loaded, a used folder.
    """
    console = console or Console()
    started = time.perf_counter()
    resuming.prepare(out, resume, recipe)
    disable_progress_bar()  # transformers' own, which would cut through ours
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    announce(recipe, console)
    async with AsyncExitStack() as parts:
        if recipe.cluster.used:
            parts.enter_context(connected(recipe.cluster.address, console.print))
        worlds = worlds_of(recipe)
        parts.push_async_callback(worlds.close)
        if resume:
            live, state = await _resumed(recipe, out, console, worlds, parts)
        else:
            live, state = await _fresh(recipe, out, console, worlds, parts), None
        await _steadily(live, state, wandb, until, rollouts)
    checkpoint.write_model(out / "model", live.model, live.tokenizer)
    seconds = time.perf_counter() - started
    result = Result(tuple(live.points), out, seconds)
    (out / "trajectories.html").write_text(_page(live), encoding="utf-8")
    (out / "results.json").write_text(json.dumps({"points": [asdict(p) for p in live.points], "seconds": seconds}, indent=1))
    return result


# --- before RL ------------------------------------------------------------------------------------------------------


async def _fresh(recipe: Recipe, out: Path, console: Console, worlds: Worlds, parts: AsyncExitStack) -> Live:
    shown: list[Trajectory] = []
    if recipe.warm_start is not None:
        shown = await demonstrations(recipe, recipe.warm_start, worlds, console)
    model, tokenizer = recipe.policy.build(texts(shown), child(recipe.seed, "policy"))
    if isinstance(recipe.policy, Scratch):
        checkpoint.write_model(out / "base", model, tokenizer)  # a resumed run needs the same tokenizer
    live = await _assemble(recipe, out, console, worlds, model, tokenizer, parts)
    size = sum(p.numel() for p in model.parameters())
    console.print(f"policy: {size / 1e6:.2f} M parameters, {len(cast(Any, tokenizer))} tokens in the vocabulary")
    if recipe.evaluate.tasks:
        await measure(live, "start", 0, recipe.evaluate.tasks)
    if recipe.warm_start is not None:
        await _imitate(live, recipe.warm_start, shown)
        if recipe.evaluate.tasks:
            await measure(live, "warm-start", 0, recipe.evaluate.tasks)
    return live


async def _assemble(
    recipe: Recipe,
    out: Path,
    console: Console,
    worlds: Worlds,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    parts: AsyncExitStack,
) -> Live:
    template = ChatTemplate(cast(Any, tokenizer))
    if recipe.lora is not None:
        model = with_adapters(model, recipe.lora, child(recipe.seed, "lora"))
    if recipe.cluster.used:
        fleet = await launch(recipe, model, tokenizer, _warns(console), parts)
        return Live(recipe, out, console, worlds, model, tokenizer, template, fleet.engine, [], [], fleet)
    overlaps = recipe.schedule.overlaps
    engine = await recipe.engine.build(model, out, concurrency=recipe.concurrency, overlaps=overlaps)
    parts.push_async_callback(engine.close)
    return Live(recipe, out, console, worlds, model, tokenizer, template, engine, [], [])


async def _resumed(
    recipe: Recipe, out: Path, console: Console, worlds: Worlds, parts: AsyncExitStack
) -> tuple[Live, checkpoint.State]:
    path = checkpoint.latest(out / "checkpoints")
    state = checkpoint.read(path)
    resuming.check_files(out, state)
    for change in resuming.changes(recipe, state):
        _warns(console)(f"resumed with another setting: {change}")
    resuming.write_recipe(out, recipe)
    policy = recipe.policy
    if isinstance(policy, Scratch):
        policy = Pretrained(path=str(out / "base"), dtype=policy.dtype, device=policy.device)
    model, _ = policy.build((), child(recipe.seed, "policy"))
    tokenizer = AutoTokenizer.from_pretrained(path)
    live = await _assemble(recipe, out, console, worlds, model, tokenizer, parts)
    return live, _restored(live, path)


def _warns(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(f"[yellow]{escape(text)}[/]")


def _restored(live: Live, path: Path) -> checkpoint.State:
    """The weights and the curve as they were at a checkpoint, and the rest of it."""
    state = checkpoint.load(path, live.model)
    live.points = [Point(**p) for p in state.extra["points"]]
    live.success = [(int(step), float(value)) for step, value in state.extra["success"]]
    live.console.print(f"resumed from {path.name}: {state.step} of {live.recipe.steps} steps are done")
    return state


async def _imitate(live: Live, sft: SFT, shown: Sequence[Trajectory]) -> None:
    rows = sft.rows([encode(t, live.template) for t in shown])
    with progress(live.console) as bar:
        task = bar.add_task("warm-start", total=sft.steps(len(rows)), note="")
        for loss in sft.train(live.model, rows, child(live.recipe.seed, "sft")):
            bar.update(task, advance=1, note=f"loss {loss:.2f}")
    await live.engine.update_weights(live.model.state_dict(), 0)


# --- RL -------------------------------------------------------------------------------------------------------------


def update_of(recipe: Recipe) -> Update:
    """The part of a recipe that the learner carries out."""
    return Update(
        loss=recipe.loss,
        correction=recipe.correction,
        aggregate=recipe.aggregate,
        optimizer=recipe.optimizer,
        epochs=recipe.epochs,
        minibatches=recipe.minibatches,
        kl=recipe.kl,
        entropy=recipe.entropy,
        max_tokens=recipe.max_tokens,
        packing=recipe.packing,
        activation_checkpointing=recipe.activation_checkpointing,
        warmup=recipe.warmup,
        decay=(round(recipe.steps * (1 - recipe.decay)), recipe.steps if recipe.decay else 0),
    )


async def _steadily(live: Live, state: checkpoint.State | None, wandb: str, until: int, rollouts: RolloutPool | None) -> None:
    """RL to its end. A learner that dies is made again in this process, and goes on from the last checkpoint."""
    deaths: list[str] = []
    """Since the last checkpoint: why."""
    while True:
        try:
            with closing(_learner(live)) as learner:
                return await _reinforce(live, learner, state, wandb, until, rollouts, deaths)
        except LearnerFailure as error:
            path = checkpoint.latest(live.folder / "checkpoints")
            if state is None or path.name != f"step-{state.step}":
                deaths.clear()
            deaths.append(str(error))
            if len(deaths) > live.recipe.cluster.restarts:
                often = f"it died {len(deaths)} times after {path.name}, the last time: {error}"
                raise LearnerFailure(error.kind, often) from error
            _warns(live.console)(f"the learner died ({error}); it is made again")
            state = _restored(live, path)


def _learner(live: Live) -> Learner:
    """Where gradients happen: `recipe.cluster.learners` says on how many ranks, 0 is this process."""
    recipe = live.recipe
    made: dict[str, Any] = {"temperature": recipe.temperature, "critic": recipe.critic, "seed": recipe.seed}
    if live.fleet is None or not recipe.cluster.learners:
        return LocalLearner(live.model, update_of(recipe), **made)
    settings = Settings(update=update_of(recipe), threads=recipe.threads, **made)
    return RayLearner(live.model, settings, recipe.cluster, live.fleet.shares)


async def _reinforce(
    live: Live,
    learner: Learner,
    state: checkpoint.State | None,
    wandb: str,
    until: int,
    rollouts: RolloutPool | None,
    deaths: Sequence[str],
) -> None:
    """`deaths` say what learners before this one died of since the checkpoint."""
    recipe = live.recipe
    sampler = recipe.sampler.start([(c.id, c.weight, c.difficulty) for c in recipe.env])
    if state is not None:
        learner.load_state_dict(state.learner)
        await live.engine.update_weights(live.model.state_dict(), learner.version)
        sampler = state.sampler
        resuming.cut(live.folder, state)
    elif recipe.cluster.used:  # somebody may die before there is another checkpoint
        _save(live, learner, checkpoint.State(0, learner.state_dict(), sampler, _extra(live)))
    first = state.step if state else 0
    scene = Scene(engine=live.engine, template=live.template, policy=live.model)
    log = EventLog(live.folder / "events.jsonl")
    for why in deaths:
        log.lost("learner", 0, why)
    pool = Logged(rollouts or _pool(live, log), log, recipe.seed, recipe.steps, lambda: learner.version)
    admitted = [unpack_admitted(batch) for batch in state.admitted] if state else []
    steps = train(recipe, pool, learner, live.engine, sampler, first, scene, state and state.rewards, admitted)
    logbook = Logbook(live.folder, wandb=wandb, resume=state is not None, first=first)
    history: list[dict[str, float]] = read_metrics(live.folder / "metrics.jsonl")
    with ExitStack() as open_files:
        open_files.enter_context(closing(log))
        open_files.enter_context(closing(logbook))
        if live.fleet is not None:
            open_files.enter_context(live.fleet.telling(log.lost))
        trajectories = open_files.enter_context(TrajectoryWriter(live.folder / "trajectories.jsonl"))
        bar = open_files.enter_context(progress(live.console))
        task = bar.add_task("RL", total=recipe.steps, completed=first, note="")
        async with aclosing(steps):
            async for step in steps:
                live.success.append((step.index + 1, step.metrics.get("success", 0.0)))
                logbook.write(step.index, step.metrics, step.seconds)
                for alarm in alarms(history, step.metrics):
                    _warns(bar.console)(f"step {step.index + 1}: {alarm}")
                history.append(step.metrics)
                bar.update(task, advance=1, note=_note(step))
                for group in step.groups:
                    trajectories.write(group.trajectories)
                log.learned(step.index, learner.version, step.rolled, record=bool(recipe.rewards))
                await _between(live, learner, step)
                if step.index + 1 == until:
                    break
    _bring(live, learner)


def _pool(live: Live, log: EventLog) -> RolloutPool:
    recipe = live.recipe
    if live.fleet is not None:
        return live.fleet.pool(log.ended, log.retried)
    return LocalPool(
        *(live.worlds, live.agent, recipe.rollout),
        limits=limits_of(recipe),
        budget=recipe.budget,
        concurrency=_concurrency(recipe, live.engine),
        done=log.ended,
        retried=log.retried,
        watch=Watch(stall_s=recipe.stall_s, say=_warns(live.console)),
    )


def _concurrency(recipe: Recipe, engine: PolicyEngine) -> int | Tuner:
    if not recipe.schedule.tune:
        return recipe.concurrency
    return Tuner(AIMD(most=recipe.concurrency, least=min(8, recipe.concurrency)), lambda: engine.load)


async def _between(live: Live, learner: Learner, step: Step) -> None:
    """What a run does after a step: a point of the curve, a checkpoint, and at the end both for sure."""
    recipe, done = live.recipe, step.index + 1
    last = done == recipe.steps
    settings = recipe.evaluate
    if last and settings.tasks:
        await measure(live, "rl", done, settings.tasks)
    elif settings.every and settings.tasks and done % settings.every == 0:
        await measure(live, "rl", done, settings.curve_tasks, quiet=True)
    if last or done % recipe.checkpoint_every == 0:
        admitted = [pack_admitted(batch) for batch in await step.ahead.pending()]
        _save(live, learner, checkpoint.State(done, learner.state_dict(), step.sampler, _extra(live), step.rewards, admitted))


def _extra(live: Live) -> dict[str, Any]:
    """The run's own part of a checkpoint."""
    points, folder = [asdict(p) for p in live.points], live.folder
    return {"points": points, "success": live.success, "bytes": resuming.sizes(folder), "recipe": resuming.written(folder)}


def _bring(live: Live, learner: Learner) -> None:
    """The learner's weights into `live.model`, where that is not the learner's own."""
    if live.fleet is not None and live.recipe.cluster.learners:
        own = live.model.state_dict()
        for name, tensor in learner.weights().items():
            own[name].copy_(tensor)


def _save(live: Live, learner: Learner, state: checkpoint.State) -> None:
    _bring(live, learner)
    checkpoint.save(live.folder / "checkpoints", live.model, live.tokenizer, state)


def _note(step: Step) -> str:
    m = step.metrics
    return f"success {m.get('success', 0):.2f}  turns {m.get('turns', 0):.1f}  entropy {m.get('entropy', 0):.2f}"


def _page(live: Live) -> str:
    """The last groups of the run as a page; on a resumed run without a further step, those of the run before."""
    groups = list(read_groups(live.folder / "trajectories.jsonl"))[-PAGE_GROUPS:]
    shown = [t for group in groups for t in group]

    def decode(token: int) -> str:
        return cast(Any, live.tokenizer).decode([token])

    return page(shown, title=f"turnwise: {', '.join(c.id for c in live.recipe.env)}", decode=decode)
