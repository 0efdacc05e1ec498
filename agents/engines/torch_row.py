"""One request to the torch engine, from waiting to done."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from turnwise.agents.engine import Completion, Sampling

__all__ = ["Row"]

_UNIFORMS = 64  # random numbers are drawn from a sequence's generator in chunks of this size


@dataclass(slots=True, eq=False)
class Row:
    """A request: waiting, then in the batch, then done."""

    ids: list[int]
    """Prompt, then what was sampled."""
    prompt_ids: np.ndarray[Any, np.dtype[np.int64]]
    limit: int
    """Most tokens of prompt and completion."""
    sampling: Sampling
    session: str | None
    future: asyncio.Future[Completion]
    length: int = 0
    """Tokens whose keys and values are in the cache."""
    version: int = 0
    changes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(tokens sampled before, version) of weights that came while it was in the batch."""
    epoch: int = -1
    stop_reason: str = ""
    logprobs: list[float] = field(default_factory=list[float])
    entropies: list[float] = field(default_factory=list[float])
    _generator: torch.Generator | None = None
    _uniforms: list[float] = field(default_factory=list[float])

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return len(self.prompt_ids)

    def uniform(self) -> float:
        """The next random number of this sequence; 0 for greedy ones, which need none."""
        if not self._uniforms:
            if self.sampling.temperature == 0:
                return 0.0
            if self._generator is None:
                self._generator = torch.Generator().manual_seed(self.sampling.seed)
            self._uniforms = torch.rand(_UNIFORMS, generator=self._generator, dtype=torch.float64).tolist()
        return self._uniforms.pop()

    def take(self, token: int, logprob: float, entropy: float) -> bool:
        """Append a sampled token; whether it was the last one."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        self.entropies.append(entropy)
        if token in self.sampling.stop_ids:
            self.stop_reason = "stop"
        elif len(self.ids) >= self.limit:
            self.stop_reason = "length"
        return bool(self.stop_reason)

    def completion(self) -> Completion:
        ids = tuple(self.ids[self.prompt :])
        logprobs, entropies = tuple(self.logprobs), tuple(self.entropies)
        return Completion(ids, logprobs, entropies, self.stop_reason, self.version, self.versions())

    def versions(self) -> tuple[int, ...]:
        """[A] weights of each sampled token; empty if they did not change on the way."""
        edges = [(0, self.version), *self.changes, (len(self.logprobs), 0)]
        mixed = tuple(v for (start, v), (end, _) in pairwise(edges) for _ in range(start, end))
        return mixed if len(set(mixed)) > 1 else ()
