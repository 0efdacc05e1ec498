"""The seam to inference: token ids in; ids, log-probabilities and entropies out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Capabilities", "Completion", "Engine", "Load", "Sampling"]


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
