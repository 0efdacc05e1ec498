"""Who may come in: bounded capacity, and a bounded, fair queue before it.

First come, first served within a run; runs take turns. The head of the line is never overtaken, so what needs much is not starved
by what needs little.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turnwise.errors import ConfigError
from turnwise.tool_servers.wire import Kind, Refusal

__all__ = ["Capacity", "Gate", "memory_mb"]


_OVERCOMMIT = 4.0
"""Sessions rarely use what they may; the kernel holds each to its own limit, and when the machine's memory runs out it ends the
code of sessions before anything else."""


def _memory() -> float:
    return 0.8 * memory_mb() * _OVERCOMMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a server takes on."""

    sessions: int = 1024
    calls: int = 4 * (os.cpu_count() or 1)
    """Calls that run at one time."""
    memory_mb: float = field(default_factory=_memory)
    """Sum of the memory limits of open sessions (default: four times 80 % of the machine)."""
    queue_s: float = 10.0
    """Longest wait for a place; then the client is told to come again."""
    orphan_s: float = 1.0
    """Seconds that the sessions of a client outlive its connection."""
    grace_s: float = 5.0
    """Seconds that running calls get when the server is told to stop."""


@dataclass(eq=False, frozen=True, slots=True)
class _Waiter:
    need: tuple[float, ...]
    admitted: asyncio.Future[None]


class Gate:
    """Admits as long as every sum of needs stays within `capacity`, one number per resource."""

    def __init__(self, what: str, capacity: Sequence[float], *, max_waiting: int = 4096) -> None:
        """`what` is what passes the gate, for messages."""
        self.what, self.capacity, self.max_waiting = what, tuple(capacity), max_waiting
        self.used = [0.0] * len(self.capacity)
        self.waiting = 0
        self._lines: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    async def enter(self, need: tuple[float, ...], run: str, within_s: float) -> None:
        """Come in, after at most `within_s` in the queue. Raises Refusal(BUSY), or ConfigError for what can never fit."""
        if any(n > c for n, c in zip(need, self.capacity, strict=True)):
            raise ConfigError(f"{self.what}: this one needs {need}, the server has {self.capacity} in all; ask for less.")
        if not self.waiting and self._fits(need):
            self._take(need)
            return
        if self.waiting >= self.max_waiting:
            raise Refusal(Kind.BUSY, f"{self.what}: {self.waiting} wait already", retriable=True)
        waiter = _Waiter(need, asyncio.get_running_loop().create_future())
        self._lines.setdefault(run, deque()).append(waiter)
        self.waiting += 1
        try:
            async with asyncio.timeout(within_s):
                await waiter.admitted
        except BaseException as error:
            self._gave_up(waiter, run)
            if isinstance(error, TimeoutError):
                raise Refusal(Kind.BUSY, f"{self.what}: no room within {within_s:g} s", retriable=True) from None
            raise

    def leave(self, need: tuple[float, ...]) -> None:
        """Make room for the next."""
        for i, n in enumerate(need):
            self.used[i] -= n
        self._admit()

    def _fits(self, need: tuple[float, ...]) -> bool:
        return all(u + n <= c for u, n, c in zip(self.used, need, self.capacity, strict=True))

    def _take(self, need: tuple[float, ...]) -> None:
        for i, n in enumerate(need):
            self.used[i] += n

    def _admit(self) -> None:
        while self._lines:
            run, line = next(iter(self._lines.items()))
            if not line[0].admitted.done() and not self._fits(line[0].need):
                return
            waiter = line.popleft()
            self.waiting -= 1
            self._turn_over(run)
            if not waiter.admitted.done():  # else it was cancelled a moment ago
                self._take(waiter.need)
                waiter.admitted.set_result(None)

    def _turn_over(self, run: str) -> None:
        """The next run's turn."""
        if self._lines[run]:
            self._lines.move_to_end(run)
        else:
            del self._lines[run]

    def _gave_up(self, waiter: _Waiter, run: str) -> None:
        if waiter.admitted.done() and not waiter.admitted.cancelled():
            self.leave(waiter.need)  # let in at the very moment it gave up
        elif waiter in (line := self._lines.get(run, deque[_Waiter]())):
            line.remove(waiter)
            self.waiting -= 1
            if not line:
                del self._lines[run]
            self._admit()


def memory_mb() -> int:
    """MB of this machine, or of the control group that bounds us, if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(file).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            total = min(total, int(text))
    return total // (1024 * 1024)
