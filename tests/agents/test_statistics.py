"""Statistics against closed forms, enumeration and published numbers."""

from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.agents.statistics import cluster_bootstrap, pass_at_k, pass_hat_k, proportion, ratio, wilson
from turnwise.errors import ConfigError, ShapeError


@pytest.mark.parametrize("n", [1, 3, 6])
def test_pass_at_k_and_pass_hat_k_equal_enumeration_of_all_subsets(n: int) -> None:
    for c, k in product(range(n + 1), range(1, n + 1)):
        draws = [sum(i < c for i in drawn) for drawn in combinations(range(n), k)]
        assert pass_at_k(n, c, k) == pytest.approx(sum(hits > 0 for hits in draws) / len(draws), abs=1e-12)
        assert pass_hat_k(n, c, k) == pytest.approx(sum(hits == k for hits in draws) / len(draws), abs=1e-12)


@given(st.integers(1, 3000), st.data())
def test_pass_at_k_is_stable_for_large_counts(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    assert pass_at_k(n, c, k) == pytest.approx(float(1 - Fraction(comb(n - c, k), comb(n, k))), abs=1e-9)
    assert pass_hat_k(n, c, k) == pytest.approx(float(Fraction(comb(c, k), comb(n, k))), abs=1e-9)


def test_pass_at_k_is_unbiased() -> None:
    p, n, k = 0.3, 7, 4
    expected = sum(comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert expected == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


@pytest.mark.parametrize("arguments", [(4, 5, 1), (4, 2, 5), (4, 2, 0), (0, 0, 1), (4, -1, 1)])
def test_counts_that_cannot_be_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="expected 0 <= c <= n"):
        pass_at_k(*arguments)
    with pytest.raises(ConfigError, match="expected 0 <= c <= n"):
        pass_hat_k(*arguments)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500), st.data())
def test_wilson_contains_the_share_and_is_symmetric(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = wilson(successes, n)
    assert 0.0 <= low <= successes / n <= high <= 1.0
    assert wilson(n - successes, n) == pytest.approx((1.0 - high, 1.0 - low), abs=1e-12)


def test_wilson_refuses_an_empty_sample() -> None:
    with pytest.raises(ConfigError, match="n >= 1"):
        wilson(0, 0)


def test_bootstrap_of_independent_values_has_the_normal_width() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    low, high = cluster_bootstrap(values, np.ones(400), np.random.default_rng(1), resamples=4000)
    half = 1.96 * values.std() / 20.0
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_copies_of_a_sample_make_the_interval_no_narrower() -> None:
    values = np.random.default_rng(0).integers(0, 2, size=60).astype(np.float64)
    once = cluster_bootstrap(values, np.ones(60), np.random.default_rng(1))
    eightfold = cluster_bootstrap(values * 8, np.full(60, 8.0), np.random.default_rng(1))
    assert once == eightfold


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    # Tasks differ (their success rates are uniform) and have 4 samples each; an interval over samples would cover about 80 %.
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(200):
        right = rng.binomial(4, rng.random(50))
        low, high = cluster_bootstrap(right, np.full(50, 4.0), rng, resamples=400)
        covered += low <= 0.5 <= high
    assert 178 <= covered <= 199


def test_bootstrap_in_chunks_weighs_tasks_by_their_samples() -> None:
    low, high = cluster_bootstrap([3.0, 0.0], [3.0, 1.0], np.random.default_rng(0))
    assert (low, high) == (0.0, 1.0)
    estimate = ratio([3.0, 0.0], [3.0, 1.0], np.random.default_rng(0))
    assert (estimate.mean, estimate.n, estimate.method) == (0.75, 2, "bootstrap")
    many = cluster_bootstrap(np.arange(5000.0) % 2, np.ones(5000), np.random.default_rng(0), resamples=1700)
    assert many == pytest.approx(wilson(2500, 5000), abs=2e-3)


def test_bootstrap_refuses_what_it_cannot_resample() -> None:
    with pytest.raises(ShapeError, match="N >= 1"):
        cluster_bootstrap([], [], np.random.default_rng(0))
    with pytest.raises(ShapeError, match="equal shapes"):
        cluster_bootstrap([1.0], [1.0, 1.0], np.random.default_rng(0))
    with pytest.raises(ConfigError, match="without samples"):
        cluster_bootstrap([1.0, 0.0], [1.0, 0.0], np.random.default_rng(0))


def test_a_proportion_never_claims_certainty() -> None:
    rng = np.random.default_rng(0)
    assert proportion([1] * 20, [1] * 20, rng).method == "wilson"
    all_right = proportion([4] * 20, [4] * 20, rng)
    assert (all_right.mean, all_right.high, all_right.method) == (1.0, 1.0, "wilson")
    assert all_right.low == pytest.approx(1 - 0.1611, abs=1e-3)  # 20 tasks, not 80 samples
    mixed = proportion([4, 0, 2, 1] * 5, [4] * 20, rng)
    assert mixed.method == "bootstrap" and mixed.low < mixed.mean == 7 / 16 < mixed.high
