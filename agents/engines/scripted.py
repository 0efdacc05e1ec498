"""An engine that says what it was told to: for tests of everything that stands on an engine, yours included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnwise.agents.engine import Capabilities, Completion, Sampling
from turnwise.errors import ConfigError, EngineFailure

__all__ = ["Call", "Script", "ScriptedEngine", "scripted_entropy", "scripted_logprob"]

Script = Callable[[Sequence[int], int], Sequence[int]]
"""(conversation so far, seed) -> reply. It may raise EngineFailure, as a real engine would."""


def scripted_logprob(token: int) -> float:
    """The log-probability that every scripted token gets, nats: exact in float32, and different for neighbouring ids."""
    return -(1 + token % 8) / 8


def scripted_entropy(token: int) -> float:
    """The entropy that goes with it, nats."""
    return (1 + token % 4) / 4


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in."""

    ids: tuple[int, ...]
    sampling: Sampling
    session: str | None


class ScriptedEngine:
    """See `turnwise.agents.engine.Engine`. Needs no model; a reply ends at its first stop id or at `max_tokens`."""

    def __init__(self, replies: Script | Sequence[Sequence[int]], *, context_window: int = 1_000_000) -> None:
        """`replies`: a function of conversation and seed, or one reply for each call (EngineFailure after the last)."""
        self._replies = replies
        self._window = context_window
        self._version = 0
        self.calls: list[Call] = []
        """Every request to `generate` so far."""
        self.released: list[str] = []
        self.forks: list[tuple[str, str]] = []

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(tokens=True, score=True, update_weights=True, context_window=self._window)

    async def generate(self, ids: Sequence[int], sampling: Sampling, session: str | None = None) -> Completion:
        if not 0 < len(ids) < self._window:
            raise ConfigError(f"generate: expected 1 to {self._window - 1} prompt tokens, got {len(ids)}.")
        self.calls.append(Call(tuple(ids), sampling, session))
        reply = self._reply(ids, sampling.seed)
        stop = next((i + 1 for i, token in enumerate(reply) if token in sampling.stop_ids), len(reply))
        said = tuple(reply[: min(stop, sampling.max_tokens, self._window - len(ids))])
        if not said:
            raise EngineFailure("script", f"the reply to call {len(self.calls)} is empty; an engine samples at least one token")
        return Completion(
            said,
            tuple(map(scripted_logprob, said)),
            tuple(map(scripted_entropy, said)),
            "stop" if said[-1] in sampling.stop_ids else "length",
            self._version,
        )

    def _reply(self, ids: Sequence[int], seed: int) -> Sequence[int]:
        if callable(self._replies):
            return self._replies(ids, seed)
        if len(self.calls) > len(self._replies):
            raise EngineFailure("script", f"{len(self._replies)} replies were scripted, and this is call {len(self.calls)}")
        return self._replies[len(self.calls) - 1]

    async def score(self, ids: Sequence[int], targets: Sequence[int]) -> list[float]:
        return [scripted_logprob(token) for token in targets]

    async def update_weights(self, weights: Mapping[str, Any], version: int) -> None:
        self._version = version

    def refresh(self, version: int) -> None:
        """As `TorchEngine.refresh`: only the version changes."""
        self._version = version

    def release(self, session: str) -> None:
        self.released.append(session)

    def fork(self, session: str, twin: str) -> None:
        self.forks.append((session, twin))

    async def close(self) -> None:
        """Nothing to give back."""
