"""How many episodes to keep in flight: additive increase, multiplicative decrease, on what the engine says of itself.

A pure state machine: `AIMD` holds the parameters, `Cap` the state, `observe` makes one from another. It is asked once for each
episode that ends. (The rules are those of prime-rl's orchestrator, with the additive growth of TCP in place of its factor.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from turnwise.agents.engine import Load
from turnwise.errors import ConfigError

__all__ = ["AIMD", "Cap", "Tuner"]


@dataclass(frozen=True, slots=True)
class Cap:
    """The state: a value."""

    size: float
    """Episodes that may be in flight; whole ones count."""
    queued: int = 0
    """Observations in a row with requests waiting."""
    frozen: bool = False
    """After a cut nothing changes until the episodes beyond it are over: what is seen before is not yet its effect."""
    preempted: int = 0
    """Preemptions seen so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AIMD:
    """Grow while there is room and the cap is what holds back; cut when the engine is full, queues or preempts."""

    most: int = 256
    least: int = 8
    step: float = 8.0
    """Episodes by which the cap grows while as many end as are in flight."""
    cut: float = 0.8
    low: float = 0.6
    """Grow below this share of the engine's memory."""
    high: float = 0.9
    """Cut above this one."""
    binding: float = 0.9
    """Grow only while that share of the cap is used: a cap that nobody reaches says nothing."""
    patience: int = 6
    """Observations in a row with a queue that are needed for a cut: a short queue is what keeps an engine busy."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ConfigError(f"concurrency: expected 1 <= least <= most, got {self.least} and {self.most}.")

    def start(self) -> Cap:
        return Cap(float(min(self.most, max(self.least, self.most // 4))))

    def observe(self, cap: Cap, inflight: int, load: Load) -> Cap:
        """The state after an episode ended, with `inflight` others going on."""
        seen = replace(cap, queued=cap.queued + 1 if load.waiting else 0, preempted=load.preempted)
        if cap.frozen:
            return replace(seen, queued=0, frozen=inflight > cap.size)
        if load.preempted > cap.preempted or load.usage > self.high or seen.queued >= self.patience:
            return replace(seen, size=max(float(self.least), cap.size * self.cut), queued=0, frozen=True)
        if load.usage < self.low and inflight >= self.binding * int(cap.size):
            return replace(seen, size=min(float(self.most), cap.size + self.step / max(1, inflight)))
        return seen


class Tuner:
    """The state machine with its state, for a pool: called with the episodes in flight when one ends, it says the cap."""

    def __init__(self, control: AIMD, load: Callable[[], Load]) -> None:
        self.control, self.load, self.cap = control, load, control.start()

    @property
    def size(self) -> int:
        return int(self.cap.size)

    def __call__(self, inflight: int) -> int:
        self.cap = self.control.observe(self.cap, inflight, self.load())
        return self.size
