"""turnwise's trainer against TRL's GRPOTrainer: same warm-started weights, same multi-turn tasks, side by side in one run.

    pip install trl==1.16.0 datasets jmespath
    TRL_EXPERIMENTAL_SILENCE=1 python benchmarks/trainer_trl.py [--steps 8] [--rows 32] [--out benchmarks/results/trl.json]

turnwise/Lookup-v0 (terse, level 2: a few look-ups, then an answer), 16 tasks x 8 episodes a step, at most 24 tokens a turn and 7
turns, temperature 1, one optimiser step on all 128 episodes, float32 on one CPU thread. The sides take turns step by step, on
the same tasks; the learning rate is next to nothing, so that both go on sampling from one and the same policy. A step is the
rollouts, the rewards, the update, and the new weights in use. The machine's speed drifts: only the ratios mean anything, and
those of CPU seconds are the steadiest where others use the machine too.

TRL plays the environment through its `environment_factory` and samples with transformers' `generate`, as it does wherever there
is no vLLM. Its defaults stand, but gradient checkpointing, which would slow it down, is off, and `--rows` (episodes of one
forward and backward pass) is as fast as any tried (8, 16, 32, 128). What differs: a reply that is neither tool call nor answer
is refused and played on by turnwise, while TRL ends the episode there. Tokens and turns are counted on both sides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
import torch
from datasets import Dataset  # pyright: ignore[reportMissingImports]
from rich.console import Console
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportMissingImports]

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds
from turnwise.envs.actions import Hermes
from turnwise.seeds import child
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.policies.pretrained import Pretrained
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recipe import EnvChoice, Evaluate, Recipe
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.run import run
from turnwise.trainers.sft import SFT
from turnwise.trainers.trainer import train

ENV, LEVEL, TURNS = "turnwise/Lookup-v0", 2, 7
TASKS, EPISODES, TURN_TOKENS, CONTEXT = 16, 8, 24, 512
RATE = 1e-9
NOVICES = SFT(
    demonstrations=3000,
    teacher="turnwise.envs.search.lookup:novice_action",
    epochs=1.0,
    batch_size=16,
    optimizer=MuonAdamW(lr=0.02, adam_lr=1e-2),
)
WORLD: dict[str, Any] = {"style": "terse", "instructions": False}

TOOL_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The scratch policy's ChatML, with structured tool calls written as the model writes them."""
CALL = {"open": "<tool_call>", "close": "</tool_call>", "repeats": True, "content": "json"}
REPLIES: dict[str, Any] = {
    "start_anchor": "<|im_start|>assistant\n",
    "defaults": {"role": "assistant"},
    "fields": {
        "tool_calls": {**CALL, "transform": {"type": "function", "function": "{content}"}},
        "content": {"close": "<|im_end|>", "content": "text"},
    },
}
"""How transformers reads the model's replies."""


@dataclass(frozen=True)
class Measured:
    """One training step of one side."""

    seconds: float
    cpu_seconds: float
    """Of this process: what others do on the machine disturbs it less."""
    tokens: int
    """Sampled, over all episodes."""
    turns: int
    success: float


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = now()
    return wall - start[0], cpu - start[1]


def recipe(steps: int) -> Recipe:
    return Recipe(
        env=(EnvChoice(id=ENV, difficulty=(LEVEL,), kwargs=WORLD),),
        policy=Scratch(context=CONTEXT),
        rollout=Independent(size=EPISODES),
        optimizer=AdamW(lr=RATE),
        evaluate=Evaluate(tasks=0),
        steps=steps,
        tasks_per_step=TASKS,
        max_new_tokens=TURN_TOKENS,
        max_tokens=1024,
        max_turns=TURNS,
    )


def problems_of(plan: Recipe, step: int) -> list[Problem]:
    """The tasks that `train` asks its sampler for at that step."""
    rng = np.random.default_rng(child(child(plan.seed, "step", step), "tasks"))
    return plan.sampler.ask(plan.sampler.start([(ENV, 1.0, (LEVEL,))]), TASKS, rng)


async def warm_start(folder: Path) -> Path:
    """Make a tiny model that has seen novices play: its episodes are real ones, of several turns. Its folder."""
    await run(replace(recipe(0), warm_start=NOVICES), folder, console=Console(quiet=True))
    return folder / "model"


def loaded(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return Pretrained(path=str(folder)).build((), 0)


# --- turnwise ---------------------------------------------------------------------------------------------------------


async def ours(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, plan: Recipe) -> AsyncGenerator[Measured]:
    """A measurement per training step, driven as `turnwise train` does."""
    engine = TorchEngine(model, max_batch=plan.concurrency)
    agent = ModelAgent(engine, ChatTemplate(cast(Any, tokenizer)), Sampling(max_tokens=TURN_TOKENS, temperature=1.0))
    pool = LocalPool(Worlds(per_env={ENV: WORLD}), agent, plan.rollout, limits=Limits(max_turns=TURNS))
    learner = LocalLearner(model, Update(optimizer=plan.optimizer, max_tokens=plan.max_tokens))
    start = now()
    async for step in train(plan, pool, learner, engine, plan.sampler.start([(ENV, 1.0, (LEVEL,))])):
        seconds = since(start)
        played = [t for group in step.groups for t in group.trajectories]
        assert len(played) == TASKS * EPISODES and not any(t.failed for t in played)
        sampled = [len(turn.action_ids) for t in played for turn in t.turns]
        yield Measured(*seconds, sum(sampled), len(sampled), statistics.mean(t.outcome for t in played))
        start = now()


# --- TRL --------------------------------------------------------------------------------------------------------------


class LookupWorld:
    """The same environment as TRL wants it: public methods are the tools."""

    def __init__(self) -> None:
        self._env = gymnasium.make(ENV, disable_env_checker=True, **WORLD)

    def reset(self, seed: int, **_: Any) -> str:
        """The question, which TRL appends to the prompt of the data set."""
        return str(self._env.reset(seed=seed, options={"split": "train", "difficulty": LEVEL})[0])

    def lookup(self, name: str, fact: str = "") -> str:
        """
        Look something up.

        Args:
            name: Its exact name.
            fact: The fact that is asked for.
        """
        return str(self._env.step(Hermes().call("lookup", {"name": name, "fact": fact}))[0])

    def _answer(self, reply: str) -> float:
        return float(self._env.step(reply)[1])


class Alternate(TrainerCallback):
    """Clocks TRL's steps, and plays one of ours after each."""

    def __init__(self, turn_of_ours: Callable[[], Measured]) -> None:
        self.theirs: list[Measured] = []
        self.ours: list[Measured] = []
        self._turn_of_ours, self._start = turn_of_ours, now()
        self._turns, self._success = 0, 0.0

    def solved(self, completions: list[Any], environments: list[Any], **_: Any) -> list[float]:
        """TRL's reward function: the last reply, if it is no tool call, is the answer."""
        replies = [[m for m in messages if m["role"] == "assistant"] for messages in completions]
        lasts = [messages[-1] for messages in completions]
        answers = ["" if m["role"] == "tool" or m.get("tool_calls") else str(m.get("content") or "") for m in lasts]
        rewards = [e._answer(a) if a else 0.0 for e, a in zip(environments, answers, strict=True)]
        self._turns, self._success = sum(map(len, replies)), statistics.mean(rewards)
        return rewards

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._start = now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.theirs.append(Measured(*since(self._start), 0, self._turns, self._success))
        self.ours.append(self._turn_of_ours())
        print(f"step {len(self.ours)}: turnwise {self.ours[-1].seconds:.2f} s, TRL {self.theirs[-1].seconds:.2f} s", flush=True)
        self._start = now()

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "completions/mean_length" in logs:  # TRL counts sampled tokens only
            tokens = round(logs["completions/mean_length"] * TASKS * EPISODES)
            self.theirs[-1] = replace(self.theirs[-1], tokens=tokens)


def play_trl(model: PreTrainedModel, tokenizer: Any, plan: Recipe, alternate: Alternate, rows: int, scratch: str) -> None:
    tokenizer.chat_template, tokenizer.response_template = TOOL_TEMPLATE, REPLIES
    blank = [{"role": "user", "content": ""}]
    tasks = [{"prompt": blank, "seed": p.seed} for step in range(plan.steps) for p in problems_of(plan, step)]
    config = GRPOConfig(
        output_dir=scratch,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=TASKS * EPISODES // rows,
        num_generations=EPISODES,
        max_steps=plan.steps,
        max_completion_length=CONTEXT - 40,
        generation_kwargs={"max_new_tokens": TURN_TOKENS},
        max_tool_calling_iterations=TURNS - 1,
        temperature=1.0,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        shuffle_dataset=False,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=alternate.solved,
        args=config,
        train_dataset=Dataset.from_list(tasks),
        processing_class=tokenizer,
        environment_factory=LookupWorld,
        callbacks=[alternate],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


# --- the comparison ---------------------------------------------------------------------------------------------------


def side(steps: Sequence[Measured]) -> dict[str, Any]:
    """Medians of the times, means of the counts, and every step."""
    medians = {name: statistics.median(getattr(s, name) for s in steps) for name in ("seconds", "cpu_seconds")}
    rate = statistics.median(s.tokens / s.seconds for s in steps)
    means = {name: statistics.mean(getattr(s, name) for s in steps) for name in ("tokens", "turns", "success")}
    return {**medians, "tokens_per_s": rate, **means, "steps": [asdict(s) for s in steps]}


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=8, help="measured steps, after one to warm up")
    parser.add_argument("--rows", type=int, default=32, help="TRL: episodes of one forward pass of the update")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    plan = recipe(args.steps + 1)
    with asyncio.Runner() as runner, tempfile.TemporaryDirectory() as scratch:
        base = runner.run(warm_start(Path(scratch)))
        steps = ours(*loaded(base), plan)
        alternate = Alternate(lambda: runner.run(cast(Any, anext(steps))))
        play_trl(*loaded(base), plan, alternate, args.rows, scratch)
        runner.run(cast(Any, steps.aclose()))
    mine, theirs = alternate.ours[1:], alternate.theirs[1:]
    ratios = {
        "seconds": spread([t.seconds / m.seconds for m, t in zip(mine, theirs, strict=True)]),
        "cpu_seconds": spread([t.cpu_seconds / m.cpu_seconds for m, t in zip(mine, theirs, strict=True)]),
        "tokens_per_s": spread([m.tokens / m.seconds / (t.tokens / t.seconds) for m, t in zip(mine, theirs, strict=True)]),
    }
    result = {"turnwise": side(mine), "trl": side(theirs), "ratio": ratios}
    for name in ("turnwise", "trl"):
        numbers = ", ".join(f"{key} {value:.2f}" for key, value in result[name].items() if key != "steps")
        print(f"{name:9} {numbers}")
    for name, ratio in ratios.items():
        print(f"ratio of {name}: {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
    if args.out:
        versions = {name: version(name) for name in ("torch", "transformers", "trl")}
        machine = {"cpu": platform.machine(), "threads": 1, **versions}
        args.out.write_text(json.dumps({"machine": machine, "trl_rows": args.rows, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
