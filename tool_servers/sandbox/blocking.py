"""A synchronous face of a sandbox, for environments: plain code in any thread, one event loop in the background per process.

sandbox = BlockingSandbox(EmbeddedSandbox)
session = sandbox.open(SessionSpec("t1"))
result = session.call("python", {"code": "1 + 1"})        # the number of the call is counted here
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

from turnwise.tool_servers.sandbox.protocol import Level, Sandbox, Session, SessionSpec, ToolResult

__all__ = ["BlockingSandbox", "BlockingSession", "wait_for"]

_T = TypeVar("_T")
_lock = threading.Lock()
_loop: tuple[int, asyncio.AbstractEventLoop] | None = None
"""With the process it belongs to: a fork has no thread that runs it."""


def _background() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop[0] != os.getpid():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="turnwise-sandboxes", daemon=True).start()
            _loop = os.getpid(), loop
        return _loop[1]


def wait_for(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine on the background loop and wait for its result. Not for use on that loop itself."""
    future = asyncio.run_coroutine_threadsafe(work, _background())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class BlockingSession:
    """One session. Not for use by several threads at once, as an environment is not."""

    def __init__(self, session: Session, seq: int = 0) -> None:
        """`seq`: calls that it has had."""
        self._session, self._seq = session, seq

    @property
    def id(self) -> str:
        return self._session.id

    def call(self, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None) -> ToolResult:
        """The next call. After a SandboxFailure the same call may be made again only if `retriable` says so."""
        result = wait_for(self._session.call(self._seq + 1, tool, arguments, wall_s=wall_s))
        self._seq += 1
        return result

    def fork(self, ids: Sequence[str]) -> list[BlockingSession]:
        """Raises ForkRefused."""
        return [BlockingSession(twin, self._seq) for twin in wait_for(self._session.fork(ids))]

    def put(self, path: str, data: bytes) -> None:
        wait_for(self._session.put(path, data))

    def get(self, path: str, *, max_bytes: int = 1_000_000) -> bytes:
        return wait_for(self._session.get(path, max_bytes=max_bytes))

    def close(self) -> None:
        wait_for(self._session.close())


class BlockingSandbox:
    """A sandbox whose every coroutine runs on the background loop."""

    def __init__(self, make: Callable[[], Sandbox]) -> None:
        """`make` is called on that loop. Raises what it and entering the sandbox raise."""
        self._sandbox = wait_for(_entered(make))

    @property
    def level(self) -> Level:
        return self._sandbox.level

    def open(self, spec: SessionSpec) -> BlockingSession:
        return BlockingSession(wait_for(self._sandbox.open(spec)))

    def close(self) -> None:
        wait_for(self._sandbox.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


async def _entered(make: Callable[[], Sandbox]) -> Sandbox:
    return await make().__aenter__()
