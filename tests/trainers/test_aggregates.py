"""Aggregates: worked numbers, and the law that no partition of the rows changes a gradient."""

from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from turnwise.errors import ConfigError
from turnwise.trainers.advantages.trloo import TRLOO
from turnwise.trainers.aggregates import Constant, SequenceMean, TokenMean
from turnwise.trainers.batch import collate
from turnwise.trainers.forward import Forward
from turnwise.trainers.kl import k2
from turnwise.trainers.losses.cispo import CISPO
from turnwise.trainers.losses.gspo import GSPO
from turnwise.trainers.losses.ppo_clip import PPOClip
from turnwise.trainers.losses.reinforce import Reinforce
from turnwise.trainers.packing import micro_batches, one_row_per_turn
from turnwise.trainers.testing import make_group, make_trajectory
from turnwise.types import Group, Task

TASK = Task("a", "", "", 0)
AGGREGATES = [TokenMean(), SequenceMean(), Constant(length=8)]
LOSSES = [Reinforce(), PPOClip(), CISPO(), GSPO(clip_low=0.01, clip_high=0.02), GSPO(level="turn", clip_low=0.01, clip_high=0.02)]


@pytest.mark.parametrize(
    ("aggregate", "expected"), [(TokenMean(), 0.263888889), (Constant(length=4), 0.197916667), (SequenceMean(), 0.30625)]
)
def test_oracle(aggregate, expected):
    batch = collate([Group(TASK, tuple(make_trajectory(TASK, [0.0], tokens=n) for n in (3, 2, 4)))]).to(torch.float64)
    losses = torch.zeros(batch.tokens.shape, dtype=torch.float64)
    losses[batch.mask] = torch.tensor([-1.1, -1.2, -0.7, 1.5, 0.8, 1.5, 0.5, 0.45, 0.625], dtype=torch.float64)
    assert float((aggregate(batch) * losses).sum()) == pytest.approx(expected)


def test_shared_turns_count_once():
    stem = make_trajectory(TASK, [0.0], tokens=2).leaf
    group = Group(TASK, tuple(make_trajectory(TASK, [0.0], after=stem, tokens=1) for _ in range(2)))
    batch = collate([group])
    assert TokenMean()(batch)[0][batch.mask[0]].tolist() == pytest.approx([1 / 8, 1 / 8, 1 / 4])
    assert SequenceMean()(batch)[0][batch.mask[0]].tolist() == pytest.approx([1 / 8, 1 / 8, 1 / 4])
    assert Constant(length=4)(batch)[0][batch.mask[0]].tolist() == pytest.approx([1 / 16, 1 / 16, 1 / 8])


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_failed_and_empty_rows_are_in_no_denominator(aggregate):
    alive = (make_trajectory(TASK, [0.0]), make_trajectory(TASK, [0.0, 1.0]))
    lost = (make_trajectory(TASK, [1.0, 1.0], failure="env"), make_trajectory(TASK, [], failure="env"), make_trajectory(TASK, []))
    clean, dirty = aggregate(collate([Group(TASK, alive)])), aggregate(collate([Group(TASK, alive + lost)]))
    assert torch.equal(clean, dirty[:2]) and not dirty[2:].any()
    nothing = aggregate(collate([Group(TASK, lost)]))
    assert not nothing.any() and bool(nothing.isfinite().all())


def test_constant_needs_a_length():
    with pytest.raises(ConfigError, match=r"aggregate\.length"):
        Constant(length=0)


@pytest.fixture(scope="module")
def model():
    # GPT-2, because it stays in float64 all through: Llama-like models compute their norms in float32 whatever they are given
    config = GPT2Config(vocab_size=17, n_positions=64, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    model = GPT2LMHeadModel(config).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return model


@pytest.fixture(scope="module")
def batch(model):
    """Groups with failures, several turns and a shared one; behaviour log-probabilities near the model's own."""
    torch.set_num_threads(1)
    stem = make_trajectory(TASK, [0.25], tokens=3).leaf
    shared = tuple(make_trajectory(TASK, r, after=stem) for r in ([1.0], [0.0, 0.5]))
    first = Group(TASK, (*shared, make_trajectory(TASK, [0.0], tokens=1), make_trajectory(TASK, [1.0], failure="env")))
    batch = collate([first, make_group("b", [0.0, 0.0, 1.0], [1.0], [0.0, 0.5], tokens=3)]).to(torch.float64)
    with torch.no_grad():
        logp, _ = Forward(model)(batch.tokens, batch.mask)
    noise = torch.randn(logp.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return replace(batch, logprobs=torch.where(batch.mask, logp + 0.2 * noise, 0))


def gradient(model, batch, advantages, loss, weights, parts):
    """All gradients of the step as one vector, the rows going through the model part by part."""
    model.zero_grad(set_to_none=True)
    forward = Forward(model)
    for part in parts:
        rows = batch.rows(part).trim()
        width = rows.tokens.shape[1]
        logp, entropy = forward(rows.tokens, rows.mask)
        per_token = loss(logp, advantages[part, :width], rows) - 0.01 * entropy + 0.1 * k2(logp, rows.logprobs) * rows.mask
        (per_token * weights[part, :width]).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_no_partition_changes_the_gradient(model, batch, loss, aggregate):
    advantages = TRLOO()(batch)
    weights = aggregate(batch)
    everything = torch.arange(len(batch.tokens))
    want = gradient(model, batch, advantages, loss, weights, [everything])
    assert float(want.norm()) > 1e-3
    for parts in (everything.tensor_split(2), everything.flip(0).tensor_split(4), micro_batches(batch, 30)):
        assert torch.allclose(gradient(model, batch, advantages, loss, weights, parts), want, rtol=0, atol=1e-10)
    if loss == LOSSES[3]:
        return  # gspo by trajectory refuses split rows: tests/trainers/test_losses.py
    split, source = one_row_per_turn(batch)
    weights = aggregate(split)
    for parts in ([torch.arange(len(source))], torch.arange(len(source)).tensor_split(4), micro_batches(split, 30)):
        assert torch.allclose(gradient(model, split, advantages[source], loss, weights, parts), want, rtol=0, atol=1e-10)


def test_a_denominator_per_micro_batch_would_change_it(model, batch):
    """The bug this guards against (token mean of each part, averaged) is visible on this very batch."""
    advantages, everything = TRLOO()(batch), torch.arange(len(batch.tokens))
    want = gradient(model, batch, advantages, PPOClip(), TokenMean()(batch), [everything])
    parts = everything.tensor_split(2)
    wrong = torch.cat([TokenMean()(batch.rows(part)) for part in parts]) / 2
    assert float((gradient(model, batch, advantages, PPOClip(), wrong, parts) - want).abs().max()) > 1e-4
