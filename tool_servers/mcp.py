"""The same tools over MCP (SDK 2.x): stateless streamable HTTP beside the native interface, or stdio.

MCP has had no protocol sessions since 2026-07-28, so which session a call belongs to is said by the call itself, in this order:

    `_meta`: {"turnwise/session": id, "turnwise/seq": n}   our clients; the model does not see it, and `seq` makes repeats safe
    header `Turnwise-Session: id`                           for clients that can set headers only
    argument `session`                                      for ordinary clients: the model names its workspace itself
    nothing                                                 HTTP: a fresh session for this one call; stdio: the connection's

A session that does not exist is opened with the server's defaults. What an action did wrong is content with `isError`; a broken
sandbox, a full server or a lost session is a JSON-RPC error.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import mcp_types as types
from aiohttp import web
from mcp.server import Server, ServerRequestContext
from mcp.server.caching import CacheHint
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from turnwise import __version__
from turnwise.tool_servers.asgi import handler
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status, ToolResult, checked_id
from turnwise.tool_servers.service import Service
from turnwise.tool_servers.sessions import SessionTable
from turnwise.tool_servers.wire import MAX_BODY, Kind, Refusal, encoded, error_of, result_to

__all__ = ["SEQ", "SESSION", "SESSION_HEADER", "over_http", "over_stdio"]

SESSION, SEQ = "turnwise/session", "turnwise/seq"
"""Keys of `_meta`."""
SESSION_HEADER = "Turnwise-Session"
_ARGUMENT = "session"
_ARGUMENT_SCHEMA = {
    "type": "string",
    "description": "Name of your workspace, free to choose. Calls with the same name share state; without it nothing is kept.",
}
_TOOLS_KEPT_MS = 3_600_000


@asynccontextmanager
async def over_http(
    service: Service, table: SessionTable, body_s: float
) -> AsyncGenerator[Callable[[web.Request], Awaitable[web.StreamResponse]]]:
    """A handler for /mcp."""
    calls = _Calls(service, table, "")
    manager = StreamableHTTPSessionManager(_server(calls), json_response=True, stateless=True, max_request_body_size=MAX_BODY)
    running = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def run() -> None:  # a task of its own, so that its task group does not wrap the errors of our caller
        async with manager.run():
            running.set_result(None)
            await leave.wait()

    task = asyncio.create_task(run())
    await running
    try:
        yield handler(manager.handle_request, body_s)
    finally:
        leave.set()
        await task


async def over_stdio(service: Service, table: SessionTable) -> None:
    """Serve one connection on standard input and output until it ends; its calls share one session."""
    own = f"stdio-{os.urandom(8).hex()}"
    server = _server(_Calls(service, table, own))
    try:
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())
    finally:
        await table.close(own)


class _Calls:
    """The handlers; `own` is the session of calls that name none, "" for a fresh one each."""

    def __init__(self, service: Service, table: SessionTable, own: str) -> None:
        self.service, self._table, self._own = service, table, own
        self.tools = [_tool(spec, named=not own) for spec in service.tools_of(service.profile)]

    async def list(self, _: ServerRequestContext[Any], __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=self.tools)

    def schema(self, name: str) -> Mapping[str, Any] | None:
        return next((tool.input_schema for tool in self.tools if tool.name == name), None)

    async def call(self, context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        if self.schema(params.name) is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        arguments = dict(params.arguments or {})
        meta: Mapping[str, Any] = context.meta or {}
        headers: Mapping[str, str] = context.request.headers if context.request is not None else {}
        named = meta.get(SESSION) or headers.get(SESSION_HEADER.lower()) or (not self._own and arguments.pop(_ARGUMENT, None))
        try:
            return _content(await self._called(named or self._own, meta.get(SEQ), params.name, arguments))
        except Exception as error:
            refusal = error_of(error)
            if refusal is None:
                raise
            code = types.INVALID_PARAMS if refusal.kind is Kind.BAD_REQUEST else types.INTERNAL_ERROR
            raise MCPError(code, refusal.detail, refusal.body()["error"]) from error

    async def _called(self, id: str, seq: int | None, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        once = "" if id else f"once-{os.urandom(8).hex()}"
        spec = SessionSpec(id=once or checked_id(id), profile=self.service.profile, settings=self.service.settings)
        try:
            await self._table.open(spec)
        except Refusal as refusal:
            if refusal.kind is not Kind.OTHER_SPEC:  # it was opened over the native interface, its own way
                raise
        try:
            return await self._table.call(spec.id, seq, tool, arguments)
        finally:
            if once:
                await self._table.close(once)


def _server(calls: _Calls) -> Server[Any]:
    return Server(
        f"turnwise-{calls.service.kind}",
        version=__version__,
        on_list_tools=calls.list,
        on_call_tool=calls.call,
        get_tool_input_schema=calls.schema,
        cache_hints={"tools/list": CacheHint(ttl_ms=_TOOLS_KEPT_MS)},
    )


def _tool(spec: Mapping[str, Any], *, named: bool) -> types.Tool:
    schema: dict[str, Any] = {"type": "object", **spec["parameters"]}
    if named:
        schema["properties"] = {**schema.get("properties", {}), _ARGUMENT: _ARGUMENT_SCHEMA}
    return types.Tool(name=spec["name"], description=spec.get("description", ""), input_schema=schema)


def _content(result: ToolResult) -> types.CallToolResult:
    value, pictures = _pictures(result.value)
    said = "" if value is None else value if isinstance(value, str) else encoded(value).decode()
    text = "\n".join(part.rstrip("\n") for part in (result.out, said, result.err) if part)
    return types.CallToolResult(
        content=[types.TextContent(text=text or f"({result.status}, no output)"), *pictures],
        structured_content=result_to(replace(result, value=value)),
        is_error=result.status is not Status.OK,
    )


def _pictures(value: Any) -> tuple[Any, list[types.ImageContent]]:
    """A value without the picture in it, {"image": {"type", "base64"}}, and that picture."""
    match value:
        case {"image": {"type": str(kind), "base64": str(data)}, **rest}:
            return rest or None, [types.ImageContent(mime_type=kind, data=data)]
        case _:
            return value, []
