"""Weights arrive, or the run stops with the names of those that did not."""

import asyncio
import copy

import pytest
import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from turnwise.agents.engines.torch import TorchEngine
from turnwise.errors import ConfigError, EngineFailure
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.lora import with_adapters
from turnwise.trainers.recipe import Lora
from turnwise.trainers.sync import Probe, sync


@pytest.fixture
def tiny() -> PreTrainedModel:
    config = Qwen3Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=128,
    )
    model = Qwen3ForCausalLM(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return model


def moved(learner: LocalLearner) -> None:
    """As an update would."""
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.mul_(1.01)
    learner.version += 1


def test_a_sync_says_what_it_cost_and_how_close_the_two_are(tiny: PreTrainedModel) -> None:
    learner = LocalLearner(tiny, Update())
    engine = TorchEngine(copy.deepcopy(tiny))
    moved(learner)
    found = asyncio.run(sync(engine, learner, Probe(tensors_every=1))).metrics
    size = sum(p.numel() * p.element_size() for p in tiny.parameters())
    assert found["sync/probe_difference"] < 1e-4 and found["sync/bytes"] >= size and engine.version == 1


def test_the_same_module_on_both_sides_costs_no_bytes(tiny: PreTrainedModel) -> None:
    learner = LocalLearner(tiny, Update())
    engine = TorchEngine(tiny)
    moved(learner)
    assert asyncio.run(sync(engine, learner, Probe())).metrics["sync/bytes"] == 0


@pytest.mark.parametrize("every", [0, 1])
def test_a_parameter_that_changes_on_one_side_is_named(
    tiny: PreTrainedModel, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's copy of one tensor is disturbed behind every sync's back, as a packed copy or a cache would be."""
    learner = LocalLearner(tiny, Update())
    engine = TorchEngine(copy.deepcopy(tiny))
    name, parameter = list(engine.model.named_parameters())[4]
    refresh = engine.refresh

    def disturbed(version: int) -> None:
        with torch.no_grad():
            parameter.view(-1)[0] += 5.0 if not every else 1e-5  # the second far too little for the probe
        refresh(version)

    monkeypatch.setattr(engine, "refresh", disturbed)
    moved(learner)
    with pytest.raises(EngineFailure, match=name.replace(".", r"\.")) as caught:
        asyncio.run(sync(engine, learner, Probe(tensors_every=every)))
    assert caught.value.kind == "weights"


NAMES = (
    "embed_tokens",
    "q_proj",
    "v_proj",
    "q_norm",
    "up_proj",
    "down_proj",
    "input_layernorm",
    "model.norm",
    "lm_head",
    "lora_B",
)


@pytest.mark.parametrize("part", NAMES)
def test_a_thousandth_in_any_kind_of_layer_is_found_at_any_sync(tiny: PreTrainedModel, part: str) -> None:
    """As recipes have it: no setting of the probe is touched, and the first sync is long over."""
    model = with_adapters(tiny, Lora(rank=2, alpha=4), 0) if part == "lora_B" else tiny
    learner = LocalLearner(model, Update())
    engine = TorchEngine(copy.deepcopy(model))
    for _ in range(2):
        moved(learner)
        asyncio.run(sync(engine, learner, Probe()))
    name, parameter = next((n, p) for n, p in engine.model.named_parameters() if part in n)
    refresh = engine.refresh

    def disturbed(version: int) -> None:
        with torch.no_grad():
            parameter.view(-1)[-1] += 1e-3
        refresh(version)

    engine.refresh = disturbed  # type: ignore[method-assign]
    moved(learner)
    with pytest.raises(EngineFailure, match=name.replace(".", r"\.")):
        asyncio.run(sync(engine, learner, Probe()))


def test_large_weights_are_compared_now_and_then(tiny: PreTrainedModel) -> None:
    large = {"w": torch.empty(2**24 + 1, device="meta")}
    assert [v for v in range(1, 120) if Probe().due(large, v)] == [1, 51, 101]
    assert all(Probe().due(tiny.state_dict(), v) and not Probe(tensors_every=0).due(large, v) for v in range(1, 9))
    assert [v for v in range(1, 9) if Probe(tensors_every=3).due(large, v)] == [1, 4, 7]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"probe\.tokens"):
        Probe(tokens=1)
    with pytest.raises(ConfigError, match=r"probe\.tolerance"):
        Probe(tolerance=0)
    with pytest.raises(ConfigError, match=r"probe\.tensors_every"):
        Probe(tensors_every=-1)
