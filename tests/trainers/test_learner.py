"""The learner: one gradient however the batch is cut, on-policy ratios of 1, and nothing learned from what broke."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from turnwise.errors import ShapeError
from turnwise.trainers.advantages.bilevel_gae import BilevelGAE
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.aggregates import SequenceMean, TokenMean
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.critic import Critic
from turnwise.trainers.forward import Forward
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.losses.cispo import CISPO
from turnwise.trainers.losses.gspo import GSPO
from turnwise.trainers.losses.ppo_clip import PPOClip
from turnwise.trainers.losses.reinforce import Reinforce
from turnwise.trainers.monitor import group_metrics
from turnwise.trainers.optimizers import AdamW
from turnwise.trainers.packing import one_row_per_turn
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Group, Stop, Task, Trajectory, Turn


def policy(seed: int = 0) -> Any:
    """GPT-2, because it computes all in float64 where it is told to (the norms of newer models stay in float32)."""
    sizes = {"vocab_size": 40, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    model: Any = GPT2LMHeadModel(GPT2Config(bos_token_id=None, eos_token_id=2, **sizes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.3, generator=generator)
    return model.double().eval()


def groups() -> list[Group]:
    """Three groups of uneven trajectories: lengths 5 to 24, one failed, one cut short."""
    a, b, c = (Task(name, "", "", 0) for name in "abc")
    return [
        Group(a, tuple(make_trajectory(a, r, tokens=n) for r, n in [([1.0], [4]), ([0.0, 0.5], [2, 5]), ([0.0], [3])])),
        Group(b, (make_trajectory(b, [0.0, 0.0, 1.0], tokens=[3, 1, 6]), make_trajectory(b, [0.0], tokens=[2]))),
        Group(
            c,
            (
                make_trajectory(c, [1.0], tokens=[2]),
                make_trajectory(c, [0.0], tokens=[7], stop=Stop.TRUNCATED),
                make_trajectory(c, [9.0], tokens=[3], failure="env"),
            ),
        ),
    ]


def sampled_by(model: Any, batch: Batch, temperature: float = 1.0) -> Batch:
    """The batch as this very model would have sampled it."""
    with torch.no_grad():
        logp, entropy = Forward(model, temperature)(batch.tokens, batch.turn >= 0)
    return replace(batch, logprobs=logp, entropies=entropy)


def specimen(model: Any) -> tuple[Batch, Tensor]:
    batch = sampled_by(model, collate(groups()).to(torch.float64))
    return batch, GRPO()(batch)


class Still:
    """An optimiser that keeps the gradients of its steps and changes nothing; or, with a rate, plain gradient descent."""

    def __init__(self, lr: float = 0.0) -> None:
        self.lr = lr
        self.max_grad_norm = 1e9
        self.gradients: list[list[Tensor]] = []

    def build(self, model: Any) -> list[torch.optim.Optimizer]:
        seen = self.gradients

        class Kept(torch.optim.SGD):
            def step(self, closure: Any = None) -> None:
                seen.append([p.grad.clone() for g in self.param_groups for p in g["params"]])
                super().step()

        return [Kept(model.parameters(), lr=self.lr)]


def gradients(model: Any, batch: Batch, advantages: Tensor, **settings: Any) -> list[list[Tensor]]:
    """Of each optimiser step of an update that leaves the model as it is."""
    still: Any = Still()
    LocalLearner(model, Update(optimizer=still, **settings)).update(batch, advantages)
    return still.gradients


def parameters(model: Any) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(a: Sequence[Tensor], b: Sequence[Tensor], atol: float = 0.0) -> bool:
    return all(torch.allclose(x, y, atol=atol, rtol=0) for x, y in zip(a, b, strict=True))


# --- one gradient ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [PPOClip(), Reinforce(), CISPO(), GSPO()], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("aggregate", [TokenMean(), SequenceMean()], ids=lambda a: type(a).__name__)
def test_no_gradient_depends_on_the_size_of_a_pass(loss: Any, aggregate: Any):
    model = policy()
    batch, advantages = specimen(model)
    batch = replace(batch, logprobs=torch.where(batch.mask, batch.logprobs - 0.05, 0))  # a little off policy
    settings = {"loss": loss, "aggregate": aggregate, "kl": 0.1, "entropy": 0.01}
    (whole,) = gradients(model, batch, advantages, max_tokens=10_000, **settings)
    assert max(float(g.abs().max()) for g in whole) > 1e-4
    for max_tokens in (1, 30, 60):
        (cut,) = gradients(model, batch, advantages, max_tokens=max_tokens, **settings)
        assert same(whole, cut, atol=1e-9)


def test_no_gradient_depends_on_rows_per_turn():
    """A trajectory cut into a row for each turn weighs what it weighed."""
    model = policy()
    batch, advantages = specimen(model)
    split, source = one_row_per_turn(batch)
    assert len(split.tokens) == int(batch.turn_mask.sum()) > int((~batch.failed).sum())
    for aggregate in (TokenMean(), SequenceMean()):
        (whole,) = gradients(model, batch, advantages, aggregate=aggregate)
        (cut,) = gradients(model, split, advantages[source], aggregate=aggregate)
        assert same(whole, cut, atol=1e-9)


def test_the_gradient_is_the_policy_gradient():
    """REINFORCE on policy: minus the mean over sampled tokens of A * grad log p, computed by hand on unpadded rows."""
    model = policy()
    batch, advantages = specimen(model)
    (got,) = gradients(model, batch, advantages, loss=Reinforce())
    total = torch.zeros((), dtype=torch.float64)
    for row in range(len(batch.tokens)):
        ids = batch.tokens[row, : int(batch.lengths[row])]
        logp = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        for t in batch.mask[row].nonzero()[:, 0].tolist():
            total = total - advantages[row, t] * logp[t - 1, ids[t]]
    model.zero_grad()
    (total / batch.mask.sum()).backward()
    assert same(got, [p.grad for p in model.parameters()], atol=1e-10)


def test_a_shared_turn_is_trained_once():
    """Two forks after a common turn: its tokens weigh as those of one turn, not two."""
    model = policy()
    task = Task("a", "", "", 0)
    stem = make_trajectory(task, [0.0], tokens=[4]).leaf
    assert stem is not None
    forks = tuple(make_trajectory(task, [r], tokens=[3], after=stem) for r in (1.0, 0.0))
    batch = sampled_by(model, collate([Group(task, forks)]).to(torch.float64))
    advantages = batch.mask.double()
    (got,) = gradients(model, batch, advantages, loss=Reinforce())
    logp, _ = Forward(model)(batch.tokens, batch.mask)
    weights = torch.where(batch.turn == 0, 0.5, 1.0).double() * batch.mask / (4 + 3 + 3)
    model.zero_grad()
    (-(logp * weights).sum()).backward()
    assert same(got, [p.grad for p in model.parameters()], atol=1e-10)


# --- on policy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_on_policy_ratios_are_one(temperature: float):
    model = policy().float()
    batch = sampled_by(model, collate(groups()), temperature)
    metrics = LocalLearner(model, Update(), temperature=temperature).update(batch, GRPO()(batch))
    assert metrics["kl_engine"] == pytest.approx(0, abs=1e-8) and metrics["ess"] == pytest.approx(1, abs=1e-6)
    wrong = LocalLearner(policy().float(), Update(), temperature=temperature + 0.3).update(batch, GRPO()(batch))
    assert wrong["kl_engine"] > 1e-3


def test_dropout_is_off_although_the_model_has_some():
    model = policy().float().train()
    assert model.config.resid_pdrop > 0 and model.config.attn_pdrop > 0
    learner = LocalLearner(model, Update(optimizer=AdamW(lr=1e-3)))
    for _ in range(2):
        batch = sampled_by(model, collate(groups()))
        metrics = learner.update(batch, GRPO()(batch))
        assert metrics["kl_engine"] == pytest.approx(0, abs=1e-9) and metrics["ess"] == pytest.approx(1, abs=1e-6)


def test_the_metrics_say_what_the_batch_was_like():
    model = policy()
    batch, advantages = specimen(model)
    metrics = LocalLearner(model, Update()).update(batch, advantages)
    trained = batch.mask & advantages.ne(0).any(1)[:, None]  # rows without a gradient cost no forward pass
    assert metrics["rows_trained"] == trained.any(1).sum() < len(batch.tokens)
    mean = float(batch.entropies[trained].mean())
    assert metrics["entropy"] == pytest.approx(mean) and metrics["grad_norm"] > 0 and metrics["steps_skipped"] == 0
    assert metrics["loss"] == pytest.approx(-float(advantages[batch.mask].mean()), abs=1e-9)


# --- penalties ---------------------------------------------------------------------------------------------------------


def test_the_reference_is_the_policy_at_the_start():
    model = policy()
    batch, advantages = specimen(model)
    learner = LocalLearner(model, Update(kl=0.1, optimizer=AdamW(lr=1e-2)))
    seen: list[float] = []
    for _ in range(3):
        seen.append(learner.update(batch, advantages).get("kl_reference", 0.0))
    assert seen[0] == 0 and seen[1] > 0 and seen[2] > seen[1]


def test_the_penalty_pulls_back_to_the_reference():
    """Away from its reference and without advantages, the gradient of the penalty alone brings the policy back."""
    model = policy()
    batch, advantages = specimen(model)
    learner = LocalLearner(model, Update(kl=1.0, optimizer=AdamW(lr=3e-3)))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for p in model.parameters():
            p.add_(0.03 * torch.randn(p.shape, dtype=p.dtype, generator=generator))
    gaps = [learner.update(batch, torch.zeros_like(advantages))["kl_reference"] for _ in range(15)]
    assert gaps[-1] < 0.2 * gaps[0]


def test_the_entropy_bonus_raises_entropy():
    seen: dict[float, float] = {}
    for weight in (-1.0, 1.0):
        model = policy()
        batch, advantages = specimen(model)
        learner = LocalLearner(model, Update(entropy=weight, optimizer=AdamW(lr=3e-3)))
        for _ in range(5):
            metrics = learner.update(batch, torch.zeros_like(advantages))
        seen[weight] = metrics["entropy"] - float(batch.entropies[batch.mask].mean())
    assert seen[-1.0] < -0.01 < 0.01 < seen[1.0]


# --- steps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epochs", "minibatches", "steps"), [(1, 1, 1), (2, 1, 2), (1, 3, 3), (2, 2, 4), (1, 100, 8)])
def test_optimiser_steps_are_counted_out(epochs: int, minibatches: int, steps: int):
    model = policy()
    batch, advantages = specimen(model)
    advantages = torch.where(batch.mask, advantages + 1.0, 0)
    batch = replace(batch, failed=torch.zeros_like(batch.failed))
    assert len(gradients(model, batch, torch.where(batch.mask, 1.0, 0.0), epochs=epochs, minibatches=minibatches)) == steps
    learner = LocalLearner(model, Update(epochs=epochs, minibatches=minibatches))
    learner.update(batch, advantages)
    assert learner.version == 1, "one update, one version"


def test_minibatches_take_every_row_once_and_are_shuffled_by_the_seed():
    batch, _ = specimen(policy())
    learner = LocalLearner(policy(), Update(minibatches=3), seed=1)
    parts = learner._minibatches(batch, 0)
    assert sorted(int(i) for part in parts for i in part) == list(range(len(batch.tokens)))
    again = LocalLearner(policy(), Update(minibatches=3), seed=1)._minibatches(batch, 0)
    other = learner._minibatches(batch, 1)
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(parts, other, strict=True))


def test_the_learning_rate_warms_up():
    model = policy()
    batch, advantages = specimen(model)
    learner = LocalLearner(model, Update(warmup=3, optimizer=AdamW(lr=0.1)))
    rates: list[float] = []
    for _ in range(6):
        learner.update(batch, advantages)
        rates.append(learner._optimizers[0].param_groups[0]["lr"])
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_gradients_are_clipped():
    model = policy()
    batch, advantages = specimen(model)
    still: Any = Still()
    still.max_grad_norm = 1e-3
    metrics = LocalLearner(model, Update(optimizer=still)).update(batch, advantages)
    norm = float(torch.stack([g.norm() for g in still.gradients[0]]).norm())
    assert metrics["grad_norm"] > 1e-3 and norm == pytest.approx(1e-3, rel=1e-3)


# --- what must not be learned ------------------------------------------------------------------------------------------


def test_a_batch_without_variance_changes_nothing_at_all():
    model = policy()
    task = Task("a", "", "", 0)
    equal = Group(task, tuple(make_trajectory(task, [1.0], tokens=[n]) for n in (2, 4)))
    assert group_metrics([equal])["groups_zero_variance"] == 1
    batch, advantages = specimen(model)
    learner = LocalLearner(model, Update(optimizer=AdamW(lr=0.1, weight_decay=0.1)))
    learner.update(batch, advantages)  # so that there is a momentum
    before = parameters(model)
    flat = sampled_by(model, collate([equal]).to(torch.float64))
    metrics = learner.update(flat, GRPO()(flat))
    assert same(before, parameters(model)) and metrics["steps_skipped"] == 1 and metrics["grad_norm"] == 0


def test_failed_trajectories_give_no_gradient():
    model = policy()
    batch, advantages = specimen(model)
    assert bool(batch.failed.any())
    (got,) = gradients(model, batch, torch.where(batch.failed[:, None] & (batch.turn >= 0), 50.0, advantages))
    alive = batch.rows((~batch.failed).nonzero()[:, 0])
    (without,) = gradients(model, alive, advantages[~batch.failed])
    assert same(got, without, atol=1e-12)


def test_a_batch_of_failures_changes_nothing():
    model = policy()
    batch, advantages = specimen(model)
    before = parameters(model)
    learner = LocalLearner(model, Update(kl=0.1, entropy=0.1, optimizer=AdamW(lr=0.1, weight_decay=0.1)))
    metrics = learner.update(replace(batch, failed=torch.ones_like(batch.failed)), advantages)
    assert same(before, parameters(model)) and metrics["steps_skipped"] == 1


def test_a_trajectory_without_a_token_does_no_harm():
    model = policy()
    task = Task("a", "", "", 0)
    empty = Trajectory(task, "x", 0, None, Stop.TOKENS)
    group = Group(task, (empty, make_trajectory(task, [1.0], tokens=[3])))
    batch = sampled_by(model, collate([group]).to(torch.float64))
    advantages = GRPO()(batch)
    assert float(advantages.abs().max()) > 0
    learner = LocalLearner(model, Update(max_tokens=1), critic=Critic())
    metrics = learner.update(learner.annotate(batch), advantages)
    assert metrics["grad_norm"] > 0


def test_a_gradient_that_is_no_number_is_not_followed():
    model = policy()
    batch, advantages = specimen(model)
    before = parameters(model)
    learner = LocalLearner(model, Update())
    metrics = learner.update(batch, torch.where(batch.mask, torch.nan, 0.0))
    assert same(before, parameters(model)) and metrics["steps_skipped"] == 1
    assert metrics["grad_norm"] != metrics["grad_norm"], "the alarm can see it"
    assert learner.update(batch, advantages)["grad_norm"] > 0, "and the next batch finds a working optimiser"


def test_shapes_are_checked():
    model = policy()
    batch, advantages = specimen(model)
    with pytest.raises(ShapeError, match=r"advantages are .* expected \[B, T\]"):
        LocalLearner(model, Update()).update(batch, advantages[:, :-1])


# --- critic ------------------------------------------------------------------------------------------------------------


def test_the_critic_reads_the_policys_states_and_learns():
    model = policy()
    batch, _ = specimen(model)
    learner = LocalLearner(model, Update(optimizer=AdamW(lr=0.0), max_tokens=40), critic=Critic(lr=3e-2, steps=40))
    estimator = TurnGAE(gamma=1.0, lam=1.0)
    losses: list[float] = []
    for _ in range(8):
        seen = learner.annotate(batch)
        assert seen.values is not None and seen.values.shape == (len(batch.tokens), batch.rewards.shape[1] + 1)
        losses.append(learner.update(seen, estimator(seen), estimator.targets(seen))["critic_loss"])
    # Equal beginnings have different returns here, so some of it is left.
    assert losses[-1] < 0.3 * losses[0]


def test_values_do_not_depend_on_the_size_of_a_pass():
    seen: list[Tensor] = []
    for max_tokens in (1, 10_000):
        model = policy()
        batch, advantages = specimen(model)
        learner = LocalLearner(model, Update(max_tokens=max_tokens, optimizer=AdamW(lr=0.0)), critic=Critic())
        learner.update(learner.annotate(batch), advantages, batch.rewards)
        values = learner.annotate(batch).values
        assert values is not None
        existing = torch.arange(values.shape[1]) <= batch.turns[:, None]
        seen.append(values[existing])
    assert torch.allclose(*seen, atol=1e-12) and float(seen[0].abs().max()) > 0


def test_a_critic_per_token_agrees_with_itself_at_turn_starts_whatever_the_size_of_a_pass():
    seen: list[Tensor] = []
    for max_tokens in (1, 40, 10_000):
        model = policy()
        batch, advantages = specimen(model)
        learner = LocalLearner(model, Update(max_tokens=max_tokens, optimizer=AdamW(lr=0.0)), critic=Critic(level="token"))
        estimator = BilevelGAE()
        first = learner.annotate(batch)
        learner.update(first, advantages, estimator.targets(first))
        batch = learner.annotate(batch)
        assert batch.values is not None and batch.token_values is not None
        assert not bool(batch.token_values[~batch.mask].any())
        for row in range(len(batch.tokens)):
            for k in range(int(batch.turns[row]) if not batch.failed[row] else 0):
                start = int((batch.turn[row] == k).nonzero()[0])
                assert float(batch.token_values[row, start]) == pytest.approx(float(batch.values[row, k]), abs=1e-12)
        seen.append(batch.token_values)
    assert torch.allclose(seen[0], seen[1], atol=1e-12) and torch.allclose(seen[0], seen[2], atol=1e-12)
    assert float(seen[0].abs().max()) > 0


def test_a_critic_per_token_learns_the_targets_of_every_token():
    model = policy()
    batch, _ = specimen(model)
    settings = Update(optimizer=AdamW(lr=0.0), max_tokens=40)
    learner = LocalLearner(model, settings, critic=Critic(level="token", lr=3e-2, steps=40))
    estimator = BilevelGAE(turn_gamma=1.0)
    losses: list[float] = []
    for _ in range(8):
        seen = learner.annotate(batch)
        losses.append(learner.update(seen, estimator(seen), estimator.targets(seen))["critic_loss"])
    assert losses[-1] < 0.3 * losses[0]
    with pytest.raises(ShapeError, match=r"expected targets as \[B, T\]"):
        learner.update(learner.annotate(batch), estimator(seen), batch.rewards)


def test_targets_need_the_features_of_their_batch():
    model = policy()
    batch, advantages = specimen(model)
    with pytest.raises(ShapeError, match="not annotated; call annotate first"):
        LocalLearner(model, Update(), critic=Critic()).update(batch, advantages, batch.rewards)


def test_without_a_critic_nothing_is_annotated():
    model = policy()
    batch, _ = specimen(model)
    assert LocalLearner(model, Update()).annotate(batch) is batch


# --- state -------------------------------------------------------------------------------------------------------------


def test_state_survives_a_round_trip():
    settings = Update(kl=0.1, minibatches=2, epochs=2, warmup=3, optimizer=AdamW(lr=1e-2))

    def go_on(learner: LocalLearner, batch: Batch) -> None:
        seen = learner.annotate(batch)
        estimator = TurnGAE()
        learner.update(seen, estimator(seen), estimator.targets(seen))

    model = policy()
    batch, _ = specimen(model)
    learner = LocalLearner(model, settings, critic=Critic(), seed=3)
    go_on(learner, batch)
    twin = copy.deepcopy(model)
    other = LocalLearner(twin, settings, critic=Critic(), seed=3)
    other.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert other.version == 1
    for _ in range(2):
        go_on(learner, batch)
        go_on(other, batch)
    assert same(parameters(model), parameters(twin))
    for name, value in learner.weights().items():
        assert torch.equal(value, other.weights()[name])


def test_turns_are_untouched_by_learning():
    turn: Turn | None = groups()[0].trajectories[0].leaf
    assert turn is not None and turn.logprobs == (-1.0,) * 4
