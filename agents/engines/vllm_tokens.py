"""Between our records and vLLM's: sampling parameters out, log-probabilities and entropies back. Pure, and without vLLM.

vLLM reports the most likely K tokens, not the whole distribution, so an entropy is known up to a bound. With p_K the least of the
K and r the mass beyond them, what is beyond contributes at least -r ln p_K (no token there is more likely) and at most
-r ln(r / (V - K)) (all alike). We report the middle, and half the distance as the bound; with K = V the bound is 0. A mass below
1e-6 is taken for rounding (at most 3e-5 nats).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from turnwise.agents.engine import Sampling

_NEVER = -9000.0  # what HTTP says for minus infinity is -9999

__all__ = ["Adapter", "Entropies", "Place", "Served", "entropies", "sampling_arguments", "scoring_arguments", "token_versions"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in a folder, as peft writes it."""

    name: str
    number: int
    """From 1, of its own."""
    path: str


@dataclass(frozen=True, slots=True)
class Place:
    """Which weights a request is for, and what of the cache it may use."""

    salt: str | None
    """Only requests with the same salt share keys and values."""
    session: str | None
    adapter: Adapter | None


@dataclass(frozen=True, slots=True)
class Served:
    """A reply as it comes from vLLM, in-process or over HTTP. A tokens."""

    ids: tuple[int, ...]
    candidates: tuple[tuple[float, ...], ...]
    """[A][1 + K] log-probabilities: the sampled token's, then those of the most likely token, the second, ..., the K-th."""
    finish: str
    spans: tuple[tuple[str, int, int], ...]
    """(label, start, end) of the weights that sampled ids[start:end]."""
    cached: int = 0
    """Prompt tokens whose keys and values were there."""


@dataclass(frozen=True, slots=True)
class Entropies:
    values: tuple[float, ...]
    """[A] nats."""
    bound: float
    """The true entropies lie within this distance, in nats."""


def sampling_arguments(sampling: Sampling, room: int, top: int) -> dict[str, Any]:
    """Fields of vLLM's SamplingParams. `room` is what the context window leaves, `top` the candidates wanted (-1: all)."""
    return {
        "max_tokens": min(sampling.max_tokens, room),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or 0,
        "stop_token_ids": list(sampling.stop_ids),
        "ignore_eos": True,  # what stops is what the caller names, not what a model's files say
        "seed": sampling.seed & 0x7FFFFFFFFFFFFFFF,
        "logprobs": top,
        "detokenize": False,
    }


def scoring_arguments() -> dict[str, Any]:
    """Fields of SamplingParams that give the log-probability of every prompt token."""
    return {"max_tokens": 1, "temperature": 1.0, "prompt_logprobs": 0, "ignore_eos": True, "detokenize": False}


def entropies(candidates: Sequence[Sequence[float]], vocabulary: int) -> Entropies:
    """Of the distributions whose most likely log-probabilities are `candidates[a][1:]` (the sampled token's own comes first)."""
    values: list[float] = []
    bound = 0.0
    for row in candidates:
        logs = np.asarray(row[1:], dtype=np.float64)
        logs = logs[logs > _NEVER]
        mass = np.exp(logs)
        known = float(-(mass * logs).sum())
        rest, others = max(0.0, 1.0 - float(mass.sum())), vocabulary - len(logs)
        if others <= 0 or rest < 1e-6:  # all seen, or the rest was cut off by top_p or top_k
            values.append(known)
            continue
        low = -rest * float(logs.min())
        high = max(low, -rest * math.log(rest / others))
        values.append(known + (low + high) / 2)
        bound = max(bound, (high - low) / 2)
    return Entropies(tuple(values), bound)


def token_versions(spans: Sequence[tuple[str, int, int]], count: int, names: dict[str, int]) -> tuple[int, ...] | None:
    """[count] version of the weights that sampled each token. None if a span names weights that are not ours."""
    out = [0] * count
    for name, start, end in spans:
        if name not in names:
            return None
        out[start:end] = [names[name]] * (min(end, count) - start)
    return tuple(out)
