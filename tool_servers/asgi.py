"""An ASGI application as an aiohttp handler, for short exchanges: one request in, one response out, streamed if it is long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aiohttp import web

__all__ = ["Asgi", "handler"]

_Message = MutableMapping[str, Any]
Asgi = Callable[[_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]]
"""ASGI 3: application(scope, receive, send)."""
_NOT_OURS = (b"content-length", b"transfer-encoding", b"connection", b"date", b"server")
"""Headers that aiohttp writes itself."""


def handler(application: Asgi, body_s: float) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Serve `application`; a request whose body takes longer than `body_s` is cut off."""

    async def handle(request: web.Request) -> web.StreamResponse:
        async with asyncio.timeout(body_s):
            body = await request.read()
        exchange = _Exchange(request, body)
        await application(_scope(request), exchange.receive, exchange.send)
        return await exchange.end()

    return handle


def _scope(request: web.Request) -> _Message:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.raw_path.encode("latin-1", "replace"),
        "query_string": request.query_string.encode(),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
        "client": None,
        "server": None,
    }


class _Exchange:
    def __init__(self, request: web.Request, body: bytes) -> None:
        self._request, self._body = request, body
        self._given = False
        self._start: _Message = {}
        self._response: web.StreamResponse | None = None
        self._gone = asyncio.Event()

    async def receive(self) -> _Message:
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: _Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        try:
            if self._response is None and not more:
                self._response = web.Response(status=self._start["status"], headers=self._headers(), body=body)
                return
            if self._response is None:
                self._response = web.StreamResponse(status=self._start["status"], headers=self._headers())
                await self._response.prepare(self._request)
            await self._response.write(body)
        except ConnectionError:
            self._gone.set()

    def _headers(self) -> list[tuple[str, str]]:
        pairs: list[tuple[bytes, bytes]] = self._start.get("headers", [])
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs if name.lower() not in _NOT_OURS]

    async def end(self) -> web.StreamResponse:
        self._gone.set()
        return self._response or web.Response(status=500)
