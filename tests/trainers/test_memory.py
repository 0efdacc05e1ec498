"""The plan printed before a run: its bytes are those that the trainer and the engine then have."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from rich.console import Console
from transformers import PreTrainedModel

from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.errors import ConfigError
from turnwise.trainers import memory
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.allocations import Allocations
from turnwise.trainers.batch import collate
from turnwise.trainers.explain import explain
from turnwise.trainers.learner import LocalLearner
from turnwise.trainers.lora import with_adapters
from turnwise.trainers.memory import Part, Plan, memory_plan
from turnwise.trainers.recipe import Recipe, loads
from turnwise.trainers.run import update_of
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Group, Task, Trajectory, Turn

POLICY = """
env = "turnwise/Lookup-v0"
tasks_per_step = 1
max_tokens = 512
concurrency = 4
[policy]
name = "scratch"
hidden = 64
layers = 3
heads = 4
mlp = 160
vocabulary = 700
context = 512
[optimizer]
name = "adamw"
"""
WAYS = {
    "plain": [],
    "checkpointed": ["activation_checkpointing=true"],
    "bfloat16": ["policy.dtype=bfloat16"],
    "KL": ["kl=0.1"],
    "entropy": ["entropy=0.01"],
    "LoRA": ["lora.rank=4"],
    "muon": ["optimizer.name=muon"],
}


def planned(recipe: Recipe) -> Plan:
    plan = memory_plan(recipe)
    assert plan is not None
    return plan


def sizes(recipe: Recipe) -> dict[str, int]:
    return {part.name: part.size for part in planned(recipe).parts}


def model_of(recipe: Recipe) -> PreTrainedModel:
    """A real model of the recipe's shapes, with any weights."""
    torch.manual_seed(0)
    skeleton: Any = cast(Any, recipe.policy).skeleton()
    model = type(skeleton)(skeleton.config).to(skeleton.dtype)
    return with_adapters(model, recipe.lora, 0) if recipe.lora is not None else model


def conversations(count: int, tokens: int) -> list[Group]:
    """One group; everything after the first token is sampled."""
    task = Task("t", "", "", 0)
    made: list[Trajectory] = []
    for i in range(count):
        base = make_trajectory(task, [float(i % 2)], tokens=[tokens - 1])
        ids = tuple(int(x) for x in torch.randint(1, 600, (tokens - 1,), generator=torch.Generator().manual_seed(i)))
        turn = replace(
            cast(Turn, base.leaf), context_ids=(1,), action_ids=ids, logprobs=(-6.0,) * len(ids), entropies=(6.0,) * len(ids)
        )
        made.append(replace(base, leaf=turn))
    return [Group(task, tuple(made))]


def peak(recipe: Recipe, count: int, tokens: int) -> int:
    """Most bytes alive over two updates, beyond the model's own weights."""
    torch.set_num_threads(1)
    model = model_of(recipe)
    batch = collate(conversations(count, tokens))
    with Allocations() as counted:
        learner = LocalLearner(model, update_of(recipe))
        for _ in range(2):
            learner.update(batch, GRPO()(batch))
    return counted.peak


@pytest.mark.parametrize("way", WAYS)
def test_a_step_takes_what_was_planned_and_conversations_four_times_as_long_take_as_much(way: str):
    recipe = loads(POLICY, WAYS[way])
    plan = sizes(recipe)
    names = ("gradients", "optimiser", "reference", "activations", "logits", "optimiser's step")
    want = sum(plan.get(name, 0) for name in names)
    short, long = peak(recipe, 8, 128), peak(recipe, 2, 512)
    tensors = 8 * 128 * 150  # of the batch itself
    assert 0.8 * want < short - tensors < 1.2 * want
    assert abs(long - short) < 0.05 * short


def test_checkpointing_and_adapters_save_what_the_plan_says():
    plain = sizes(loads(POLICY))
    assert sizes(loads(POLICY, WAYS["checkpointed"]))["activations"] < plain["activations"] / 2
    lora = sizes(loads(POLICY, WAYS["LoRA"]))
    assert lora["gradients"] < plain["gradients"] / 3 and lora["weights"] > plain["weights"]
    half = sizes(loads(POLICY, WAYS["bfloat16"]))
    assert 2 * half["weights"] == plain["weights"]
    # 2 bytes of gradient and 4 of its sum, against 4; masters and two moments, against the moments
    assert 2 * half["gradients"] == 3 * plain["gradients"]
    assert half["optimiser"] == pytest.approx(1.5 * plain["optimiser"], rel=0.01)


def test_a_conversation_longer_than_max_tokens_goes_whole_and_the_plan_knows():
    plan = planned(loads(POLICY, ["max_tokens=64"]))
    (part,) = [p for p in plan.parts if p.name == "activations"]
    assert part.size == sizes(loads(POLICY))["activations"] and "a conversation goes whole" in part.note


@pytest.mark.parametrize("settings", [[], ["engine.cache_tokens=1024"]])
def test_the_engines_cache_is_as_large_as_planned(settings: list[str]):
    recipe = loads(POLICY, settings)
    plan = sizes(recipe)
    cache_tokens = cast(Any, recipe.engine).cache_tokens
    engine = TorchEngine(model_of(recipe), max_batch=4, cache_tokens=cache_tokens, kept_tokens=cache_tokens or None)

    async def main() -> None:
        asked = [engine.generate([1 + i] * 508, Sampling(max_tokens=4, seed=i), f"{i}") for i in range(4)]
        await asyncio.gather(*asked)

    asyncio.run(main())
    batch = engine._batch  # pyright: ignore[reportPrivateUsage]
    stored = [t for pair in batch.cache._stores for t in pair]  # pyright: ignore[reportPrivateUsage]
    assert sum(t.numel() * t.element_size() for t in stored) == plan["engine's cache"]
    assert 0 < batch.sessions.tokens * batch.cache.token_bytes <= plan["between turns"]


def test_several_learners_share_what_they_train():
    one, two = sizes(loads(POLICY)), sizes(loads(POLICY, ["cluster.learners=2"]))
    assert all(2 * two[name] == one[name] for name in ("weights", "gradients", "optimiser"))
    assert two["activations"] == one["activations"]


def test_rollouts_ahead_need_a_second_copy_of_the_weights():
    recipe = loads(POLICY, ["schedule=asynchronous"])
    assert sizes(recipe)["engine's weights"] == sizes(recipe)["weights"]


def test_a_plan_is_printed_with_what_is_free():
    text = str(planned(loads(POLICY)))
    assert text.startswith("memory on cpu, at most") and "in all" in text
    assert memory.free_bytes("cpu") > 0 and "that are free" in text


def test_what_does_not_fit_is_said_with_a_mend():
    parts = (Part("weights", 10**9), Part("activations", 9 * 10**9, "", "activation_checkpointing = true"), Part("x", 10**10))
    assert Plan(parts, "cpu", 30 * 10**9).warning == "" and Plan(parts, "cpu", 0).warning == ""
    tight = Plan(parts, "cuda", 15 * 10**9)
    tight.check()
    assert tight.warning == (
        "memory: the plan needs up to 20.00 GB, but 15.00 GB are free on cuda. "
        "activations (9.00 GB): activation_checkpointing = true."
    )
    with pytest.raises(ConfigError, match=r"policy: weights take 1.00 GB, but 500.0 MB are free on cuda; train adapters"):
        Plan(parts, "cuda", 500_000_000).check()


def test_a_policy_on_disk_is_planned_without_its_weights(tmp_path: Path):
    recipe = loads(POLICY)
    model_of(recipe).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert sizes(loads(POLICY, [f"policy={{name='pretrained', path='{tmp_path}'}}"]))["weights"] == sizes(recipe)["weights"]
    with pytest.raises(ConfigError, match=r"policy.path: no model can be loaded"):
        memory_plan(loads(POLICY, [f"policy={{name='pretrained', path='{tmp_path / 'nothing'}'}}"]))


def test_a_policy_that_does_not_say_what_it_looks_like_has_no_plan():
    class Own:
        pass

    recipe = replace(loads(POLICY), policy=cast(Any, Own()))
    assert memory_plan(recipe) is None and "Own has no method `skeleton`" in memory.described(recipe)


def test_explaining_a_recipe_ends_with_the_plan_even_where_there_is_none():
    assert "memory on cpu, at most\n  weights" in explain(loads(POLICY))
    absent = loads(POLICY, ["policy={name='pretrained', path='/nowhere/at/all'}"])
    assert "memory: unknown. policy.path: no model can be loaded" in explain(absent)


def free_of(size: int) -> Callable[[str], int]:
    return lambda device: size


def test_a_run_prints_its_plan_and_does_not_begin_what_cannot_fit(monkeypatch: pytest.MonkeyPatch):
    out = StringIO()
    console = Console(file=out, width=200)
    memory.announce(loads(POLICY), console)
    assert "in all" in out.getvalue() and "memory: the plan" not in out.getvalue()
    monkeypatch.setattr(memory, "free_bytes", free_of(5_000_000))
    memory.announce(loads(POLICY), console)
    assert "memory: the plan needs up to" in out.getvalue()
    monkeypatch.setattr(memory, "free_bytes", free_of(1000))
    with pytest.raises(ConfigError, match="train adapters"):
        memory.announce(loads(POLICY), console)
