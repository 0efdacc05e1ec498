"""bfloat16 policies: float32 masters learn what bfloat16 would round away, and survive a checkpoint."""

import copy
from typing import Any

import pytest
import torch

from tests.trainers.test_forward import MODELS, rows
from tests.trainers.test_learner import policy, specimen
from turnwise.errors import ConfigError
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.batch import Batch
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.masters import Masters
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.placement import dtype_of, placed
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.sft import SFT
from turnwise.trainers.sync import Probe


def sampled(model: Any) -> tuple[Batch, torch.Tensor]:
    batch, _ = specimen(model)
    batch = batch.to(torch.float32)
    return batch, GRPO()(batch)


def weights(model: Any) -> list[torch.Tensor]:
    return [p.detach().float().clone() for p in model.parameters()]


def test_a_float32_model_has_none():
    model = policy().float()
    optimizers = AdamW().build(model)
    masters = Masters(optimizers)
    assert masters.tensors == [] and masters.of(model.parameters()) == list(model.parameters())
    assert [p for o in optimizers for g in o.param_groups for p in g["params"]] == list(model.parameters())


@pytest.mark.parametrize("optimizer", [AdamW(lr=1e-5), MuonAdamW(lr=1e-5, adam_lr=1e-5)])
def test_small_steps_add_up(optimizer: Any):
    """Of steps of 1e-5 a bfloat16 weight of 0.3 sees none: half the distance to its neighbour is 1e-3. The masters see all."""
    model = policy().bfloat16()
    batch, advantages = sampled(model)
    learner = LocalLearner(model, Update(optimizer=optimizer))
    before = [t.clone() for t in learner.state_dict()["masters"]]
    first = weights(model)
    for _ in range(3):
        learner.update(batch, advantages)
    after = learner.state_dict()["masters"]
    assert all(t.dtype == torch.float32 for t in after) and model.dtype == torch.bfloat16
    assert all(bool((a != b).any()) for a, b in zip(after, before, strict=True))
    large = [(a != b)[b.abs() > 0.1].float().mean() for a, b in zip(weights(model), first, strict=True) if (b.abs() > 0.1).any()]
    assert float(torch.stack(large).mean()) < 0.1
    named = dict(zip(map(id, model.parameters()), model.parameters(), strict=True))
    of = Masters.of(learner._masters, named.values())  # pyright: ignore[reportPrivateUsage]
    assert all(torch.equal(p, m.bfloat16()) for p, m in zip(named.values(), of, strict=True))


def test_gradients_of_many_passes_are_summed_in_float32():
    model = policy().bfloat16()
    batch, advantages = sampled(model)
    grads: list[list[torch.Tensor]] = []
    for max_tokens in (10_000, 1):  # one pass, one row a pass
        twin = copy.deepcopy(model)
        kept: list[torch.Tensor] = []

        class Kept(torch.optim.SGD):
            def step(self, closure: Any = None, kept: list[torch.Tensor] = kept) -> None:
                kept.extend(p.grad.clone() for g in self.param_groups for p in g["params"])

        class Still:
            max_grad_norm = 1e9

            def build(self, model: Any, kept: type[torch.optim.SGD] = Kept) -> list[torch.optim.Optimizer]:
                return [kept(model.parameters(), lr=0.0)]

        still: Any = Still()
        LocalLearner(twin, Update(optimizer=still, max_tokens=max_tokens)).update(batch, advantages)
        grads.append(kept)
    for one, many in zip(*grads, strict=True):
        assert one.dtype == many.dtype == torch.float32
        assert torch.allclose(one, many, atol=0.03 * float(one.abs().max()), rtol=0)


def test_a_checkpoint_holds_what_bfloat16_cannot():
    first, second = policy().bfloat16(), policy().bfloat16()
    batch, advantages = sampled(first)
    update = Update(optimizer=AdamW(lr=1e-4))
    plain, resumed = LocalLearner(first, update), LocalLearner(second, update)
    for _ in range(2):
        plain.update(batch, advantages)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(copy.deepcopy(plain.state_dict()))
    assert plain.update(batch, advantages) == resumed.update(batch, advantages)
    for a, b in zip(plain.state_dict()["masters"], resumed.state_dict()["masters"], strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_without_masters_starts_from_the_weights():
    model = policy().bfloat16()
    learner = LocalLearner(model, Update())
    state = learner.state_dict()
    del state["masters"]
    with torch.no_grad():
        model.transformer.wte.weight.fill_(0.5)
    learner.load_state_dict(state)
    assert any(bool((t == 0.5).all()) for t in learner.state_dict()["masters"])


def test_demonstrations_are_learned_in_float32_too():
    model = MODELS["llama"]().bfloat16()
    tokens, mask = rows(9, 9)
    sft = SFT(epochs=20.0, batch_size=2, optimizer=AdamW(lr=3e-4))
    losses = list(sft.train(model, list(zip(tokens, mask, strict=True)), 0))
    assert losses[-1] < 0.98 * losses[0] and model.dtype == torch.bfloat16


def test_losses_are_float32():
    model = policy().bfloat16()
    logp, entropy = LocalLearner(model, Update()).forward(*rows(9, 4))
    assert logp.dtype == entropy.dtype == torch.float32


def test_the_probe_allows_for_rounding_where_there_is_some():
    model = policy()
    assert Probe().bound(model.float().state_dict()) == 0.01
    assert Probe().bound(model.bfloat16().state_dict()) == 0.5
    assert Probe(tolerance=0.1).bound(model.state_dict()) == 0.1


def test_a_policy_from_nothing_takes_its_dtype_and_device():
    model, _ = Scratch(hidden=16, layers=1, heads=2, mlp=16, dtype="bfloat16").build(["some text"], 0)
    wide, _ = Scratch(hidden=16, layers=1, heads=2, mlp=16).build(["some text"], 0)
    assert model.dtype == torch.bfloat16
    assert all(torch.equal(a, b.bfloat16()) for a, b in zip(model.parameters(), wide.parameters(), strict=True))


def test_what_cannot_be_had_is_said():
    with pytest.raises(ConfigError, match=r"policy.dtype: expected float32 or bfloat16, got 'float8'"):
        dtype_of("float8")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"policy.device: 'cuda' cannot be used .*; set it to \"cpu\""):
            placed(policy(), "float32", "cuda")
