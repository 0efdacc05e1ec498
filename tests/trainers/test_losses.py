"""Losses: worked numbers (values and gradients), the rules of the protocol, and what a loss must refuse."""

from dataclasses import dataclass, replace

import pytest
import torch

from turnwise.errors import ShapeError
from turnwise.registry import names, resolve
from turnwise.trainers.batch import collate
from turnwise.trainers.kl import entropy, k2, k3
from turnwise.trainers.losses.cispo import CISPO
from turnwise.trainers.losses.clip_balanced import ClipBalanced
from turnwise.trainers.losses.gspo import GSPO
from turnwise.trainers.losses.ppo_clip import PPOClip
from turnwise.trainers.losses.reinforce import Reinforce
from turnwise.trainers.packing import one_row_per_turn
from turnwise.trainers.testing import check_loss, make_trajectory
from turnwise.types import Group, Task

ALL = [resolve("turnwise.trainers.losses", name) for name in names("turnwise.trainers.losses")]
RATIOS = [[1.1, 1.5, 0.7], [1.5, 0.5], [4.0, 1.0, 0.9, 1.25]]
ADVANTAGES = [1.0, -1.0, -0.5]


def toy(*turns):
    """Three trajectories of 3, 2 and 4 sampled tokens with behaviour log-probability -1; `turns` cuts them into turns."""
    task = Task("a", "", "", 0)
    turns = turns or ([3], [2], [4])
    return collate([Group(task, tuple(make_trajectory(task, [0.0] * len(t), tokens=t) for t in turns))]).to(torch.float64)


def on_tokens(batch, rows):
    """A list of numbers per row, put where the row has sampled tokens; 0 elsewhere."""
    out = torch.zeros(batch.tokens.shape, dtype=torch.float64)
    for row, numbers in enumerate(rows):
        out[row][batch.mask[row]] = torch.tensor(numbers, dtype=torch.float64)
    return out


def evaluate(loss, batch, ratios=RATIOS, advantages=ADVANTAGES):
    """Per-token losses and their gradients in the log-probabilities, sampled tokens only."""
    logprobs = torch.where(batch.mask, on_tokens(batch, ratios).log() - 1, 0).requires_grad_()
    spread = torch.tensor(advantages, dtype=torch.float64)[:, None] * batch.mask
    values = loss(logprobs, spread, batch)
    (gradient,) = torch.autograd.grad(values.sum(), logprobs)
    return [[x[row][batch.mask[row]].tolist() for row in range(len(x))] for x in (values.detach(), gradient)]


def assert_rows(got, want):
    for row, expected in zip(got, want, strict=True):
        assert row == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("cls", ALL)
def test_protocol(cls):
    check_loss(cls())


def test_protocol_gspo_turn():
    check_loss(GSPO(level="turn"))


def test_reinforce():
    values, gradients = evaluate(Reinforce(), toy())
    assert_rows(gradients, [[-1] * 3, [1] * 2, [0.5] * 4])
    assert values[0][0] == pytest.approx(0.90468982)


@pytest.mark.parametrize(("high", "clipped"), [(0.2, -1.2), (0.28, -1.28)])
def test_ppo_clip_oracle(high, clipped):
    values, gradients = evaluate(PPOClip(clip_low=0.2, clip_high=high, dual_clip=3.0), toy())
    assert_rows(values, [[-1.1, clipped, -0.7], [1.5, 0.8], [1.5, 0.5, 0.45, 0.625]])
    assert_rows(gradients, [[-1.1, 0, -0.7], [1.5, 0], [0, 0.5, 0.45, 0.625]])


def test_ppo_clip_defaults_are_dapos_range_and_dual_clip_can_be_off():
    assert evaluate(PPOClip(), toy()) == evaluate(PPOClip(clip_low=0.2, clip_high=0.28, dual_clip=3.0), toy())
    values, gradients = evaluate(PPOClip(dual_clip=float("inf")), toy())
    assert values[2][0] == pytest.approx(2.0) and gradients[2][0] == pytest.approx(2.0)
    far = evaluate(PPOClip(dual_clip=3.0), toy([1]), [[5.0]], [-1.0])
    assert far == [[[3.0]], [[0.0]]]


def test_cispo_oracle():
    values, gradients = evaluate(CISPO(clip_low=1.0, clip_high=0.28), toy())
    assert_rows(gradients, [[-1.1, -1.28, -0.7], [1.28, 0.5], [0.64, 0.5, 0.45, 0.625]])
    assert_rows(values[:2], [[0.995158802, 0.761004662, 0.949672461], [-0.761004662, -0.84657359]])
    _, both = evaluate(CISPO(clip_low=0.2, clip_high=0.2), toy())
    assert_rows(both, [[-1.1, -1.2, -0.8], [1.2, 0.8], [0.6, 0.5, 0.45, 0.6]])


def test_clip_balanced_oracle():
    """Factors of A * grad log p as published for (ratio, sign of A): 1.28, 0, 1.1, 1.5; the value is PPO's without dual clip."""
    for ratio, advantage, factor in ((1.5, 1.0, 1.28), (0.5, -1.0, 0.0), (1.1, 1.0, 1.1), (1.5, -1.0, 1.5)):
        values, gradients = evaluate(ClipBalanced(), toy([1]), [[ratio]], [advantage])
        assert gradients[0][0] == pytest.approx(-advantage * factor)
        assert values == evaluate(PPOClip(dual_clip=float("inf")), toy([1]), [[ratio]], [advantage])[0]


def test_gspo_oracle():
    values, gradients = evaluate(GSPO(clip_low=0.2, clip_high=0.28), toy())
    assert_rows(values, [[-1.049205749] * 3, [0.866025404] * 2, [0.728237658] * 4])
    assert_rows(gradients, [[-1.049205749] * 3, [0.866025404] * 2, [0.728237658] * 4])


def test_gspo_takes_the_mean_not_the_sum_and_clips_the_whole_sequence():
    values, gradients = evaluate(GSPO(), toy([4]), [[1.01] * 4], [1.0])
    assert values[0] == pytest.approx([-1.0004] * 4) and gradients[0] == [0.0] * 4
    values, gradients = evaluate(GSPO(clip_low=0.2, clip_high=0.28), toy([4]), [[1.0, 1.2, 1.0, 1.2]], [1.0])
    assert values[0] == pytest.approx([-(1.44**0.25)] * 4), "1.44 is beyond the range, its fourth root is not"
    assert gradients[0] == pytest.approx([-(1.44**0.25)] * 4)


def test_gspo_by_turn_has_a_ratio_for_each_turn():
    loss = GSPO(level="turn", clip_low=0.2, clip_high=0.28)
    values, gradients = evaluate(loss, toy([2, 2]), [[1.1, 1.1, 2.0, 2.0]], [1.0])
    assert values[0] == pytest.approx([-1.1, -1.1, -1.28, -1.28])
    assert gradients[0] == pytest.approx([-1.1, -1.1, 0, 0])


def test_gspo_refuses_parts_of_a_trajectory_unless_by_turn():
    batch = toy([1, 2], [2], [4])
    split, source = one_row_per_turn(batch)
    logprobs, advantages = batch.logprobs + 0.1 * batch.mask, torch.ones_like(batch.logprobs)
    with pytest.raises(ShapeError, match="gspo with level = 'trajectory': expected one row per trajectory"):
        GSPO()(logprobs[source], advantages[source], split)
    whole = GSPO(level="turn")(logprobs, advantages, batch)
    parts = GSPO(level="turn")(logprobs[source], advantages[source], split)
    assert torch.allclose(torch.zeros_like(whole).index_add_(0, source, parts), whole)


@pytest.mark.parametrize("loss", [PPOClip(), CISPO(), ClipBalanced(), GSPO(), GSPO(level="turn")])
@pytest.mark.parametrize("log_ratio", [-500.0, 500.0])
def test_no_ratio_is_too_large(loss, log_ratio):
    batch = toy()
    logprobs = torch.where(batch.mask, batch.logprobs + log_ratio, 0).requires_grad_()
    for sign in (-1.0, 1.0):
        values = loss(logprobs, sign * batch.mask.double(), batch)
        (gradient,) = torch.autograd.grad(values.sum(), logprobs)
        assert bool(values.isfinite().all() and gradient.isfinite().all())


@pytest.mark.parametrize("cls", ALL)
def test_shapes_are_checked_first(cls):
    batch = toy()
    with pytest.raises(ShapeError, match=r"expected advantages as \[B, T\] = \(3, 7\), got \(3,\)"):
        cls()(batch.logprobs, torch.ones(3), batch)


def test_failed_rows_and_garbage_outside_the_mask_do_not_matter():
    batch = toy()
    broken = replace(batch, failed=torch.tensor([False, True, False]))
    for cls in ALL:
        logprobs = torch.where(batch.mask, batch.logprobs + 0.1, 7.0)
        values = cls()(logprobs, torch.ones_like(logprobs), broken)
        assert not values[1].any()
        assert not values[~batch.mask].any()


@dataclass(frozen=True)
class Specimen:
    """A loss with one fault."""

    fault: str

    def __call__(self, logprobs, advantages, batch):
        good = PPOClip()(logprobs, advantages, batch)
        match self.fault:
            case "sums":
                return good.sum(1)
            case "dtype":
                return good.float()
            case "mask":
                return good + (batch.turn < 0)
            case "other rows":
                return good / batch.mask.sum()
            case _:  # "sign"
                return -good


@pytest.mark.parametrize("fault", ["sums", "dtype", "mask", "other rows", "sign"])
def test_the_check_finds(fault):
    with pytest.raises(AssertionError):
        check_loss(Specimen(fault))


def test_k2_is_half_the_square_and_k3_never_negative():
    logp, reference = torch.tensor([-1.0, -2.0, -3.0, -90.0]), torch.tensor([-1.0, -1.0, -5.0, -1.0])
    assert k2(logp, reference)[:3].tolist() == [0.0, 0.5, 2.0]
    assert k3(logp, reference)[:3].tolist() == pytest.approx([0.0, 1.718282 - 1, 0.135335 + 1], abs=1e-5)
    assert bool(k3(logp, reference).isfinite().all())


def test_entropy_of_logits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 11, generator=generator, dtype=torch.float64)
    want = torch.distributions.Categorical(logits=logits).entropy()
    for chunk in (1, 4, 4096):
        assert torch.allclose(entropy(logits, chunk), want)
    assert entropy(torch.zeros(2, 8)).tolist() == pytest.approx([2.0794415] * 2)
    assert entropy(torch.zeros(1, 4).bfloat16()).dtype == torch.float32
    masked = torch.tensor([0.0, 0.0, -torch.inf], requires_grad=True)
    value = entropy(masked)
    assert float(value.detach()) == pytest.approx(0.6931472)
    assert bool(torch.autograd.grad(value, masked)[0].isfinite().all())
