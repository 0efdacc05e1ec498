"""Corrections: worked numbers, what is dropped, and what the learner makes of them."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from turnwise.errors import ConfigError, ShapeError
from turnwise.registry import names, resolve
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.corrections.icepop import IcePop
from turnwise.trainers.corrections.protocol import Correction
from turnwise.trainers.corrections.sequence_mask import SequenceMask
from turnwise.trainers.corrections.tis import TIS
from turnwise.trainers.decoupling import decoupled
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.losses.cispo import CISPO
from turnwise.trainers.losses.ppo_clip import PPOClip
from turnwise.trainers.losses.reinforce import Reinforce
from turnwise.trainers.packing import one_row_per_turn
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Group, Task

ALL = [resolve("turnwise.trainers.corrections", name) for name in names("turnwise.trainers.corrections")]
RATIOS = [[1.0, 3.0, 1.0], [0.4, 1.0], [1.2, 1.2, 1.2, 1.2]]


def toy() -> Batch:
    task = Task("a", "", "", 0)
    return collate([Group(task, tuple(make_trajectory(task, [0.0], tokens=n) for n in (3, 2, 4)))]).to(torch.float64)


def at(batch: Batch, ratios: list[list[float]]) -> Tensor:
    """Proximal log-probabilities with these ratios to the behaviour policy's."""
    out = batch.logprobs.clone()
    for row, numbers in enumerate(ratios):
        out[row][batch.mask[row]] += torch.tensor(numbers, dtype=torch.float64).log()
    return out


def weights(correction: Correction, ratios: list[list[float]] = RATIOS) -> list[list[float]]:
    batch = toy()
    found = correction(at(batch, ratios), batch)
    return [found[row][batch.mask[row]].tolist() for row in range(3)]


@pytest.mark.parametrize(
    ("correction", "want"),
    [
        (TIS(), [[1, 2, 1], [0.4, 1], [1.2] * 4]),
        (IcePop(), [[1, 3, 1], [0, 1], [1.2] * 4]),
        (IcePop(low=0.5, high=2.0), [[1, 0, 1], [0, 1], [1.2] * 4]),
        (SequenceMask(mean="product", low=0.0, high=2.0), [[0] * 3, [1] * 2, [0] * 4]),  # products 3, 0.4, 2.0736
        (SequenceMask(low=0.5, high=1.3), [[0] * 3, [1] * 2, [1] * 4]),  # geometric means 1.442, 0.632, 1.2
        (SequenceMask(), [[0] * 3, [0] * 2, [0] * 4]),
        (SequenceMask(low=0.0, high=9.0, veto=0.5), [[1] * 3, [0] * 2, [1] * 4]),
    ],
)
def test_worked_numbers(correction: Correction, want: list[list[float]]):
    for got, expected in zip(weights(correction), want, strict=True):
        assert got == pytest.approx(expected)


@pytest.mark.parametrize("cls", ALL)
def test_on_policy_nothing_is_corrected(cls: Any):
    assert weights(cls(), [[1.0] * 3, [1.0] * 2, [1.0] * 4]) == [[1.0] * 3, [1.0] * 2, [1.0] * 4]


@pytest.mark.parametrize("cls", ALL)
def test_a_correction_looks_at_its_own_row_and_at_no_padding(cls: Any):
    batch = toy()
    proximal = at(batch, RATIOS)
    whole = cls()(proximal, batch)
    wild = torch.where(batch.mask, proximal, 7.0)
    for row in range(3):
        own = torch.tensor([row])
        assert torch.equal((cls()(wild[own], batch.rows(own)) * batch.mask[own]), (whole * batch.mask)[own])


def test_what_speaks_of_trajectories_refuses_parts_of_them():
    batch = toy()
    split, _ = one_row_per_turn(batch)
    with pytest.raises(ShapeError, match="sequence_mask"):
        SequenceMask()(split.logprobs, split)


@pytest.mark.parametrize("wrong", [lambda: TIS(cap=0.0), lambda: IcePop(low=2.0), lambda: SequenceMask(high=0.9)])
def test_bounds_that_make_no_sense(wrong: Any):
    with pytest.raises(ConfigError, match="correction"):
        wrong()


def test_they_multiply_and_the_loss_sees_the_proximal_policy():
    batch = toy()
    proximal = at(batch, RATIOS)
    trust, seen = decoupled((TIS(), IcePop()), proximal, batch)
    assert trust[0][batch.mask[0]].tolist() == pytest.approx([1, 6, 1]) and not bool(trust[~batch.mask].any())
    assert torch.equal(seen.logprobs[batch.mask], proximal[batch.mask])


# --- in the learner ----------------------------------------------------------------------------------------------------


def model() -> Any:
    return Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=64).build([], 0)[0].double()


def gradient(update: Update, batch: Batch, advantages: Tensor) -> tuple[Tensor, dict[str, float]]:
    """That of the first step, read from how plain descent moves the weights."""
    policy = model()
    before = torch.cat([p.detach().flatten().clone() for p in policy.parameters()])
    metrics = LocalLearner(policy, update).update(batch, advantages)
    return torch.cat([p.detach().flatten() for p in policy.parameters()]) - before, metrics


def stale() -> tuple[Batch, Tensor]:
    """Behaviour log-probabilities that differ from the model's by known factors, and advantages."""
    batch = toy()
    own, _ = LocalLearner(model(), Update()).forward(batch.tokens, batch.mask, entropy=False)
    batch = replace(batch, logprobs=own.detach())
    behaviour = torch.where(batch.mask, 2 * batch.logprobs - at(batch, RATIOS), 0)
    return replace(batch, logprobs=behaviour), torch.tensor([[1.0], [-1.0], [0.5]], dtype=torch.float64) * batch.mask


@dataclass(frozen=True)
class Descent:
    """Plain gradient descent at rate 1: the weights move by the gradient itself."""

    max_grad_norm: float = 1e9

    def build(self, policy: Any) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(policy.parameters(), lr=1.0)]


def settings(**kwargs: Any) -> Update:
    return Update(optimizer=Descent(), **kwargs)  # type: ignore[arg-type]


def test_tis_with_reinforce_is_cispo_without_a_lower_bound():
    """One step on stale samples: both weigh -A grad log p by min(ratio, 2)."""
    batch, advantages = stale()
    ours, metrics = gradient(settings(loss=Reinforce(), correction=(TIS(cap=2.0),)), batch, advantages)
    theirs, _ = gradient(settings(loss=CISPO(clip_low=1.0, clip_high=1.0)), batch, advantages)
    assert torch.allclose(ours, theirs, atol=1e-12) and float(ours.abs().max()) > 0
    assert metrics["correction_mean"] == pytest.approx((1 + 2 + 1 + 0.4 + 1 + 4 * 1.2) / 9)
    assert metrics["ratio_max"] == pytest.approx(3.0), "the ratios to the behaviour policy are still told"


def test_tokens_that_are_dropped_teach_nothing_and_stay_in_the_denominator():
    batch, advantages = stale()
    masked, metrics = gradient(settings(loss=Reinforce(), correction=(SequenceMask(low=0.5, high=1.3),)), batch, advantages)
    by_hand, _ = gradient(settings(loss=Reinforce()), batch, advantages * torch.tensor([[0.0], [1.0], [1.0]]))
    assert torch.allclose(masked, by_hand, atol=1e-12) and float(masked.abs().max()) > 0
    assert metrics["correction_dropped"] == pytest.approx(3 / 9)


@pytest.mark.parametrize("packing", ["rows", "tree"])
def test_micro_batches_change_nothing(packing: str):
    batch, advantages = stale()
    correction = (TIS(), SequenceMask(low=0.5, high=1.5))
    whole, _ = gradient(settings(correction=correction, packing=packing), batch, advantages)
    parts, _ = gradient(settings(correction=correction, packing=packing, max_tokens=1), batch, advantages)
    assert torch.allclose(whole, parts, atol=1e-12)


def test_over_several_steps_the_weights_stay_those_of_the_beginning():
    """Decoupled: the clip is against the policy before the batch, the weight is of that policy against the sampler."""
    batch, advantages = stale()
    policy = model()
    learner = LocalLearner(policy, settings(epochs=3, loss=PPOClip(), correction=(TIS(),)))
    metrics = learner.update(batch, advantages)
    assert metrics["correction_mean"] == pytest.approx((1 + 2 + 1 + 0.4 + 1 + 4 * 1.2) / 9)
    fresh, _ = LocalLearner(model(), Update()).forward(batch.tokens, batch.mask, entropy=False)
    assert learner._proximal is not None and torch.equal(learner._proximal, fresh.detach())  # pyright: ignore[reportPrivateUsage]
