"""Weights arrive, or the run stops with the names of those that did not."""

import asyncio
import copy

import pytest
import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from turnwise.agents.engines.torch import TorchEngine
from turnwise.errors import ConfigError, EngineFailure
from turnwise.trainers.learner import LocalLearner, Update
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


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"probe\.tokens"):
        Probe(tokens=1)
    with pytest.raises(ConfigError, match=r"probe\.tolerance"):
        Probe(tolerance=0)
