"""The sessions of one tool server: made once, called once per `seq`, closed for certain.

    open ──> live ──> closed
     │        │         by its client, its lease, the loss of its client's connection, or the end of the server
     │        └ calls run one after the other; the same `seq` again joins the call that runs, or gives its stored result
     └ waits for room (sessions and memory)

A client may repeat every request whose answer it did not see: nothing happens twice. A close that overtakes its open wins.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from turnwise.errors import ConfigError, SandboxFailure, TurnwiseError
from turnwise.tool_servers.admission import Capacity, Gate
from turnwise.tool_servers.lifelines import Lifelines
from turnwise.tool_servers.metrics import Metrics
from turnwise.tool_servers.sandbox.protocol import Sandbox, Session, SessionSpec, ToolResult, checked_id
from turnwise.tool_servers.wire import Kind, Refusal

__all__ = ["SessionTable"]

_T = TypeVar("_T")
_REMEMBERED = 20_000
"""Closed sessions whose end is still known; an older one is "unknown"."""
_NO_LEASE_S = 1e6
"""The table keeps the leases, for it also hears the heartbeats."""
_HELP = {
    "turnwise_sessions_live": "Sessions that are open.",
    "turnwise_sessions_opened_total": "Sessions opened, forks included.",
    "turnwise_sessions_closed_total": "Sessions closed by cause: client, lease, orphan (its client's connection was lost), stop.",
    "turnwise_memory_promised_mb": "Sum of the memory limits of open sessions.",
    "turnwise_calls_running": "Calls that run.",
    "turnwise_queue_depth": "Requests that wait, by what they wait for.",
    "turnwise_queue_seconds": "Time that requests waited for a place.",
    "turnwise_call_seconds": "Time of calls without their wait, by tool.",
    "turnwise_calls_total": "Calls by tool and by status of the result.",
    "turnwise_failures_total": "Broken sandboxes by kind.",
}


@dataclass(eq=False, slots=True)
class _Entry:
    spec: SessionSpec
    client: str
    run: str
    origin: str = ""
    """The session it was forked from."""
    opening: asyncio.Task[None] | None = None
    queued: bool = False
    session: Session | None = None
    closing: asyncio.Task[None] | None = None
    last_seq: int = 0
    asked: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """seq -> a digest of what was asked."""
    running: dict[int, asyncio.Task[ToolResult]] = field(default_factory=dict[int, asyncio.Task[ToolResult]])
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    used: float = 0.0
    """When it was last used; seconds of the table's clock."""


class SessionTable:
    """All sessions of one sandbox, for any number of clients. An async context manager: leaving it closes them."""

    def __init__(
        self,
        sandbox: Sandbox,
        capacity: Capacity | None = None,
        *,
        tools: Iterable[str] = (),
        counts_memory: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tools` are the names that metrics tell apart; `counts_memory` is whether sessions run code that uses their limit."""
        self.sandbox, self.capacity = sandbox, capacity or Capacity()
        self.metrics = Metrics(_HELP)
        self._tools = frozenset(tools)
        self._counts_memory = counts_memory
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._closed: OrderedDict[str, str] = OrderedDict()
        self.lifelines = Lifelines(self.capacity.orphan_s, self._orphaned)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._rooms = Gate("sessions", (self.capacity.sessions, self.capacity.memory_mb))
        self._slots = Gate("calls", (self.capacity.calls,))
        self._stopping = False
        self._describe()

    def _describe(self) -> None:
        gauge = self.metrics.gauge
        gauge("turnwise_sessions_live", lambda: len(self._entries))
        gauge("turnwise_memory_promised_mb", lambda: self._rooms.used[1])
        gauge("turnwise_calls_running", lambda: self._slots.used[0])
        gauge("turnwise_queue_depth", lambda: self._rooms.waiting, gate="sessions")
        gauge("turnwise_queue_depth", lambda: self._slots.waiting, gate="calls")

    async def __aenter__(self) -> SessionTable:
        self._start(self._sweep())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def __len__(self) -> int:
        return len(self._entries)

    # --- open and fork ----------------------------------------------------------------------------------------------------

    async def open(self, spec: SessionSpec, *, client: str = "", run: str = "") -> None:
        """Make the session, or find the same one made before. Raises Refusal, ConfigError, SandboxFailure."""
        entry = self._entries.get(spec.id)
        if entry is None:
            self._may_make([spec.id])
            entry = self._entries[spec.id] = _Entry(spec, client, run, used=self._clock())
            entry.opening = self._start(self._open(entry))
        elif entry.spec != spec:
            raise Refusal(Kind.OTHER_SPEC, f"session {spec.id!r} is open with another spec; choose another id")
        await self._ready(entry)

    async def fork(self, id: str, ids: Sequence[str]) -> None:
        """Copy a session at this point, once per id. Raises Refusal, ForkRefused, SandboxFailure."""
        if not ids or len(set(map(checked_id, ids))) < len(ids):
            raise ConfigError("fork: expected one or more different ids for the copies.")
        parent = self._live(id)
        made = [self._entries[i] for i in ids if i in self._entries]
        if made:
            if len(made) < len(ids) or any(entry.origin != id for entry in made):
                raise Refusal(Kind.OTHER_SPEC, "fork: some of these ids are in use; choose others")
        else:
            self._may_make(ids)
            made = [_Entry(replace(parent.spec, id=i), parent.client, parent.run, id, used=self._clock()) for i in ids]
            self._entries |= {entry.spec.id: entry for entry in made}
            task = self._start(self._fork(parent, made))
            for entry in made:
                entry.opening = task
        for entry in made:
            await self._ready(entry)

    async def _open(self, entry: _Entry) -> None:
        need = self._need(entry.spec)
        try:
            await self._wait_for_room([entry], need, entry.run)
            try:
                entry.session = await self._broken_counted(self.sandbox.open(replace(entry.spec, lease_s=_NO_LEASE_S)))
            except BaseException:
                self._rooms.leave(need)
                raise
        except BaseException:
            self._entries.pop(entry.spec.id, None)
            raise
        self._opened(entry)

    async def _fork(self, parent: _Entry, copies: list[_Entry]) -> None:
        one = self._need(parent.spec)
        need = (one[0] * len(copies), one[1] * len(copies))
        try:
            await self._wait_for_room(copies, need, parent.run)
            try:
                async with self._using(parent) as session:
                    sessions = await self._broken_counted(session.fork([c.spec.id for c in copies]))
                    for copy, session in zip(copies, sessions, strict=True):
                        copy.session, copy.last_seq, copy.asked = session, parent.last_seq, dict(parent.asked)
            except BaseException:
                self._rooms.leave(need)
                raise
        except BaseException:
            for copy in copies:
                self._entries.pop(copy.spec.id, None)
            raise
        for copy in copies:
            self._opened(copy)

    async def _wait_for_room(self, entries: list[_Entry], need: tuple[float, float], run: str) -> None:
        for entry in entries:
            entry.queued = True
        began = self._clock()
        try:
            await self._rooms.enter(need, run, self.capacity.queue_s)
        finally:
            self.metrics.observe("turnwise_queue_seconds", self._clock() - began, gate="sessions")
            for entry in entries:
                entry.queued = False

    def _opened(self, entry: _Entry) -> None:
        entry.used = self._clock()
        self.metrics.count("turnwise_sessions_opened_total")

    def _may_make(self, ids: Iterable[str]) -> None:
        if self._stopping:
            raise Refusal(Kind.STOPPING, "the server is going down", retriable=True)
        for id in ids:
            if id in self._closed:
                raise Refusal(Kind.CLOSED, self._end_of(id))

    def _need(self, spec: SessionSpec) -> tuple[float, float]:
        return 1, spec.limits.memory_mb if self._counts_memory else 0

    async def _ready(self, entry: _Entry) -> None:
        if entry.session is None and entry.opening:
            await asyncio.wait([entry.opening])
            if not entry.closing:
                entry.opening.result()
        if entry.closing:
            raise Refusal(Kind.CLOSED, f"session {entry.spec.id!r} is being closed")

    # --- use --------------------------------------------------------------------------------------------------------------

    async def call(
        self, id: str, seq: int | None, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None
    ) -> ToolResult:
        """Run a tool, or give the stored result of that `seq`; None is the next one. Raises Refusal, SandboxFailure."""
        entry = self._live(id)
        running = entry.running.get(seq or 0)
        if running is None:
            running = self._start(self._call(entry, seq, tool, arguments, wall_s))
            if seq:
                entry.running[seq] = running
                running.add_done_callback(lambda _: entry.running.pop(seq, None))
        elif entry.asked.get(seq or 0, asked := _digest(tool, arguments)) != asked:
            raise _other_call(seq)
        return await asyncio.shield(running)

    async def _call(
        self, entry: _Entry, seq: int | None, tool: str, arguments: Mapping[str, Any], wall_s: float | None
    ) -> ToolResult:
        async with self._using(entry) as session:
            seq = entry.last_seq + 1 if seq is None else seq
            if not 1 <= seq <= entry.last_seq + 1:
                raise Refusal(Kind.WRONG_SEQ, f"session {entry.spec.id!r}: expected seq {entry.last_seq + 1}, got {seq}")
            asked = _digest(tool, arguments)
            if entry.asked.get(seq, asked) != asked:
                raise _other_call(seq)
            if seq <= entry.last_seq:
                return await session.call(seq, tool, arguments, wall_s=wall_s)
            queued = self._clock()
            await self._slots.enter((1,), entry.run, self.capacity.queue_s)
            began = self._clock()
            entry.asked[seq] = asked
            try:
                result = await self._broken_counted(session.call(seq, tool, arguments, wall_s=wall_s))
            finally:
                self._slots.leave((1,))
            entry.last_seq = seq
            self._measured(tool, result, began - queued, self._clock() - began)
            return result

    def _measured(self, tool: str, result: ToolResult, waited: float, took: float) -> None:
        name = tool if tool in self._tools else "other"
        self.metrics.observe("turnwise_queue_seconds", waited, gate="calls")
        self.metrics.observe("turnwise_call_seconds", took, tool=name)
        self.metrics.count("turnwise_calls_total", tool=name, status=result.status)

    async def put(self, id: str, path: str, data: bytes) -> None:
        """Write a file below the session's work folder."""
        async with self._using(self._live(id)) as session:
            await self._broken_counted(session.put(path, data))

    async def get(self, id: str, path: str, *, max_bytes: int) -> bytes:
        """Read a file below the session's work folder."""
        async with self._using(self._live(id)) as session:
            return await self._broken_counted(session.get(path, max_bytes=max_bytes))

    def renew(self, id: str) -> None:
        """The heartbeat of a client that thinks for long: the lease begins anew."""
        self._live(id).used = self._clock()

    @asynccontextmanager
    async def _using(self, entry: _Entry) -> AsyncGenerator[Session]:
        """The session, for us alone; in use, its lease does not run out."""
        async with entry.lock:
            await self._ready(entry)
            assert entry.session is not None
            try:
                yield entry.session
            except SandboxFailure:
                if entry.closing:
                    raise Refusal(Kind.CLOSED, f"session {entry.spec.id!r} was closed in the middle") from None
                raise
            finally:
                entry.used = self._clock()

    def _live(self, id: str) -> _Entry:
        entry = self._entries.get(id)
        if entry is not None and entry.closing is None:
            return entry
        if entry is not None or id in self._closed:
            raise Refusal(Kind.CLOSED, self._end_of(id))
        raise Refusal(Kind.UNKNOWN_SESSION, f"no session {id!r} here; it was never opened, or the server was started anew")

    def _end_of(self, id: str) -> str:
        return f"session {id!r} was closed ({self._closed.get(id, 'just now')})"

    # --- close ------------------------------------------------------------------------------------------------------------

    async def close(self, id: str, cause: str = "client") -> None:
        """End a session, wherever it stands. Closing again, or what never was, does nothing."""
        entry = self._entries.get(id)
        if entry is None:
            self._bury(id, cause)
            return
        if entry.closing is None:
            entry.closing = self._start(self._close(entry, cause))
        await asyncio.shield(entry.closing)

    async def _close(self, entry: _Entry, cause: str) -> None:
        if entry.opening and not entry.opening.done():
            if entry.queued and not entry.origin:
                entry.opening.cancel()
            await asyncio.wait([entry.opening])
        try:
            if entry.session is not None:
                with suppress(SandboxFailure):  # counted; there is no more that we could do
                    await self._broken_counted(entry.session.close())
                self._rooms.leave(self._need(entry.spec))
                self.metrics.count("turnwise_sessions_closed_total", cause=cause)
        finally:
            self._entries.pop(entry.spec.id, None)
            self._bury(entry.spec.id, cause)

    def _bury(self, id: str, cause: str) -> None:
        self._closed.setdefault(id, cause)
        if len(self._closed) > _REMEMBERED:
            self._closed.popitem(last=False)

    async def close_all(self, ids: Iterable[str], cause: str) -> None:
        """End many at once."""
        await asyncio.gather(*(self.close(id, cause) for id in ids))

    async def stop(self) -> None:
        """Take nothing new, let running calls end within `grace_s`, close everything."""
        self._stopping = True
        await self.lifelines.cut()
        running = [task for entry in self._entries.values() for task in entry.running.values()]
        if running:
            await asyncio.wait(running, timeout=self.capacity.grace_s)
        await self.close_all(list(self._entries), "stop")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _sweep(self) -> None:
        """Close what nobody has used for the length of its lease."""
        while True:
            await asyncio.sleep(max(0.05, min([1.0, *(entry.spec.lease_s / 4 for entry in self._entries.values())])))
            now = self._clock()
            stale = [
                id
                for id, entry in self._entries.items()
                if entry.session and not entry.lock.locked() and now - entry.used > entry.spec.lease_s
            ]
            await self.close_all(stale, "lease")

    async def _orphaned(self, client: str) -> None:
        await self.close_all([id for id, entry in self._entries.items() if entry.client == client], "orphan")

    # --- small things -----------------------------------------------------------------------------------------------------

    def _start(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; if nobody did, it is no warning

    async def _broken_counted(self, work: Awaitable[_T]) -> _T:
        """A failure of the sandbox is counted; an error that no protocol foresees is one too."""
        try:
            return await work
        except SandboxFailure as error:
            self.metrics.count("turnwise_failures_total", kind=error.kind)
            raise
        except (TurnwiseError, FileNotFoundError):
            raise
        except Exception as error:
            self.metrics.count("turnwise_failures_total", kind="unforeseen")
            raise SandboxFailure("unforeseen", f"{type(error).__name__}: {error}") from error


def _digest(tool: str, arguments: Mapping[str, Any]) -> bytes:
    text = json.dumps([tool, arguments], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _other_call(seq: int | None) -> Refusal:
    return Refusal(Kind.WRONG_SEQ, f"seq {seq} was another call; a call that is repeated must be the same")
