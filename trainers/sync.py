"""New weights to the engine, and the proof that they arrived.

An engine that samples with other weights than the trainer believes looks healthy and learns nonsense: packed copies that are not
refreshed, a cache of old keys, a name that is loaded nowhere. So after every sync the engine scores a probe text and so does the
trainer; where they differ, and now and then anyway, all tensors are compared, and the run stops with the names of those that do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from turnwise.errors import ConfigError, EngineFailure
from turnwise.trainers.engines.protocol import PolicyEngine, scored_by_each
from turnwise.trainers.learner import Learner

__all__ = ["Probe", "Synced", "sync"]

_NAMED = 8  # most tensors that the message names
_SMALL = 2**26  # bytes of weights that are compared at every sync


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How the weights of engine and trainer are compared."""

    tokens: int = 32
    """Length of the probe text; 0 never compares."""
    tolerance: float | None = None
    """Largest difference of a token's log-probability, in nats. Left out, 0.01 (float32 stays below 1e-4), and 0.5 where
    weights are narrower than float32: there two right computations differ by rounding."""
    tensors_every: int | None = None
    """Syncs between two comparisons of all tensors, the first included; 0 is only where the probe differs. Left out, 1 for
    weights of up to 64 MiB, where it costs next to nothing and finds what moves no log-probability that can be seen; 50 above."""

    def __post_init__(self) -> None:
        if self.tokens and self.tokens < 2:
            raise ConfigError(f"probe.tokens: expected 0, or 2 and more, got {self.tokens}.")
        if self.tolerance is not None and self.tolerance <= 0:
            raise ConfigError(f"probe.tolerance: must be above 0, got {self.tolerance}.")
        if self.tensors_every is not None and self.tensors_every < 0:
            raise ConfigError(f"probe.tensors_every: must not be negative, got {self.tensors_every}.")

    def bound(self, weights: Mapping[str, Any]) -> float:
        """The tolerance for weights of these dtypes."""
        narrow = any(torch.promote_types(w.dtype, torch.float32) != w.dtype for w in weights.values() if w.is_floating_point())
        return self.tolerance if self.tolerance is not None else 0.5 if narrow else 0.01

    def due(self, weights: Mapping[str, Any], version: int) -> bool:
        """Whether all tensors that travelled are compared at the sync of that version."""
        small = sum(w.numel() * w.element_size() for w in weights.values()) <= _SMALL
        every = self.tensors_every if self.tensors_every is not None else 1 if small else 50
        return every > 0 and version % every == 1 % every

    def ids(self, vocabulary: int) -> list[int]:
        """The probe text: the same for every sync and run."""
        return [int(i) for i in np.random.default_rng(0).integers(vocabulary, size=self.tokens)]


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync found and cost."""

    metrics: dict[str, float]
    """Bytes that left the trainer, and the probe's largest difference."""
    seconds: dict[str, float]
    """In all, and of these with no token sampled; they do not replay, so they are no metrics."""


async def sync(engine: PolicyEngine, learner: Learner, probe: Probe) -> Synced:
    """Give the engine the learner's weights and make sure that it has them.

    Raises EngineFailure("weights") with the names of tensors that differ.
    """
    started = time.perf_counter()
    weights = learner.weights()
    await engine.update_weights(weights, learner.version)
    size, paused = engine.sync_cost
    seconds = {"sync": time.perf_counter() - started, "sync_paused": paused}
    metrics = {"sync/bytes": float(size)}
    if not probe.tokens:
        return Synced(metrics, seconds)
    ids = probe.ids(learner.vocabulary)
    there = await scored_by_each(engine, ids[:1], ids[1:])
    worst = float(np.max(np.abs(np.subtract(there, learner.score(ids)))))
    bound = probe.bound(weights)
    wrong = not worst <= bound  # a nan differs
    moved = {name: tensor for name, tensor in weights.items() if ".lora_" in name} or weights
    if wrong or probe.due(moved, learner.version):
        names = await engine.differing(weights if wrong else moved)
        if names or wrong:
            raise EngineFailure("weights", _says(names, worst, bound, learner.version))
    return Synced(metrics | {"sync/probe_difference": worst}, seconds)


def _says(names: list[str], worst: float, tolerance: float, version: int) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    which = f"these tensors differ: {', '.join(names[:_NAMED])}{more}" if names else "no tensor does: they compute differently"
    return (
        f"after the sync of version {version} engine and trainer differ by {worst:.2g} nats on the probe text, of at most "
        f"{tolerance:g}; {which}. Samples of such an engine teach nothing. Rounding (bfloat16) bears a larger probe.tolerance."
    )
