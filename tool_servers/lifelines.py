"""Whether a client still lives: a connection that it holds open, whose loss ends its sessions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

__all__ = ["Lifelines"]


class Lifelines:
    """Counts the connections of each client; `lost` is called `grace_s` after a client's last one broke, if none came back."""

    def __init__(self, grace_s: float, lost: Callable[[str], Awaitable[None]]) -> None:
        self._grace_s, self._lost = grace_s, lost
        self._held: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut = False

    @asynccontextmanager
    async def hold(self, client: str) -> AsyncGenerator[None]:
        """While one connection of this client stands."""
        self._held[client] += 1
        try:
            yield
        finally:
            self._held[client] -= 1
            if not self._cut:
                task = asyncio.get_running_loop().create_task(self._broken(client))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _broken(self, client: str) -> None:
        await asyncio.sleep(self._grace_s)
        if self._held[client] <= 0:
            del self._held[client]
            await self._lost(client)

    async def cut(self) -> None:
        """Watch no longer."""
        self._cut = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
