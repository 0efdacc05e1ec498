"""What goes to vLLM and what comes back: the parts that need no vLLM."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.agents.engine import Sampling
from turnwise.agents.engines.vllm_http import HttpVLLM, server_command
from turnwise.agents.engines.vllm_tokens import entropies, sampling_arguments, token_versions
from turnwise.agents.engines.vllm_worker import differing
from turnwise.errors import ConfigError


def candidates(probabilities: np.ndarray, sampled: int, top: int) -> list[float]:
    logs = np.log(probabilities)
    return [float(logs[sampled]), *(float(x) for x in np.sort(logs)[::-1][:top])]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.floats(0.05, 5.0))
def test_the_entropy_lies_within_the_bound(seed: int, size: int, sharpness: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=size) * sharpness
    p = np.exp(logits) / np.exp(logits).sum()
    true = float(-(p * np.log(p)).sum())
    for top in range(1, size + 1):
        found = entropies([candidates(p, int(rng.integers(size)), top)], size)
        assert abs(found.values[0] - true) <= found.bound + 3e-5
        assert found.bound == 0 or top < size


def test_a_cut_distribution_has_the_entropy_of_what_is_left() -> None:
    found = entropies([[math.log(0.75), math.log(0.75), math.log(0.25), -math.inf, -9999.0]], 100)
    assert found.bound == 0 and found.values[0] == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))


def test_arguments_name_what_stops_and_what_is_wanted() -> None:
    arguments = sampling_arguments(Sampling(max_tokens=50, stop_ids=(7,), seed=2**63 + 5), room=20, top=-1)
    assert arguments["max_tokens"] == 20 and arguments["stop_token_ids"] == [7] and arguments["ignore_eos"]
    assert 0 <= arguments["seed"] < 2**63 and arguments["logprobs"] == -1


def test_every_token_gets_the_version_of_its_span() -> None:
    names = {"w.1": 4, "w.2": 5}
    assert token_versions([("w.1", 0, 2), ("w.2", 2, 3)], 3, names) == (4, 4, 5)
    assert token_versions([("default", 0, 3)], 3, names) is None


def test_what_differs_is_named_also_inside_packed_modules() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(n, 3, generator=generator) for n in (4, 2, 2))
    embed = torch.randn(5, 3, generator=generator)
    served = {"a.qkv_proj.weight": torch.cat([q, k, v]), "embed.weight": torch.cat([embed, torch.zeros(3, 3)])}
    weights = {"a.q_proj.weight": q, "a.k_proj.weight": k, "a.v_proj.weight": v, "embed.weight": embed}
    packed = {"qkv_proj": ["q_proj", "k_proj", "v_proj"]}
    assert differing(weights, served, packed) == []
    served["a.qkv_proj.weight"][4, 0] += 1e-6
    served["embed.weight"][1, 1] += 1e-6
    assert differing(weights, served, packed) == ["a.k_proj.weight", "embed.weight"]


def test_a_server_is_told_what_turnwise_relies_on() -> None:
    command = server_command("model", context_window=100, port=1, dtype="float32", enforce_eager=True)
    assert command[command.index("--max-model-len") + 1] == "101" and "--enforce-eager" in command
    assert command[command.index("--worker-extension-cls") + 1].endswith("vllm_worker.Weights")
    with pytest.raises(ConfigError, match="logprobs_mode"):
        server_command("model", context_window=100, port=1, logprobs_mode="raw_logprobs")
    with pytest.raises(ConfigError, match="address"):
        HttpVLLM("127.0.0.1:8000")
