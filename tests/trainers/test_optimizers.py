"""Optimisers: who trains what, and Muon's arithmetic."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from turnwise.trainers.lora import with_adapters
from turnwise.trainers.optimizers import AdamW, Muon, MuonAdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import Lora

SIZES = Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=64)


def policy() -> Any:
    return SIZES.build([], 0)[0]


def members(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize("settings", [AdamW(lr=1e-3), MuonAdamW()])
def test_every_parameter_that_trains_has_one_optimizer(settings: AdamW | MuonAdamW):
    model = policy()
    next(model.model.layers.parameters()).requires_grad_(False)
    owned = [i for o in settings.build(model) for i in members(o)]
    assert sorted(owned) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_muon_has_the_matrices_inside_the_blocks():
    model = policy()
    muon, adam = MuonAdamW().build(model)
    names = {id(p): n for n, p in model.named_parameters()}
    assert {names[i].rsplit(".", 2)[-2] for i in members(muon)} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert id(model.get_input_embeddings().weight) in members(adam)


def test_embeddings_are_known_by_what_they_are_not_by_their_name():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=16))
    muon, adam = MuonAdamW().build(model)
    tables = {id(model.transformer.wte.weight), id(model.transformer.wpe.weight)}
    assert tables <= members(adam) and not tables & members(muon)


def test_adapters_alone_can_be_trained_by_muon():
    model = with_adapters(policy(), Lora(rank=2), seed=0)
    (muon,) = MuonAdamW().build(model)
    assert members(muon) == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("shape", [(8, 8), (4, 12), (12, 4)])
def test_an_update_of_muon_is_nearly_orthogonal(shape: tuple[int, int]):
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape, generator=generator) * torch.logspace(-1.5, 0.5, shape[1])
    Muon([weight], lr=0.5).step()
    scale = 0.5 * max(1.0, shape[0] / shape[1]) ** 0.5
    singular = torch.linalg.svdvals(weight.detach()) / scale
    assert float(singular.min()) > 0.5 and float(singular.max()) < 1.3
    alignment = -(weight.detach() * weight.grad).sum()
    assert float(alignment) > 0, "downhill"


def test_muon_remembers_with_nesterov_momentum():
    """Two steps on a rank-one gradient g, then g'=0: the update still goes along g. Momentum 0.95, buffer 0.05 g, 0.0475 g."""
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = Muon([weight], lr=1.0)
    weight.grad = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    optimizer.step()
    assert optimizer.state[weight]["momentum"][0, 0].item() == pytest.approx(0.05)
    first = weight.detach().clone()
    weight.grad = torch.zeros(2, 2)
    optimizer.step()
    assert optimizer.state[weight]["momentum"][0, 0].item() == pytest.approx(0.0475)
    assert (weight.detach() - first)[0, 0].item() == pytest.approx(first[0, 0].item(), rel=0.05)
    assert not bool(weight.detach().flatten()[1:].any())


def test_muon_on_equal_shapes_is_muon_on_each():
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(4, 6, generator=generator)) for _ in range(3)]
    for w in weights:
        w.grad = torch.randn(4, 6, generator=generator)
    alone = copy.deepcopy(weights)
    for a, w in zip(alone, weights, strict=True):
        a.grad = None if w.grad is None else w.grad.clone()
        Muon([a], weight_decay=0.1).step()
    Muon(weights, weight_decay=0.1).step()
    for a, w in zip(alone, weights, strict=True):
        assert torch.allclose(a, w, atol=1e-6)


@pytest.mark.parametrize("settings", [AdamW(lr=1e-2), MuonAdamW()])
def test_state_survives_a_round_trip(settings: AdamW | MuonAdamW):
    def step(model: Any, optimizers: list[torch.optim.Optimizer], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=generator)
        for o in optimizers:
            o.step()

    model = policy()
    optimizers = settings.build(model)
    step(model, optimizers, 1)
    twin = copy.deepcopy(model)
    others = settings.build(twin)
    for o, mine in zip(others, optimizers, strict=True):
        o.load_state_dict(copy.deepcopy(mine.state_dict()))
    for seed in (2, 3):
        step(model, optimizers, seed)
        step(twin, others, seed)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
