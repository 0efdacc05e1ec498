"""The ids and log-probabilities that were sampled are the ones that are trained, end to end and over several turns."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds, play_all
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.forward import Forward
from turnwise.trainers.monitor import ratio_metrics
from turnwise.trainers.packing import micro_batches, one_row_per_turn
from turnwise.trainers.policies.scratch import Scratch
from turnwise.types import Group, Stop, Trajectory

ENVS = ["turnwise/Lookup-v0", "turnwise/Arithmetic-v0", "turnwise/Sokoban-v0"]
CORPUS = [
    "where does the person live? who works with them? use the tool",
    "compute 12 + 30 * (4 - 2)",
    "## .@$# #. up down left",
] * 3


def build(vocabulary: int = 400) -> tuple[Any, ChatTemplate]:
    """A model whose attention matters (large weights), and its template."""
    sizes = Scratch(hidden=32, layers=2, heads=4, mlp=48, vocabulary=vocabulary, context=4096)
    model, tokenizer = sizes.build(CORPUS, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.25, generator=generator)
        template = ChatTemplate(tokenizer)  # type: ignore[arg-type]
        model.get_input_embeddings().weight[template.stop_ids[0]] *= 5.0  # some replies are to end by themselves
    return model.eval(), template


MODEL, TEMPLATE = build()


def rollouts(
    temperature: float = 1.0, *, envs: Sequence[str] = ENVS, each: int = 4, max_batch: int = 5, max_context: int = 0
) -> list[Trajectory]:
    """Episodes of at least three turns, all at once, of mixed lengths: some replies end by themselves, some are cut off."""
    sampling = Sampling(max_tokens=24, temperature=temperature)
    agent = ModelAgent(TorchEngine(MODEL, max_batch=max_batch), TEMPLATE, sampling, max_context)
    starts = [(Problem(env, i, {"split": "train"}), 100 * i) for env in envs for i in range(each)]
    return asyncio.run(play_all(Worlds(), agent, starts, limits=Limits(max_turns=4)))


def batched(trajectories: Sequence[Trajectory], pad_id: int = 0) -> Batch:
    return collate([Group(t.task, (t,)) for t in trajectories], pad_id)


@torch.no_grad()
def gap(batch: Batch, mask: torch.Tensor, temperature: float = 1.0) -> float:
    logp, _ = Forward(MODEL, temperature)(batch.tokens, mask, entropy=False)
    return float((logp - batch.logprobs)[mask].abs().max())


@pytest.fixture(scope="module")
def played() -> list[Trajectory]:
    return rollouts()


def test_the_rollouts_are_what_they_are_meant_to_be(played: list[Trajectory]):
    turns = [turn for t in played for turn in t.turns]
    assert sum(len(t.turns) >= 3 for t in played) >= 10 and not any(t.failed for t in played)
    assert {turn.stop_reason for turn in turns} == {"stop", "length"}
    assert len({len(turn.action_ids) for turn in turns}) > 3 and len({len(t.ids) for t in played}) > 6


@pytest.mark.parametrize("temperature", [1.0, 0.7, 1.5])
def test_the_trainer_recomputes_what_the_engine_said(temperature: float, played: list[Trajectory]):
    trajectories = played if temperature == 1.0 else rollouts(temperature, each=2)
    batch = batched(trajectories)
    assert gap(batch, batch.mask, temperature) < 1e-4
    with torch.no_grad():
        logp, entropy = Forward(MODEL, temperature)(batch.tokens, batch.mask)
    assert float((entropy - batch.entropies)[batch.mask].abs().max()) < 1e-4
    metrics = ratio_metrics(logp, batch)
    assert metrics["kl_engine"] < 1e-8 and metrics["ess"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_mask_that_is_off_by_one_shows(shift: int, played: list[Trajectory]):
    batch = batched(played)
    turn = torch.full_like(batch.turn, -1)
    source, target = (slice(1, None), slice(None, -1)) if shift < 0 else (slice(None, -1), slice(1, None))
    turn[:, target] = batch.turn[:, source]
    logprobs = torch.zeros_like(batch.logprobs)
    logprobs[:, target] = batch.logprobs[:, source]
    moved = replace(batch, turn=turn, logprobs=logprobs)
    assert gap(moved, moved.mask) > 1.0


def test_the_wrong_temperature_shows(played: list[Trajectory]):
    batch = batched(played)
    assert gap(batch, batch.mask, 0.7) > 0.1


def test_the_mask_covers_what_was_sampled_and_nothing_else(played: list[Trajectory]):
    batch = batched(played)
    for row, trajectory in enumerate(played):
        own = batch.tokens[row][batch.mask[row]].tolist()
        assert own == [i for turn in trajectory.turns for i in turn.action_ids]
        assert int(batch.mask[row].sum()) == sum(len(turn.logprobs) for turn in trajectory.turns)
        assert batch.logprobs[row][batch.mask[row]].tolist() == pytest.approx([x for t in trajectory.turns for x in t.logprobs])
        for k, turn in enumerate(trajectory.turns):
            assert batch.tokens[row][batch.turn[row] == k].tolist() == list(turn.action_ids), "turn by turn, none is cut to a cap"


def test_text_would_not_have_survived(played: list[Trajectory]):
    tokenizer: Any = TEMPLATE.tokenizer
    turns = [turn for t in played for turn in t.turns]
    stop = set(TEMPLATE.stop_ids)
    bodies = [turn.action_ids[:-1] if turn.action_ids[-1] in stop else turn.action_ids for turn in turns]
    encoded = [tuple(tokenizer.encode(turn.action, add_special_tokens=False)) for turn in turns]
    assert sum(a != b for a, b in zip(bodies, encoded, strict=True)) > len(turns) // 3


def test_rows_and_micro_batches_recompute_the_same(played: list[Trajectory]):
    """However the batch is cut, each token keeps its log-probability."""
    batch = batched(played)
    for part in micro_batches(batch, 400):
        short = batch.rows(part).trim()
        assert gap(short, short.mask) < 1e-4
    split, _ = one_row_per_turn(batch)
    assert int(split.mask.sum()) == int(batch.mask.sum())
    assert gap(split, split.mask) < 1e-4


def test_padding_with_the_stop_token_changes_nothing(played: list[Trajectory]):
    """pad == eos, with eos inside the rows: what is padding follows from lengths, never from ids."""
    stop = TEMPLATE.stop_ids[0]
    batch, other = batched(played), batched(played, pad_id=stop)
    assert torch.equal(batch.mask, other.mask) and torch.equal(batch.lengths, other.lengths)
    assert bool((other.tokens[other.mask] == stop).any())
    assert gap(other, other.mask) < 1e-4


BUDGET = 480  # the first observation of Lookup has about 370 tokens with this tokenizer, each turn about 80 more


def test_a_conversation_cut_by_its_budget_is_true_as_well():
    trajectories = rollouts(envs=ENVS[:1], each=4, max_context=BUDGET)
    assert Stop.TOKENS in {t.stop for t in trajectories}
    assert all(len(t.ids) <= BUDGET for t in trajectories)
    batch = batched(trajectories)
    assert gap(batch, batch.mask) < 1e-4


def test_concurrency_changes_no_id(played: list[Trajectory]):
    alone = rollouts(max_batch=1)
    assert [t.ids for t in alone] == [t.ids for t in played]


def test_weights_that_changed_show_until_the_engine_has_them():
    model, template = build()
    engine = TorchEngine(model)
    agent = ModelAgent(engine, template, Sampling(max_tokens=8))
    twin = {name: tensor + 0.05 for name, tensor in model.state_dict().items()}

    async def story() -> list[Trajectory]:
        played: list[Trajectory] = []
        for version in (0, 7):
            if version:
                await engine.update_weights(twin, version)
            starts = [(Problem(ENVS[0], 3, {"split": "train"}), 0)]
            played += await play_all(Worlds(), agent, starts, limits=Limits(max_turns=3))
        return played

    before, after = asyncio.run(story())
    assert {t.version for t in before.turns} == {0} and {t.version for t in after.turns} == {7}
    gaps: list[float] = []
    for trajectory in (before, after):
        batch = batched([trajectory])
        with torch.no_grad():
            logp, _ = Forward(model)(batch.tokens, batch.mask, entropy=False)
        gaps.append(float((logp - batch.logprobs)[batch.mask].abs().max()))
    assert gaps[1] < 1e-4 < gaps[0]
