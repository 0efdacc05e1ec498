"""Sessions on tool servers elsewhere: the sandbox protocol over HTTP, to one server or many.

A session lives on the server that a rendezvous hash of its id picks, and its forks live beside it; no router is needed. A request
whose answer was lost is sent again, with the same `seq`, until a deadline: the server runs nothing twice. What cannot be had by
then is a SandboxFailure, never an observation.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.auth import find_token
from turnwise.tool_servers.sandbox.protocol import Level, Session, SessionSpec, ToolResult, checked_id
from turnwise.tool_servers.wire import (
    CLIENT_HEADER,
    MAX_BODY,
    RUN_HEADER,
    Kind,
    encoded,
    raised_by,
    result_from,
    spec_to,
)

__all__ = ["Patience", "RemoteSandbox", "RemoteSession"]

_UNIX = "unix:"
_LONGEST = 7_500
"""Of a path in a URL, in characters: aiohttp reads lines of 8,190 bytes."""
_BROKEN = (aiohttp.ClientError, OSError, TimeoutError)
"""The answer did not come, or not whole."""
_BUSY = (Kind.BUSY, Kind.STOPPING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client tries. Pauses double from `first_pause_s`, each shortened at random by up to half."""

    total_s: float = 60.0
    """Of one request, beyond the wall time of the call itself."""
    answer_s: float = 15.0
    """Of one attempt, beyond the wall time and the server's queue; then the answer counts as lost."""
    greet_s: float = 10.0
    """For a server to be there when the sandbox is entered."""
    close_s: float = 5.0
    """For closing a session; its lease does it otherwise."""
    first_pause_s: float = 0.05
    longest_pause_s: float = 2.0


class RemoteSandbox:
    """A client of tool servers. An async context manager: entering it asks every server who it is."""

    def __init__(
        self, addresses: str | Sequence[str], *, token: str | None = None, run: str = "", patience: Patience | None = None
    ) -> None:
        """`addresses` are such as "http://10.0.0.7:8701" or "unix:/run/turnwise.sock". `token` (None) is that of the
        environment variable TURNWISE_TOKEN or of this user's token file. `run` names who asks: runs share a busy server evenly.
        """
        self._addresses = [addresses] if isinstance(addresses, str) else list(addresses)
        if not self._addresses or len(set(self._addresses)) < len(self._addresses):
            raise ConfigError(f"remote sandbox: expected one or more different addresses, got {self._addresses}.")
        self._token = find_token() if token is None else token
        self._run = run
        self.patience = patience or Patience()
        self._servers: list[_Server] = []
        self._stack = AsyncExitStack()
        self._level = Level.RLIMITS

    @property
    def level(self) -> Level:
        """That of the weakest server."""
        return self._level

    async def __aenter__(self) -> Self:
        client = os.urandom(12).hex()
        try:
            for address in self._addresses:
                server = _Server(address, self._headers(client), self.patience)
                self._servers.append(await self._stack.enter_async_context(server))
            infos = await asyncio.gather(*(server.greet(client) for server in self._servers))
        except BaseException:
            await self.close()
            raise
        self._level = min(Level(info["level"]) for info in infos)
        return self

    def _headers(self, client: str) -> dict[str, str]:
        headers = {CLIENT_HEADER: client, RUN_HEADER: self._run, "Content-Type": "application/json"}
        return headers | ({"Authorization": f"Bearer {self._token}"} if self._token else {})

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every session and every connection."""
        await asyncio.gather(*(server.close_sessions() for server in self._servers))
        self._servers = []
        await self._stack.aclose()

    async def open(self, spec: SessionSpec) -> RemoteSession:
        """A session on the server of its id, or on the next one while that is down.

        Raises ConfigError for a wrong spec and SandboxFailure if no server has room or answers.
        """
        if not self._servers:
            raise ConfigError("remote sandbox: not entered; write `async with RemoteSandbox(...) as sandbox:`.")
        body = encoded(spec_to(spec))
        if len(body) > MAX_BODY:
            raise ConfigError(f"session {spec.id!r}: its files make {len(body)} bytes, at most {MAX_BODY} go at once; use put.")
        ranked = sorted(self._servers, key=lambda server: _score(server.address, spec.id), reverse=True)
        up = [server for server in ranked if not server.down] or ranked
        for server in up[:-1]:
            with suppress(_Unreachable):
                return await server.open(spec, body, give_up_unreachable=True)
        return await up[-1].open(spec, body)


class _Unreachable(SandboxFailure):
    """No connection was made, so nothing was asked."""


class RemoteSession:
    """A session on one server, which stays the same for its whole life."""

    def __init__(self, server: _Server, spec: SessionSpec) -> None:
        self._server, self._spec = server, spec
        self._path = f"/v1/sessions/{spec.id}"
        self._lock = asyncio.Lock()
        self._closed = False

    @property
    def id(self) -> str:
        """The caller's."""
        return self._spec.id

    @property
    def address(self) -> str:
        """Of its server."""
        return self._server.address

    async def call(self, seq: int, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None) -> ToolResult:
        """See `Session.call`. Sent again with the same `seq` while the answer is lost."""
        body: dict[str, Any] = {"seq": seq, "tool": tool, "arguments": dict(arguments)}
        if wall_s is not None:
            body["wall_s"] = wall_s
        wall = min(self._spec.limits.wall_s, wall_s or self._spec.limits.wall_s)
        async with self._lock:
            self._check_open()
            answer = await self._server.ask("POST", f"{self._path}/calls", encoded(body), work_s=wall)
        try:
            return result_from(json.loads(answer))
        except (ValueError, KeyError, TypeError) as error:
            raise SandboxFailure("server", f"{self._server.address}: no ToolResult ({error})") from error

    async def fork(self, ids: Sequence[str]) -> list[Session]:
        """See `Session.fork`; the copies live on the same server."""
        async with self._lock:
            self._check_open()
            await self._server.ask("POST", f"{self._path}/fork", encoded({"ids": list(ids)}))
        return [self._server.session(replace(self._spec, id=id)) for id in ids]

    async def put(self, path: str, data: bytes) -> None:
        """See `Session.put`; at most 4 MiB."""
        if len(data) > MAX_BODY:
            raise ConfigError(f"put {path!r}: {len(data)} bytes; at most {MAX_BODY} go at once, so put it in parts.")
        async with self._lock:
            self._check_open()
            await self._server.ask("PUT", self._file(path), data)

    async def get(self, path: str, *, max_bytes: int = 1_000_000) -> bytes:
        """See `Session.get`."""
        async with self._lock:
            self._check_open()
            return await self._server.ask("GET", f"{self._file(path)}&max_bytes={max_bytes}")

    async def close(self) -> None:
        """See `Session.close`. A server that does not answer closes it by itself, when the lease ends."""
        if not self._closed:
            self._closed = True
            await self._server.end(self._spec.id)

    def _file(self, path: str) -> str:
        try:
            name = quote(os.fsencode(path), safe="/")
        except UnicodeEncodeError:
            raise ConfigError(f"path {path!r}: expected a name that a file can have.") from None
        if len(name) > _LONGEST:
            raise ConfigError(
                f"path {path[:40]!r}...: {len(name)} characters in a URL, and servers read {_LONGEST}; go by shorter names."
            )
        return f"{self._path}/files?path={name}"

    def _check_open(self) -> None:
        if self._closed:
            raise SandboxFailure("lost", f"session {self.id!r} is closed")


class _Server:
    """One address: its kept connections, and the sessions that were opened on it."""

    def __init__(self, address: str, headers: Mapping[str, str], patience: Patience) -> None:
        self.address = address
        self.down = False
        unix = address.removeprefix(_UNIX) if address.startswith(_UNIX) else ""
        if not unix and not address.startswith(("http://", "https://")):
            raise ConfigError(f"remote sandbox: an address is http://HOST:PORT or unix:PATH, got {address!r}.")
        self._base = "http://localhost" if unix else address.rstrip("/")
        self._unix = unix
        self._headers, self._patience = headers, patience
        self._queue_s = 0.0
        self._live: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(self._unix, limit=0) if self._unix else aiohttp.TCPConnector(limit=0)
        self._http = aiohttp.ClientSession(connector=connector, headers=self._headers, auto_decompress=False)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()

    # --- sessions ---------------------------------------------------------------------------------------------------------

    async def open(self, spec: SessionSpec, body: bytes, *, give_up_unreachable: bool = False) -> RemoteSession:
        try:
            await self.ask("POST", "/v1/sessions", body, give_up_unreachable=give_up_unreachable)
        except asyncio.CancelledError:
            self._start(self.end(spec.id))  # it may have been opened
            raise
        return self.session(spec)

    def session(self, spec: SessionSpec) -> RemoteSession:
        self._live.add(spec.id)
        return RemoteSession(self, spec)

    async def end(self, id: str) -> None:
        self._live.discard(id)
        with suppress(SandboxFailure):
            await self.ask("DELETE", f"/v1/sessions/{checked_id(id)}", total_s=self._patience.close_s)

    async def close_sessions(self) -> None:
        await asyncio.gather(*(self.end(id) for id in list(self._live)))

    # --- requests ---------------------------------------------------------------------------------------------------------

    async def greet(self, client: str) -> dict[str, Any]:
        """What the server says of itself; from then on it watches whether we live."""
        info = json.loads(await self.ask("GET", "/v1/info", total_s=self._patience.greet_s))
        self._queue_s = float(info["queue_s"])
        self._start(self._stay_attached(client))
        return info

    async def _stay_attached(self, client: str) -> None:
        """Hold the connection whose end tells the server that this process is gone."""
        pause = self._patience.first_pause_s
        while True:
            with suppress(*_BROKEN):
                async with self._http.ws_connect(f"{self._base}/v1/attach/{client}") as line:
                    pause = self._patience.first_pause_s
                    async for _ in line:
                        pass
            await asyncio.sleep(_jittered(pause))
            pause = min(2 * pause, self._patience.longest_pause_s)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        work_s: float = 0.0,
        total_s: float | None = None,
        give_up_unreachable: bool = False,
    ) -> bytes:
        """The answer's body, after as many attempts as the deadline allows. `work_s` is what the server may work on it."""
        deadline = time.monotonic() + work_s + (self._patience.total_s if total_s is None else total_s)
        pause = self._patience.first_pause_s
        while True:
            left = max(0.01, deadline - time.monotonic())
            asked_pause = 0.0
            try:
                status, headers, answer = await self._once(method, path, body, min(left, self._answer_s(work_s)))
            except _BROKEN as error:
                self.down = isinstance(error, aiohttp.ClientConnectorError)
                trouble = "no answer" if isinstance(error, TimeoutError) else f"{type(error).__name__} {error}".rstrip()
                if self.down and give_up_unreachable:
                    raise _Unreachable("server", f"{self.address}: {trouble}", retriable=True) from error
            else:
                if status < 300:
                    return answer
                refusal = _json_of(answer)
                if refusal.get("error", {}).get("kind") not in _BUSY:
                    raise raised_by(status, refusal)
                trouble = str(refusal["error"]["detail"])
                asked_pause = _seconds(headers.get("Retry-After", ""))
            wait = _jittered(max(pause, min(asked_pause, self._patience.longest_pause_s)))
            if time.monotonic() + wait >= deadline:
                raise SandboxFailure("server", f"{self.address}: {trouble}; gave up") from None
            await asyncio.sleep(wait)
            pause = min(2 * pause, self._patience.longest_pause_s)

    def _answer_s(self, work_s: float) -> float:
        return work_s + self._queue_s + self._patience.answer_s

    async def _once(self, method: str, path: str, body: bytes | None, within_s: float) -> tuple[int, Mapping[str, str], bytes]:
        url = URL(self._base + path, encoded=True)
        data = io.BytesIO(body) if body and len(body) > _LARGE else body
        async with (
            asyncio.timeout(within_s),
            self._http.request(method, url, data=data, timeout=_NO_TIMEOUT, allow_redirects=False) as response,
        ):
            answer = await response.read()
        self.down = False
        return response.status, response.headers, answer

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_LARGE = 1 << 20
"""Bytes that are sent piece by piece."""
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
"""Ours bounds the whole attempt."""


def _score(address: str, id: str) -> bytes:
    """Rendezvous hashing (Thaler and Ravishankar, 1998): the largest wins, so that a lost server moves only its own sessions."""
    return hashlib.blake2b(f"{address} {id}".encode(), digest_size=8).digest()


def _jittered(pause_s: float) -> float:
    return pause_s * (0.5 + int.from_bytes(os.urandom(2)) / 131072)


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0


def _json_of(answer: bytes) -> dict[str, Any]:
    try:
        value = json.loads(answer)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
