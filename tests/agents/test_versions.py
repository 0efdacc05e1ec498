"""Weights change while replies are sampled: every token knows its own, from the engine to the file and back."""

import asyncio
from pathlib import Path
from typing import Any

import torch

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Completion, Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.failures import failure_of
from turnwise.agents.store import read_trajectories, write_trajectories
from turnwise.agents.worlds import Worlds
from turnwise.errors import EngineFailure, EnvFailure, InfraError, SandboxFailure
from turnwise.trainers.policies.scratch import Scratch
from turnwise.types import Failure, Family, Stop, Task, Trajectory

SMALL = Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=256)


def other_weights(model: Any) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: w + 0.3 * torch.randn(w.shape, generator=generator) for name, w in model.state_dict().items()}


async def ticks(engine: TorchEngine, count: int) -> None:
    """Let that many forwards happen."""
    target = engine.stats.forwards + count
    while engine.stats.forwards < target:
        await asyncio.sleep(0)


def test_a_reply_that_weights_overtook_says_which_token_is_of_which():
    model, _ = SMALL.build([], 0)
    engine = TorchEngine(model)
    sampling = Sampling(max_tokens=12, seed=5)

    async def go() -> tuple[Completion, Completion]:
        running = asyncio.create_task(engine.generate([1, 2, 3], sampling))
        await ticks(engine, 4)
        await engine.update_weights(other_weights(model), 1)
        await ticks(engine, 3)
        await engine.update_weights(other_weights(model), 2)
        return await running, await engine.generate([1, 2, 3], sampling)

    mixed, fresh = asyncio.run(go())
    assert mixed.versions == (0,) * 4 + (1,) * 3 + (2,) * 5 and mixed.version == 0
    assert fresh.versions == () and fresh.version == 2
    plain = asyncio.run(TorchEngine(SMALL.build([], 0)[0]).generate([1, 2, 3], sampling))
    assert plain.ids[:4] == mixed.ids[:4] and plain.logprobs[:4] == mixed.logprobs[:4], "nothing sampled before is lost"
    assert plain.logprobs[4:] != mixed.logprobs[4:], "the rest is of the new weights"


def test_mixed_versions_reach_the_turn_and_survive_the_file(tmp_path: Path):
    model, tokenizer = SMALL.build(["what is the owner of the boat"], 0)
    engine = TorchEngine(model)
    agent = ModelAgent(engine, ChatTemplate(tokenizer), Sampling(max_tokens=8))  # type: ignore[arg-type]
    problem = Problem("turnwise/Lookup-v0", 3, {"split": "train"})

    async def go() -> Trajectory:
        worlds = Worlds({"style": "terse", "instructions": False})
        playing = asyncio.create_task(worlds.play(agent, problem, seed=0, limits=Limits(max_turns=2)))
        await ticks(engine, 3)
        await engine.update_weights(other_weights(model), 1)
        try:
            return await playing
        finally:
            await worlds.close()

    trajectory = asyncio.run(go())
    first, second = trajectory.turns
    assert first.versions and set(first.versions) == {0, 1} and len(first.versions) == len(first.action_ids)
    assert second.version == 1 and second.versions == ()
    write_trajectories(tmp_path / "t.jsonl", [[trajectory]])
    (back,) = read_trajectories(tmp_path / "t.jsonl")
    assert [t.versions for t in back.turns] == [first.versions, ()]


def test_failures_belong_to_families_and_survive_the_file(tmp_path: Path):
    raised = {
        Family.PROVIDER: EngineFailure("provider", "gone"),
        Family.SANDBOX: SandboxFailure("docker", "gone"),
        Family.ENVIRONMENT: EnvFailure("chaos", "gone"),
        Family.TIMEOUT: TimeoutError("late"),
        Family.TASK: KeyError("theirs"),
    }
    assert {family: failure_of(error).family for family, error in raised.items()} == {f: f for f in Family}
    assert failure_of(InfraError("stalled", "")).family is Family.ENVIRONMENT
    failures = [failure_of(error) for error in raised.values()]
    task = Task("a", "", "", 0)
    write_trajectories(tmp_path / "t.jsonl", [[Trajectory(task, "x", 0, None, Stop.FAILED, f) for f in failures]])
    assert [t.failure for t in read_trajectories(tmp_path / "t.jsonl")] == failures
    old = (tmp_path / "t.jsonl").read_text().replace(',"family":"provider"', "")
    (tmp_path / "old.jsonl").write_text(old)
    assert read_trajectories(tmp_path / "old.jsonl")[0].failure == Failure("provider", "gone", Family.ENVIRONMENT)
