"""Estimates from samples, with honest intervals. Pure functions; randomness is a generator that is passed in.

The unit of chance is the task: several samples of one task are not independent, so intervals resample whole tasks
(cluster bootstrap). Where every task has one sample and the value is right or wrong, the Wilson interval is used instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnwise.errors import ConfigError, ShapeError

__all__ = ["Estimate", "cluster_bootstrap", "pass_at_k", "pass_hat_k", "proportion", "ratio", "wilson"]

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""
_CHUNK = 4_000_000
"""Resampled counts held at once."""

Vector = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval. `n` independent units (tasks) stand behind it."""

    mean: float
    low: float
    high: float
    n: int
    method: str
    """"wilson" or "bootstrap": where the interval comes from."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of k samples is right, unbiased, from n samples of which c were right.

    1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv:2107.03374, eq. 1) as a product of ratios, so that nothing overflows.
    Raises ConfigError unless 0 <= c <= n and 1 <= k <= n.
    """
    _check_counts(n, c, k, "pass@k")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def pass_hat_k(n: int, c: int, k: int) -> float:
    """Chance that all of k samples are right, unbiased: C(c, k) / C(n, k) ("pass^k", Yao et al. 2024, arXiv:2406.12045).

    Raises ConfigError unless 0 <= c <= n and 1 <= k <= n.
    """
    _check_counts(n, c, k, "pass^k")
    return math.prod((c - i) / (n - i) for i in range(k)) if c >= k else 0.0


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """(low, high) of the score interval of a proportion (Wilson 1927). Sensible at 0 and at n successes too.

    Raises ConfigError unless 0 <= successes <= n and n >= 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ConfigError(f"wilson: expected 0 <= successes <= n and n >= 1, got successes={successes}, n={n}.")
    p, zz = successes / n, z * z
    centre = (p + zz / (2 * n)) / (1 + zz / n)
    half = z / (1 + zz / n) * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    # At the ends the formula gives exactly 0 and 1, but for rounding.
    return (0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def cluster_bootstrap(
    totals: Vector, counts: Vector, rng: np.random.Generator, *, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """(low, high) percentile interval of sum(totals) / sum(counts), whole tasks drawn with replacement.

    `totals` [N] is the sum of a value over a task's samples, `counts` [N] > 0 how many there were. Percentile bootstrap
    (Efron and Tibshirani 1993, chapter 13); needs some tens of tasks to mean much, and is of no width where all tasks agree.
    """
    total, count = np.asarray(totals, np.float64), np.asarray(counts, np.float64)
    if total.ndim != 1 or total.shape != count.shape or not len(total):
        raise ShapeError(f"cluster_bootstrap: expected two equal shapes [N], N >= 1, got {total.shape} and {count.shape}.")
    if not (count > 0).all():
        raise ConfigError("cluster_bootstrap: a task without samples has no place here; leave it out.")
    n = len(total)
    means: list[NDArray[np.float64]] = []
    for start in range(0, resamples, max(1, _CHUNK // n)):
        rows = min(max(1, _CHUNK // n), resamples - start)
        drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=rows)
        means.append((drawn @ total) / (drawn @ count))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail])
    return float(low), float(high)


def ratio(totals: Vector, counts: Vector, rng: np.random.Generator) -> Estimate:
    """The mean over all samples of all tasks with a cluster-bootstrap interval; arguments as in `cluster_bootstrap`."""
    low, high = cluster_bootstrap(totals, counts, rng)
    return Estimate(float(np.sum(totals) / np.sum(counts)), low, high, len(totals), "bootstrap")


def proportion(right: Sequence[int], counts: Sequence[int], rng: np.random.Generator) -> Estimate:
    """The share of right samples; `right` [N] of `counts` [N] samples of each task.

    One sample a task: Wilson. More: cluster bootstrap, except that Wilson over the N tasks is used where all samples agree,
    since the bootstrap would then claim certainty.
    """
    share = sum(right) / sum(counts)
    if max(counts) > 1 and 0.0 < share < 1.0:
        return ratio(right, counts, rng)
    low, high = wilson(round(share * len(counts)), len(counts))
    return Estimate(share, low, high, len(counts), "wilson")


def _check_counts(n: int, c: int, k: int, what: str) -> None:
    if not (0 <= c <= n and 1 <= k <= n):
        raise ConfigError(f"{what}: expected 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}.")
