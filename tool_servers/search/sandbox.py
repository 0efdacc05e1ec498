"""The search tool in the shape of a sandbox, so that the same server, client and environment code serves it.

No code of a model runs here and nothing of a session can be changed: a session is a counter and its stored results over one
shared read-only index. That is why `level` is the highest there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar, Self

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.sandbox.ledger import Ledger
from turnwise.tool_servers.sandbox.protocol import Level, Session, SessionSpec, Status, ToolResult, Usage
from turnwise.tool_servers.search.index import MAX_HITS, SearchIndex

__all__ = ["SearchSandbox", "SearchSession"]

PAGE = 4_000
"""Characters of a page that `open` shows."""
THREADS = 4


class _Wrong(Exception):
    """What the model asked cannot be done; the message is for it."""


class SearchSandbox:
    """Sessions over one index. The profile of their spec is "search"."""

    tools: ClassVar[tuple[dict[str, Any], ...]] = (
        {
            "name": "search",
            "description": "Find documents by words. Gives ranked hits with id, title and a snippet.",
            "parameters": {
                "type": "object",
                "properties": {
                    "query": {"type": "string"},
                    "k": {"type": "integer", "minimum": 1, "maximum": MAX_HITS, "description": "How many hits; 5 if not given."},
                },
                "required": ["query"],
            },
        },
        {
            "name": "open",
            "description": "Read a document by its id, page by page.",
            "parameters": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "page": {"type": "integer", "minimum": 1}},
                "required": ["id"],
            },
        },
    )

    def __init__(self, index: SearchIndex, *, clock: Callable[[], float] = time.monotonic) -> None:
        """The index stays the caller's: `close` closes the sessions only."""
        self.index, self._clock = index, clock
        self._sessions: dict[str, SearchSession] = {}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="search")

    @property
    def level(self) -> Level:
        return max(Level)

    async def open(self, spec: SessionSpec) -> SearchSession:
        if spec.profile != "search" or spec.files or spec.settings:
            raise ConfigError(
                f"search session {spec.id!r}: expected profile 'search', no files and no settings, got profile {spec.profile!r}, "
                f"{len(spec.files)} files, settings {dict(spec.settings)!r}."
            )
        now = self._clock()
        for session in [s for s in self._sessions.values() if now - s.used_at > s.spec.lease_s]:
            await session.close()
        known = self._sessions.get(spec.id)
        if known is not None and known.spec != spec:
            raise ConfigError(f"search session {spec.id!r}: it is open with another spec; take another id.")
        return known or self.started(spec, Ledger(spec.id, spec.limits.calls))

    async def close(self) -> None:
        for session in list(self._sessions.values()):
            await session.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def started(self, spec: SessionSpec, ledger: Ledger) -> SearchSession:
        """A session that has made these calls."""
        session = SearchSession(self, spec, ledger, self._clock)
        self._sessions[spec.id] = session
        return session

    def forget(self, session: SearchSession) -> None:
        self._sessions.pop(session.id, None)

    def knows(self, session_id: str) -> bool:
        return session_id in self._sessions

    async def answer(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """What a tool gives; in a thread, for a large index may take its time."""
        make = {"search": self._search, "open": self._open}.get(tool)
        if make is None:
            raise _Wrong(f"There is no tool {tool!r}; the tools are search and open.")
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(make, arguments))

    def _search(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        query, k = arguments.get("query"), _whole(arguments, "k", 5, MAX_HITS)
        if not isinstance(query, str):
            raise _Wrong("search needs a query, a text.")
        return {"hits": [asdict(hit) for hit in self.index.search(query, k)], "snapshot": self.index.digest}

    def _open(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        name, page = arguments.get("id"), _whole(arguments, "page", 1, None)
        document = self.index.document(name) if isinstance(name, str) else None
        if document is None:
            raise _Wrong(f"There is no document {str(name)[:100]!r}; search gives the ids.")
        pages = max(1, -(-len(document.text) // PAGE))
        if page > pages:
            raise _Wrong(f"Document {document.id!r} has {pages} page{'s' * (pages > 1)}, there is no page {page}.")
        text = document.text[(page - 1) * PAGE : page * PAGE]
        found = {"id": document.id, "title": document.title, "page": page, "pages": pages, "text": text}
        return found | {"snapshot": self.index.digest}


class SearchSession:
    """A handle: calls are counted, their last results stored."""

    def __init__(self, sandbox: SearchSandbox, spec: SessionSpec, ledger: Ledger, clock: Callable[[], float]) -> None:
        self.spec, self.used_at = spec, clock()
        self._sandbox, self._ledger, self._clock = sandbox, ledger, clock
        self._closed = False

    @property
    def id(self) -> str:
        return self.spec.id

    async def call(self, seq: int, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None) -> ToolResult:
        self._check_open()
        self.used_at = self._clock()
        most = self.spec.limits.wall_s
        return await self._ledger.once(seq, lambda: self._made(tool, arguments, min(wall_s or most, most)))

    async def fork(self, ids: Sequence[str]) -> list[Session]:
        self._check_open()
        if len(set(ids)) != len(ids) or any(map(self._sandbox.knows, ids)):
            raise ConfigError(f"search session {self.id!r}: expected a new id for each fork, got {list(ids)}.")
        specs = [SessionSpec(i, "search", self.spec.limits, seed=self.spec.seed, lease_s=self.spec.lease_s) for i in ids]
        return [self._sandbox.started(spec, self._ledger.fork(spec.id)) for spec in specs]

    async def put(self, path: str, data: bytes) -> None:
        raise ConfigError(f"search session {self.id!r}: it has no files, so {path!r} cannot be written.")

    async def get(self, path: str, *, max_bytes: int = 1_000_000) -> bytes:
        raise FileNotFoundError(f"search session {self.id!r}: it has no files, so there is no {path!r}.")

    async def close(self) -> None:
        self._closed = True
        self._sandbox.forget(self)

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxFailure("closed", f"search session {self.id!r} is closed")

    async def _made(self, tool: str, arguments: Mapping[str, Any], wall_s: float) -> ToolResult:
        begun = time.perf_counter()
        try:
            value = await asyncio.wait_for(self._sandbox.answer(tool, arguments), wall_s)
        except _Wrong as error:
            return ToolResult(Status.ERROR, err=str(error))
        except TimeoutError:
            return ToolResult(Status.TIMEOUT, err=f"The search took longer than {wall_s:g} s; use fewer words.")
        except Exception as error:  # the boundary: whatever breaks below is the index, never the model
            raise SandboxFailure("search", f"{tool}: {type(error).__name__}: {error}") from error
        return ToolResult(Status.OK, value=value, usage=Usage(wall_ms=1e3 * (time.perf_counter() - begun)))


def _whole(arguments: Mapping[str, Any], name: str, default: int, most: int | None) -> int:
    value = arguments.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
        raise _Wrong(f"{name} must be a whole number from 1{f' to {most}' if most else ''}, got {str(value)[:50]}.")
    return value
