"""The watchdog: it knows who waits for what, says so when nothing happens, and ends a run that would wait for ever."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from turnwise.agents.episode import Episode, Problem
from turnwise.errors import InfraError

__all__ = ["Watch"]

_LOOKS = 4  # a minute

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Wait:
    what: str
    env_id: str
    task: str
    since: float


class Watch:
    """Waits are noted by `waiting`; each that ends is progress. `guard` runs beside the rollouts."""

    def __init__(
        self,
        *,
        warn_s: float = 120.0,
        stall_s: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        """Without any progress for `warn_s` seconds it says what is waited for (and again each time as long), after `stall_s`
        it gives up. Every call of an environment has a deadline; an engine that hangs is found here."""
        self.warn_s, self.stall_s, self._clock, self._say = warn_s, stall_s, clock, say
        self._waits: set[_Wait] = set()
        self._idle = self._warned = 0.0
        self._guards: list[object] = []

    @contextmanager
    def waiting(self, what: str, who: Episode | Problem) -> Generator[None]:
        """`what` as in "the step of an environment"; `who` is a problem as long as there is no episode."""
        of, task = (who.problem, who.task.id) if isinstance(who, Episode) else (who, f"{who.env_id}:{who.seed}")
        wait = _Wait(what, of.env_id, task, self._clock())
        self._waits.add(wait)
        try:
            yield
        finally:
            self._waits.remove(wait)
            self._idle = self._warned = 0.0

    def report(self, most: int = 5) -> str:
        """Who waits, the longest first."""
        waits = sorted(self._waits, key=lambda wait: wait.since)
        rows = [f"{w.env_id} {w.task}: {w.what}, for {self._clock() - w.since:.1f} s" for w in waits[:most]]
        more = [f"and {len(waits) - most} more"] if len(waits) > most else []
        return "; ".join([*rows, *more]) or "no episode at all"

    async def guard(self) -> None:
        """Runs until it is cancelled. Raises InfraError("stalled") that says what was waited for.

        Time is counted by its own sleeps: while the program itself is busy with something else, nobody is late. Batches that are
        rolled out together have a guard each; the first one counts.
        """
        look = min(self.warn_s, self.stall_s, 60.0) / _LOOKS
        me = object()
        self._guards.append(me)
        try:
            while True:
                await asyncio.sleep(look)
                if self._guards[0] is me:
                    self._late(look)
        finally:
            self._guards.remove(me)

    def _late(self, seconds: float) -> None:
        """Nothing moved for so much longer."""
        self._idle += seconds
        if self._idle >= self.stall_s:
            raise InfraError("stalled", f"no rollout moved for {self.stall_s:g} s. Waiting for: {self.report()}.")
        if self._idle - self._warned >= self.warn_s:
            self._warned = self._idle
            self._say(f"no rollout moved for {self._idle:g} s; waiting for: {self.report()}")
