"""Containers that wait for their one session, so that nobody waits for one: a start costs a fifth of a CPU second."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar

from turnwise.errors import SandboxFailure

__all__ = ["Pool", "Waiting"]


class Waiting(Protocol):
    """What can stand in a pool."""

    @property
    def alive(self) -> bool: ...

    async def close(self) -> None: ...


Shape = TypeVar("Shape", bound=Hashable)
Item = TypeVar("Item", bound=Waiting)


class Pool(Generic[Shape, Item]):
    """Up to `target` items for each of the shapes asked for last. An item is given away once and never comes back."""

    def __init__(self, start: Callable[[Shape], Awaitable[Item]], target: int, *, parallel: int = 4, shapes: int = 4) -> None:
        """`parallel` items at most are started at one time: more only wait inside the engine. `shapes` are remembered."""
        self._start_one = start
        self._target = target
        self._room = asyncio.Semaphore(parallel)
        self._shapes = shapes
        self._idle: dict[Shape, deque[Item]] = {}
        self._coming: dict[Shape, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def ready(self, shape: Shape) -> int:
        """How many of that shape wait."""
        return sum(item.alive for item in self._idle.get(shape, ()))

    async def take(self, shape: Shape) -> Item:
        """A waiting item, or a new one. Raises what starting raises."""
        waiting = self._idle.pop(shape, deque[Item]())
        self._idle[shape] = waiting  # the shape asked for last stands last
        item = None
        while waiting and item is None:
            first = waiting.popleft()
            item = first if first.alive else None
        self._fill(shape)
        return item or await self._start(shape)

    async def prepare(self, shape: Shape) -> None:
        """Return when the pool holds what it can of that shape. Raises what starting raises."""
        self._idle.setdefault(shape, deque())
        await asyncio.gather(*(self._add(shape) for _ in range(self._order(shape))))

    async def _start(self, shape: Shape) -> Item:
        async with self._room:
            return await self._start_one(shape)

    def _order(self, shape: Shape) -> int:
        """How many are missing; from now on they count as coming."""
        coming = self._coming.get(shape, 0)
        missing = max(0, self._target - self.ready(shape) - coming)
        self._coming[shape] = coming + missing
        return missing

    async def _add(self, shape: Shape) -> None:
        try:
            item = await self._start(shape)
        finally:
            self._coming[shape] -= 1
        if self._closed or shape not in self._idle:
            await item.close()
        else:
            self._idle[shape].append(item)

    def _fill(self, shape: Shape) -> None:
        """Replace what was taken, in the background; drop the shapes nobody asks for any more."""
        if self._closed:
            return
        for _ in range(self._order(shape)):
            self._spawn(self._add(shape))
        for old in list(self._idle)[: -self._shapes]:
            for item in self._idle.pop(old):
                self._spawn(item.close())

    def _spawn(self, work: Awaitable[None]) -> None:
        async def quietly() -> None:
            # Whoever takes the next item starts it himself, and meets the failure.
            with contextlib.suppress(SandboxFailure):
                await work

        task = asyncio.create_task(quietly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End everything that waits or is coming."""
        self._closed = True
        await asyncio.gather(*self._tasks)
        waiting = [item for items in self._idle.values() for item in items]
        self._idle.clear()
        await asyncio.gather(*(item.close() for item in waiting))
