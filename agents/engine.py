"""The seam to inference: token ids in; ids, log-probabilities and entropies out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from turnwise.errors import EngineFailure

__all__ = ["Capabilities", "Completion", "Engine", "Load", "Sampling", "checked"]

_ROUNDING = 1e-4  # a certain token's log-probability, summed up in float32, may come out just above 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw a reply."""

    max_tokens: int
    temperature: float = 1.0
    """0 is greedy: the log-probability of each greedy token is then reported at temperature 1."""
    top_p: float = 1.0
    top_k: int = 0
    """0 is no limit."""
    stop_ids: tuple[int, ...] = ()
    """Sampling ends with the first of these; it is part of the completion, with its log-probability."""
    seed: int = 0
    """Equal seed, prompt, weights and batch history give equal tokens; sequences never share a generator."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A sampled reply. A ids."""

    ids: tuple[int, ...]
    """[A] as sampled, the stop token included if one was drawn."""
    logprobs: tuple[float, ...]
    """[A] nats, under the distribution that was sampled from (temperature, top_p and top_k applied)."""
    entropies: tuple[float, ...]
    """[A] nats, of that same distribution."""
    stop_reason: str
    """"stop" (a stop id was drawn) or "length" (max_tokens or the context window)."""
    version: int
    """Of the weights; the lowest if they changed on the way."""
    versions: tuple[int, ...] = ()
    """[A] of the weights that each id was sampled with, where they changed on the way; else empty."""


def checked(done: Completion, sampling: Sampling) -> Completion:
    """A completion that can be trained on. Raises EngineFailure("nonsense") for any other: it costs the one episode, and never
    reaches a batch, where a nan or a row that is one token short would spoil all of them."""
    count = len(done.ids)
    if not 1 <= count <= sampling.max_tokens:
        raise _nonsense(f"{count} ids, expected 1 to {sampling.max_tokens}")
    for name, given in (("log-probabilities", done.logprobs), ("entropies", done.entropies), ("versions", done.versions)):
        if len(given) != count and (given or given is done.logprobs):
            raise _nonsense(f"{count} ids and {len(given)} {name}")
    if wrong := [p for p in done.logprobs if not -math.inf < p <= _ROUNDING]:
        raise _nonsense(f"a log-probability of {wrong[0]}")
    if not all(map(math.isfinite, done.entropies)):
        raise _nonsense("an entropy that is not finite")
    if done.stop_reason not in ("stop", "length"):
        raise _nonsense(f"the stop reason {done.stop_reason!r}, expected 'stop' or 'length'")
    if done.stop_reason == "stop" and done.ids[-1] not in sampling.stop_ids:
        raise _nonsense(f"a reply that stopped by itself at {done.ids[-1]}, which is none of the stop ids")
    return done


def _nonsense(got: str) -> EngineFailure:
    return EngineFailure("nonsense", f"the engine answered with {got}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a back end can do. Who needs more refuses at start (`turnwise.errors.Unsupported`)."""

    tokens: bool
    """Takes and gives token ids, with log-probabilities and entropies; False for chat APIs, which are for evaluation only."""
    score: bool
    update_weights: bool
    context_window: int
    """Most tokens of one conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy an engine is; who can say so has a property `load`."""

    usage: float
    """Share of its room for sequences or their caches that is taken, in [0, 1]."""
    waiting: int
    """Requests that have not begun."""
    preempted: int = 0
    """Sequences thrown out for want of memory, since the engine was made."""


class Engine(Protocol):
    """An inference back end. All methods may be called concurrently from one event loop."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def generate(self, ids: Sequence[int], sampling: Sampling, session: str | None = None) -> Completion:
        """Continue `ids` ([T], the whole conversation). Calls with one `session` name share one KV cache.

        Raises EngineFailure if the back end breaks, ConfigError for an empty prompt or one beyond the context window.
        """
        ...

    async def score(self, ids: Sequence[int], targets: Sequence[int]) -> list[float]:
        """[len(targets)] log-probability (temperature 1, nats) of each target, teacher-forced after `ids`."""
        ...

    async def update_weights(self, weights: Mapping[str, Any], version: int) -> None:
        """Take new weights, named as in the model's state dict. Caches of the old weights are dropped."""
        ...

    def release(self, session: str) -> None:
        """Forget a conversation's cache. Unknown names are fine."""
        ...

    def fork(self, session: str, twin: str) -> None:
        """Let `twin` start from the cache of `session`. Unknown names are fine (the prefix is computed again)."""
        ...

    async def close(self) -> None: ...
