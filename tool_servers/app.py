"""A tool server's HTTP interface, version 1: JSON over aiohttp. It runs no code of a model itself.

    POST   /v1/sessions                      a SessionSpec as JSON (files in base64)          -> {"id"}
    POST   /v1/sessions/{id}/calls           {"seq", "tool", "arguments", "wall_s"?}          -> ToolResult
    POST   /v1/sessions/{id}/fork            {"ids": [...]}                                   -> {"ids"}
    POST   /v1/sessions/{id}/heartbeat       the lease begins anew                            -> {}
    PUT    /v1/sessions/{id}/files?path=P    bytes; GET ...&max_bytes=N reads them (P: percent-encoded bytes of the path)
    DELETE /v1/sessions/{id}                 -> 204, also if it is closed already
    POST   /v1/batch                         lines of {"session", "seq", "tool", "arguments", "wall_s"?}; a line of
                                             {"session", "seq", "result" | "error"} for each, as it finishes
    GET    /v1/tools?profile=P               names, descriptions and JSON schemas
    GET    /v1/info                          kind, level of isolation, profiles
    GET    /v1/attach/{client}               a WebSocket: when it is lost, the sessions opened with "Turnwise-Client: client" end
    GET    /healthz  /readyz  /metrics       the process is up; a fresh session just worked; Prometheus

Refusals are those of `wire.py`. Every request may be repeated until its answer was seen; nothing happens twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakSet

from aiohttp import WSCloseCode, web

from turnwise.errors import ConfigError
from turnwise.tool_servers.auth import allows
from turnwise.tool_servers.sandbox.protocol import ToolResult, checked_id
from turnwise.tool_servers.service import Canary, Service
from turnwise.tool_servers.sessions import SessionTable
from turnwise.tool_servers.wire import (
    CLIENT_HEADER,
    MAX_BODY,
    RUN_HEADER,
    STATUS,
    Kind,
    Refusal,
    decoded,
    encoded,
    error_of,
    result_to,
    spec_from,
)

__all__ = ["Door", "application"]

_log = logging.getLogger(__name__)
_OPEN_TO_ALL = ("/healthz", "/readyz")
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_BATCH_AT_ONCE = 64
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Who may ask, and how slowly."""

    token: str = ""
    """Without one, only requests that name this machine as their host are served (a web page could send others)."""
    body_s: float = 20.0
    """Seconds for a request's body to arrive."""


def application(service: Service, table: SessionTable, door: Door, mcp: _Handler | None = None) -> web.Application:
    """The server's routes. `mcp` handles /mcp."""
    app = web.Application(middlewares=[_guard(door)], client_max_size=MAX_BODY)
    api = _Api(service, table, door)
    app.add_routes(api.routes())
    if mcp:
        app.router.add_route("*", "/mcp", mcp)
    app.on_shutdown.append(api.hang_up)
    return app


def _guard(door: Door) -> Any:
    """Checks the caller, and turns every error into a refusal."""

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            if request.path not in _OPEN_TO_ALL:
                _check_caller(request, door)
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            return _refused(Refusal(Kind.TOO_LARGE, f"a request may have {MAX_BODY} bytes; put larger files in parts"))
        except web.HTTPException as error:
            return _json({"error": {"kind": "http", "detail": error.reason}}, error.status)
        except TimeoutError:
            response = _json({"error": {"kind": "http", "detail": f"the body did not arrive in {door.body_s:g} s"}}, 408)
            response.force_close()
            return response
        except Exception as error:
            refusal = error_of(error)
            if refusal is None:
                _log.exception("%s %s", request.method, request.path)
                return _json({"error": {"kind": "internal", "detail": type(error).__name__}}, 500)
            return _refused(refusal)

    return guard


def _query(request: web.Request) -> dict[str, str]:
    """The query with `path` as the file system would have it: a name is bytes, and need not be text."""
    query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, errors="surrogateescape"))
    if "path" not in query:
        raise ConfigError("files: expected ?path=NAME, percent-encoded.")
    return query


def _check_caller(request: web.Request, door: Door) -> None:
    if door.token:
        if not allows(request.headers.get("Authorization", ""), door.token):
            raise Refusal(Kind.TOKEN, "expected the header 'Authorization: Bearer TOKEN' with this server's token")
        return
    origin = request.headers.get("Origin", "")
    if _name(f"//{request.host}") not in _LOCAL_HOSTS or (origin and _name(origin) not in _LOCAL_HOSTS):
        raise web.HTTPForbidden(reason="Without a token this server answers to the name localhost only")


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(body=encoded(data), status=status, content_type="application/json")


def _refused(refusal: Refusal) -> web.Response:
    response = _json(refusal.body(), STATUS[refusal.kind])
    if refusal.kind in (Kind.BUSY, Kind.STOPPING):
        response.headers["Retry-After"] = "1"
    if refusal.kind is Kind.TOKEN:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


class _Api:
    def __init__(self, service: Service, table: SessionTable, door: Door) -> None:
        self._service, self._table, self._door = service, table, door
        self._canary = Canary(service)
        self._lines: WeakSet[web.WebSocketResponse] = WeakSet()

    def routes(self) -> list[web.RouteDef]:
        session = "/v1/sessions/{id}"
        return [
            web.post("/v1/sessions", self.open),
            web.post(f"{session}/calls", self.call),
            web.post(f"{session}/fork", self.fork),
            web.post(f"{session}/heartbeat", self.heartbeat),
            web.put(session + "/files", self.put),
            web.get(session + "/files", self.get, allow_head=False),
            web.delete(session, self.close),
            web.post("/v1/batch", self.batch),
            web.get("/v1/tools", self.tools),
            web.get("/v1/info", self.info),
            web.get("/v1/attach/{client}", self.attach),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
        ]

    # --- sessions ---------------------------------------------------------------------------------------------------------

    async def open(self, request: web.Request) -> web.Response:
        spec = spec_from(await self._body(request))
        self._service.tools_of(spec.profile)
        client, run = request.headers.get(CLIENT_HEADER, ""), request.headers.get(RUN_HEADER, "")
        await self._table.open(spec, client=client, run=run)
        return _json({"id": spec.id})

    async def call(self, request: web.Request) -> web.Response:
        return _json(result_to(await self._called(request.match_info["id"], await self._body(request))))

    async def fork(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        ids = body.get("ids")
        if not isinstance(ids, list):
            raise ConfigError("fork: expected {'ids': [...]}.")
        await self._table.fork(request.match_info["id"], ids)
        return _json({"ids": ids})

    async def heartbeat(self, request: web.Request) -> web.Response:
        self._table.renew(request.match_info["id"])
        return _json({})

    async def put(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(self._door.body_s):
            data = await request.read()
        await self._table.put(request.match_info["id"], _query(request)["path"], data)
        return _json({})

    async def get(self, request: web.Request) -> web.Response:
        query = _query(request)
        limit = query.get("max_bytes", "1000000")
        if not limit.isdecimal():
            raise ConfigError(f"max_bytes: expected a number of bytes, got {limit!r}.")
        data = await self._table.get(request.match_info["id"], query["path"], max_bytes=int(limit))
        return web.Response(body=data, content_type="application/octet-stream")

    async def close(self, request: web.Request) -> web.Response:
        await self._table.close(checked_id(request.match_info["id"]))
        return web.Response(status=204)

    async def _called(self, id: str, body: Mapping[str, Any]) -> ToolResult:
        seq, tool, arguments, wall_s = body.get("seq"), body.get("tool"), body.get("arguments", {}), body.get("wall_s")
        if not isinstance(seq, int) or isinstance(seq, bool) or seq < 1:
            raise ConfigError(f"call: seq must be a whole number from 1, got {seq!r}.")
        if not isinstance(tool, str) or not isinstance(arguments, dict):
            raise ConfigError("call: expected {'seq': 1, 'tool': a name, 'arguments': an object}.")
        if wall_s is not None and not (isinstance(wall_s, int | float) and wall_s > 0):
            raise ConfigError(f"call: wall_s must be a number of seconds above 0, got {wall_s!r}.")
        return await self._table.call(id, seq, tool, arguments, wall_s=wall_s)

    async def _body(self, request: web.Request) -> dict[str, Any]:
        async with asyncio.timeout(self._door.body_s):
            return decoded(await request.read())

    # --- many calls at once -----------------------------------------------------------------------------------------------

    async def batch(self, request: web.Request) -> web.StreamResponse:
        """Answers begin before the last line has come; no more than 64 lines are worked on at a time."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        places = asyncio.Semaphore(_BATCH_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            try:
                async for line in _lines(request, self._door.body_s):
                    await places.acquire()
                    group.create_task(self._answer(line, response)).add_done_callback(lambda _: places.release())
            except (Refusal, TimeoutError) as error:  # too late for a status: it is the last line
                await _write(
                    response, {"error": {"kind": "http", "detail": str(error) or "the next line did not arrive in time"}}
                )
        await response.write_eof()
        return response

    async def _answer(self, line: bytes, response: web.StreamResponse) -> None:
        which: dict[str, Any] = {}
        try:
            body = decoded(line, "line")
            which = {"session": body.get("session"), "seq": body.get("seq")}
            answer: dict[str, Any] = {"result": result_to(await self._called(checked_id(body.get("session")), body))}
        except Exception as error:
            refusal = error_of(error)
            if refusal is None:
                _log.exception("batch")
            answer = refusal.body() if refusal else {"error": {"kind": "internal", "detail": type(error).__name__}}
        await _write(response, which | answer)

    # --- about the server -------------------------------------------------------------------------------------------------

    async def tools(self, request: web.Request) -> web.Response:
        profile = request.query.get("profile", self._service.profile)
        return _json({"profile": profile, "tools": list(self._service.tools_of(profile))})

    async def info(self, _: web.Request) -> web.Response:
        level = self._service.sandbox.level
        info = {"kind": self._service.kind, "level": int(level), "level_name": level.name.lower()}
        return _json(info | {"profiles": list(self._service.tools), "queue_s": self._table.capacity.queue_s})

    async def attach(self, request: web.Request) -> web.WebSocketResponse:
        """No pings: a trainer's event loop may stand still for minutes; the end of its process closes the connection."""
        line = web.WebSocketResponse(max_msg_size=1024)
        await line.prepare(request)
        self._lines.add(line)
        async with self._table.lifelines.hold(request.match_info["client"]):
            async for _ in line:
                pass
        return line

    async def hang_up(self, _: web.Application) -> None:
        for line in list(self._lines):
            await line.close(code=WSCloseCode.GOING_AWAY)
        await self._canary.close()

    async def healthz(self, _: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        trouble = await self._canary.trouble()
        return _json({"status": trouble or "ok"}, 503 if trouble else 200)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self._table.metrics.text(), content_type="text/plain", charset="utf-8")


async def _write(response: web.StreamResponse, line: Mapping[str, Any]) -> None:
    with suppress(ConnectionError):  # if nobody listens any more: results are stored
        await response.write(encoded(line) + b"\n")


async def _lines(request: web.Request, pause_s: float) -> AsyncIterator[bytes]:
    """Lines of the body, as they come; TimeoutError if nothing comes for `pause_s`."""
    rest = b""
    deadline = time.monotonic() + pause_s
    while True:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            chunk = await request.content.readany()
        *whole, rest = (rest + chunk).split(b"\n")
        for line in filter(bytes.strip, whole):
            yield line
            deadline = time.monotonic() + pause_s  # for whole lines: a drip of bytes is cut off
        if not chunk:
            break
        if len(rest) > MAX_BODY:
            raise Refusal(Kind.TOO_LARGE, f"a line may have {MAX_BODY} bytes")
    if rest.strip():
        yield rest
