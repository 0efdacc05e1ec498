"""Drawing tokens: the distribution that is reported is the one that is drawn from."""

import math

import pytest
import torch

from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch_sampling import RowSampling, check_sampling, draw
from turnwise.errors import ConfigError

PROBS = torch.tensor([0.4, 0.25, 0.2, 0.1, 0.05])
CPU = torch.device("cpu")


def drawn(sampling: Sampling, count: int = 20_000):
    generator = torch.Generator().manual_seed(0)
    uniforms = torch.rand(count, generator=generator, dtype=torch.float64)
    return draw(PROBS.log().expand(count, -1), RowSampling.of([sampling] * count, CPU), uniforms)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(max_tokens=1), [0.4, 0.25, 0.2, 0.1, 0.05]),
        (Sampling(max_tokens=1, top_k=2), [0.4 / 0.65, 0.25 / 0.65, 0, 0, 0]),
        (Sampling(max_tokens=1, top_p=0.6), [0.4 / 0.65, 0.25 / 0.65, 0, 0, 0]),
        (Sampling(max_tokens=1, top_p=0.66), [0.4 / 0.85, 0.25 / 0.85, 0.2 / 0.85, 0, 0]),
        (Sampling(max_tokens=1, top_k=4, top_p=0.1), [1, 0, 0, 0, 0]),
        (Sampling(max_tokens=1, top_k=3, top_p=0.75), [0.4 / 0.65, 0.25 / 0.65, 0, 0, 0]),
        (Sampling(max_tokens=1, temperature=0.5), [p * p / 0.275 for p in (0.4, 0.25, 0.2, 0.1, 0.05)]),
    ],
)
def test_frequencies_logprobs_and_entropy_are_those_of_the_distribution(sampling: Sampling, expected: list[float]):
    got = drawn(sampling)
    counts = torch.bincount(got.tokens, minlength=5).double()
    support = torch.tensor(expected) > 0
    assert counts[~support].sum() == 0
    want = torch.tensor(expected, dtype=torch.float64) * len(got.tokens)
    assert (((counts - want) ** 2)[support] / want[support]).sum() < 20  # chi-square, 4 degrees: one in 2,000; the seed is fixed
    torch.testing.assert_close(got.logprobs, torch.tensor(expected, dtype=torch.float64).log()[got.tokens], atol=1e-5, rtol=0)
    entropy = -sum(p * math.log(p) for p in expected if p)
    torch.testing.assert_close(got.entropies, torch.full_like(got.entropies, entropy), atol=1e-5, rtol=0)


def test_greedy_takes_the_likeliest_and_reports_temperature_one():
    got = drawn(Sampling(max_tokens=1, temperature=0.0, top_k=1, top_p=0.1), count=8)
    assert got.tokens.tolist() == [0] * 8
    torch.testing.assert_close(got.logprobs, torch.full((8,), math.log(0.4)).double(), atol=1e-6, rtol=0)


def test_rows_of_other_settings_change_nothing():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(4, 50, generator=generator)
    uniforms = torch.rand(4, generator=generator, dtype=torch.float64)
    settings = [
        Sampling(max_tokens=1),
        Sampling(max_tokens=1, temperature=0.0),
        Sampling(max_tokens=1, temperature=0.7, top_k=5),
        Sampling(max_tokens=1, top_p=0.8),
    ]
    together = draw(logits, RowSampling.of(settings, CPU), uniforms)
    for i, sampling in enumerate(settings):
        alone = draw(logits[i : i + 1], RowSampling.of([sampling], CPU), uniforms[i : i + 1])
        assert alone.tokens[0] == together.tokens[i]
        torch.testing.assert_close(alone.logprobs[0], together.logprobs[i])
        torch.testing.assert_close(alone.entropies[0], together.entropies[i])


def test_tokens_of_probability_zero_are_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(3, -1).contiguous()
    uniforms = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    got = draw(logits, RowSampling.of([Sampling(max_tokens=1)] * 3, CPU), uniforms)
    assert got.tokens.tolist() == [1, 3, 3]
    torch.testing.assert_close(got.entropies, torch.full((3,), math.log(2)).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("sampling", "name"),
    [
        (Sampling(max_tokens=0), "max_tokens"),
        (Sampling(max_tokens=1, temperature=-1.0), "temperature"),
        (Sampling(max_tokens=1, temperature=float("nan")), "temperature"),
        (Sampling(max_tokens=1, top_p=0.0), "top_p"),
        (Sampling(max_tokens=1, top_k=-1), "top_k"),
    ],
)
def test_settings_that_mean_nothing_are_refused(sampling: Sampling, name: str):
    with pytest.raises(ConfigError, match=f"Sampling.{name}: expected"):
        check_sampling(sampling)
