"""What a program writes, kept within bounds: head and tail, the middle cut out, a flood stopped."""

import asyncio
from collections.abc import Callable

__all__ = ["Kept"]


class Kept:
    """Reads a pipe to its end and holds at most `most` bytes of it; past `flood` bytes it calls `stop`."""

    def __init__(self, most: int, flood: int, stop: Callable[[], None]) -> None:
        self.most, self.flood, self.stop = most, flood, stop
        self.total = 0
        self._head, self._tail = bytearray(), bytearray()

    @property
    def cut(self) -> bool:
        return self.total > self.most

    @property
    def stopped(self) -> bool:
        return self.total > self.flood

    async def read(self, pipe: asyncio.StreamReader) -> None:
        """To the end also after a flood, for a process is over only when its pipes are empty."""
        while block := await pipe.read(65536):
            self.add(block)
            if self.stopped:
                self.stop()

    def add(self, block: bytes) -> None:
        self.total += len(block)
        room = self.most - self.most // 2 - len(self._head)
        self._head += block[:room]
        self._tail += block[room:]
        del self._tail[: max(0, len(self._tail) - self.most // 2)]

    def text(self) -> str:
        """Invalid bytes replaced; where the middle is missing, a line says how much."""
        gap = self.total - len(self._head) - len(self._tail)
        middle = f"\n[... {gap} bytes left out ...]\n".encode() if gap else b""
        return (self._head + middle + self._tail).decode(errors="replace")
