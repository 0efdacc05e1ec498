"""When rollouts happen: in turn with learning, or ahead of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from turnwise.errors import ConfigError

__all__ = ["Asynchronous", "LockStep", "Schedule"]

T = TypeVar("T")


class Schedule(Protocol):
    """How rollouts and learning share the time."""

    @property
    def eta(self) -> int:
        """Most versions that a sampled group may be behind the weights it teaches; see `trainers.admission`."""
        ...

    @property
    def drain(self) -> bool:
        """Whether a checkpoint waits for the rollouts in flight, and holds them whole."""
        ...

    @property
    def tune(self) -> bool:
        """Whether the number of episodes in flight is found by AIMD."""
        ...

    @property
    def overlaps(self) -> bool:
        """Whether the engine samples while the learner changes its weights, and so needs weights of its own."""
        ...

    async def carry_out(self, work: Callable[[], T]) -> T:
        """Do the learner's part of a step."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LockStep:
    """Roll out, learn, roll out: every token is sampled with the weights it then changes."""

    @property
    def eta(self) -> int:
        return 0

    @property
    def drain(self) -> bool:
        return False

    @property
    def tune(self) -> bool:
        return False

    @property
    def overlaps(self) -> bool:
        return False

    async def carry_out(self, work: Callable[[], T]) -> T:
        return work()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asynchronous:
    """Rollouts go on while the learner learns, at most `eta` versions behind; pair it with a correction such as `tis`."""

    eta: int = 1
    """0 is bitwise the lock-step run; each further one lets one more batch be in flight."""
    learner: Literal["thread", "ticks"] = "thread"
    """"thread" learns beside the engine; "ticks" between two of its forward passes: with environments that are `inline` such a
    run has no timing in it, and is the same every time."""
    drain: bool = False
    """A checkpoint waits for the rollouts in flight, and holds them whole: a resumed run has lost no work. Else they are
    begun anew, from the same tasks and seeds."""
    tune: bool = False
    """Find the number of episodes in flight by AIMD (`trainers.concurrency`), up to the recipe's `concurrency`."""

    def __post_init__(self) -> None:
        if self.eta < 0:
            raise ConfigError(f"schedule.eta: must not be negative, got {self.eta}.")

    @property
    def overlaps(self) -> bool:
        return self.learner == "thread"

    async def carry_out(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work) if self.overlaps else work()
