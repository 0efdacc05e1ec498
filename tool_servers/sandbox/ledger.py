"""What makes a call run once: the number that comes next, the results of the last ones, and the one that runs."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.sandbox.protocol import Status, ToolResult

__all__ = ["Ledger"]

_KEPT = 8
"""Results that are given again; a client has one or a few requests in flight."""


class Ledger:
    """The calls of one session."""

    def __init__(self, session: str, most: int) -> None:
        """`most`: calls of the session; a further one gets `Status.QUOTA`."""
        self._session, self._most = session, most
        self._last = 0
        self._results: OrderedDict[int, ToolResult | BaseException] = OrderedDict()
        self._running: dict[int, asyncio.Future[ToolResult]] = {}
        self.turn = asyncio.Lock()
        """Held by whatever must not overlap with a call."""

    async def once(self, seq: int, run: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        """The result of call `seq`, which runs now, runs already, or ran. Survives that a waiting caller gives up.

        A failure that says that the call surely did not run leaves `seq` free; any other is raised again for that `seq`.
        """
        if seq in self._results:
            past = self._results[seq]
            if isinstance(past, BaseException):
                raise past
            return past
        if seq not in self._running:
            if seq != self._last + 1:
                expected = f"{self._last + 1}, the next, or one of the last {_KEPT}"
                raise ConfigError(f"Session {self._session}: call seq must be {expected}, got {seq}.")
            self._last = seq
            task = asyncio.ensure_future(self._run(seq, run))
            self._running[seq] = task
            task.add_done_callback(lambda done: self._done(seq, done))
        return await asyncio.shield(self._running[seq])

    def fork(self, session: str) -> Ledger:
        """The same past, a future of its own."""
        twin = Ledger(session, self._most)
        twin._last, twin._results = self._last, self._results.copy()
        return twin

    async def _run(self, seq: int, run: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        async with self.turn:
            if seq > self._most:
                text = f"All {self._most} calls of this session are used up."
                return ToolResult(Status.QUOTA, err=text, seq=seq)
            return replace(await run(), seq=seq)

    def _done(self, seq: int, done: asyncio.Future[ToolResult]) -> None:
        self._running.pop(seq, None)
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, SandboxFailure) and error.retriable and self._last == seq:
            self._last = seq - 1
            return
        self._results[seq] = error or done.result()
        while len(self._results) > _KEPT:
            self._results.popitem(last=False)
