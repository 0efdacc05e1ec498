"""An MCP server as a set of tools for any ToolEnv, in one call:

    ToolEnv(toolset=[mcp_tools(["python", "weather_server.py"])])       a server over stdio, started here
    ToolEnv(toolset=[mcp_tools("http://127.0.0.1:8000/mcp")])           one that runs already, over streamable HTTP

Names, descriptions and JSON schemas are the server's. What a tool says, its errors included, is the observation; a server that
does not start, dies, hangs or breaks the protocol is an EnvFailure. What is remembered between calls, and by whom, decides how
episodes and forks are kept apart; say it with `state`:

    "connection"   what the tools remember ends with the connection (the rule over stdio): each episode has its own, and a fork
                   has its own too, on which the calls so far are made again. If they do not say the same as before, the server
                   is not deterministic, and that is an EnvFailure.
    "none"         the tools remember nothing (a calculator, a search engine): one connection serves every episode and fork.
    "outside"      the server remembers by itself (the rule over HTTP): one connection for all episodes; a fork is refused.

An episode replays only as well as the server does: clocks, chance and the outside world in its results are in the observations.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal, Self

from typing_extensions import override

from turnwise.envs.adapters.packages import needed
from turnwise.envs.tools import Tool, ToolSet, as_text
from turnwise.errors import ConfigError, EnvFailure, UnknownName, Unsupported
from turnwise.tool_servers.sandbox.blocking import wait_for

__all__ = ["McpTools", "mcp_tools"]

State = Literal["connection", "none", "outside"]
STATES = ("connection", "none", "outside")
MAX_LOG = 400
"""Characters of a dead server's standard error that the failure quotes."""
_INVALID_PARAMS = -32602


def mcp_tools(
    server: str | Sequence[str],
    *,
    state: State | None = None,
    only: Sequence[str] | None = None,
    call_s: float = 30.0,
    start_s: float = 30.0,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> McpTools:
    """The tools of an MCP server: a URL (streamable HTTP) or a command and its arguments (stdio). See the module for `state`.

    only: names of the tools to offer (all by default). call_s, start_s: seconds for one call, and until the server answers.
    env, cwd: environment variables (added to a minimal set) and working directory of a command.
    """
    if isinstance(server, str) and not server.startswith(("http://", "https://")):
        raise ConfigError(f"mcp_tools: expected a URL or a command as a list, such as ['python', 'server.py'], got {server!r}.")
    if isinstance(server, str) and (env or cwd):
        raise ConfigError("mcp_tools: env and cwd are for a command; a server behind a URL has its own.")
    if not server:
        raise ConfigError("mcp_tools: the command is empty.")
    if state is not None and state not in STATES:
        raise UnknownName("state of mcp_tools", str(state), STATES)
    if call_s <= 0 or start_s <= 0:
        raise ConfigError(f"mcp_tools: call_s and start_s must be positive, got {call_s} and {start_s}.")
    kept: State = state or ("outside" if isinstance(server, str) else "connection")
    where = server if isinstance(server, str) else tuple(server)
    return McpTools(_Server(where, call_s, start_s, dict(env or {}), cwd), kept, None if only is None else tuple(only))


@dataclass(frozen=True, slots=True)
class _Server:
    """How to reach it."""

    where: str | tuple[str, ...]
    call_s: float
    start_s: float
    env: dict[str, str]
    cwd: str | None

    @property
    def name(self) -> str:
        return self.where if isinstance(self.where, str) else " ".join(self.where)


@dataclass(frozen=True, slots=True)
class _Schema:
    """The arguments of a tool as the server describes them."""

    schema: Mapping[str, Any]
    problem: Callable[[Mapping[str, Any]], str]

    def read(self, given: Mapping[str, Any]) -> Mapping[str, Any] | str:
        return self.problem(given) or given


@dataclass(slots=True)
class _Shared:
    """A connection and those that use it; the last one closes it."""

    connection: _Connection
    users: int = 1


@dataclass(frozen=True, slots=True)
class _Call:
    """One call that was made, for forks."""

    tool: str
    arguments: Mapping[str, Any]
    text: str


class McpTools(ToolSet):
    """The tools of one MCP server; made by `mcp_tools`."""

    waits = True

    def __init__(self, server: _Server, state: State, only: tuple[str, ...] | None) -> None:
        self.state: State = state
        self._server, self._only = server, only
        self._tools: tuple[Tool, ...] = ()
        self._shared: _Shared | None = None
        self._made: tuple[_Call, ...] = ()
        self._to_repeat: tuple[_Call, ...] = ()
        """What a fork has to do again on its own connection before its first call."""
        self._lost = False

    @property
    @override
    def tools(self) -> Sequence[Tool]:
        """What the server offers, asked once. Raises EnvFailure, or ConfigError for a name in `only` that it does not have."""
        if not self._tools:
            listed = self._connected().tools()
            names = [tool.name for tool in listed]
            for name in self._only or ():
                if name not in names:
                    raise UnknownName(f"tool of {self._server.name}", name, names)
            self._tools = tuple(_tool_of(tool) for tool in listed if self._only is None or tool.name in self._only)
        return self._tools

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """What the server's tool says. Raises EnvFailure if the server broke."""
        if self._lost:  # going on with a new connection would go on from another state
            raise EnvFailure("mcp-gone", f"{self._server.name}: it was lost earlier in this episode.")
        try:
            text = self._called(self._connected(), name, arguments)
        except EnvFailure:
            self.close()
            self._lost = self.state == "connection"
            raise
        if self.state == "connection":
            self._made = (*self._made, _Call(name, dict(arguments), text))
        return text

    def _called(self, connection: _Connection, name: str, arguments: Mapping[str, Any]) -> str:
        for done in self._to_repeat:
            text = connection.call(done.tool, done.arguments)
            if text != done.text:
                raise EnvFailure(
                    "mcp-replay",
                    f"{self._server.name}: {done.tool} said {text[:200]!r} where it had said {done.text[:200]!r}; this server is "
                    "not deterministic, so it cannot be forked by making its calls again.",
                )
        self._to_repeat = ()
        return connection.call(name, arguments)

    @override
    def restart(self) -> None:
        if self.state == "connection" and self._made:
            self.close()
        self._lost = False

    @override
    def close(self) -> None:
        shared, self._shared = self._shared, None
        self._made = self._to_repeat = ()
        if shared is not None:
            shared.users -= 1
            if shared.users == 0:
                shared.connection.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A fork."""
        twin = type(self)(self._server, self.state, self._only)
        twin._tools = self._tools
        if self._shared is not None and self.state == "outside":
            raise Unsupported(
                f"{self._server.name}: an environment whose MCP server remembers by itself cannot be forked; say state='none' if "
                "its tools remember nothing, or state='connection' if what they remember ends with the connection."
            )
        if self._shared is not None and self.state == "none":
            twin._shared = self._shared
            self._shared.users += 1
        twin._made = self._made
        twin._to_repeat = self._made
        twin._lost = self._lost
        return twin

    def _connected(self) -> _Connection:
        if self._shared is None:
            self._shared = _Shared(_Connection(self._server))
        return self._shared.connection


class _Connection:
    """A client on the background loop, in a task that enters and leaves it."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._sdk = needed("mcp", "mcp")
        self._stop: asyncio.Event | None = None
        self._log: IO[str] | None = None
        self._client: Any = None
        wait_for(self._open())

    def tools(self) -> list[Any]:
        return wait_for(self._guarded(self._list()))

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        return wait_for(self._guarded(self._call(name, arguments)))

    def close(self) -> None:
        wait_for(self._close())

    async def _open(self) -> None:
        self._stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(started))
        try:
            await asyncio.wait_for(asyncio.shield(started), self._server.start_s)
        except TimeoutError:
            await self._close()
            raise EnvFailure("mcp-start", f"{self._server.name}: no answer within {self._server.start_s:g} s.") from None
        except EnvFailure:
            await self._close()
            raise

    async def _run(self, started: asyncio.Future[None]) -> None:
        assert self._stop is not None
        try:
            async with self._made() as client:
                self._client = client
                if not started.done():
                    started.set_result(None)
                await self._stop.wait()
        except Exception as error:  # the boundary of somebody else's server: whatever it is, the environment failed
            if not started.done():
                started.set_exception(EnvFailure("mcp-start", f"{self._server.name}: {_said(error)}{self._last_words()}"))
        finally:
            if not started.done():
                started.cancel()

    def _made(self) -> Any:
        where = self._server.where
        if isinstance(where, str):
            return self._sdk.Client(where, read_timeout_seconds=self._server.call_s, cache=None)
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  (closed with the connection)
        command = self._sdk.StdioServerParameters(
            command=where[0], args=list(where[1:]), env=self._server.env or None, cwd=self._server.cwd
        )
        transport = self._sdk.stdio_client(command, errlog=self._log)
        return self._sdk.Client(transport, read_timeout_seconds=self._server.call_s, cache=None)

    async def _list(self) -> list[Any]:
        found, cursor = list[Any](), None
        while True:
            page = await self._client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                return found

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        try:
            return _text_of(await self._client.call_tool(name, dict(arguments)))
        except self._sdk.MCPError as error:
            if error.code == _INVALID_PARAMS:
                return f"Error: {name}: {error.message}"
            raise

    async def _guarded(self, work: Any) -> Any:
        """The result, or EnvFailure: for a server that died, hangs, or does not keep to the protocol."""
        running = asyncio.ensure_future(work)
        done, _ = await asyncio.wait({running, self._task}, timeout=self._server.call_s, return_when=asyncio.FIRST_COMPLETED)
        if running not in done:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await running
            said = "the connection ended" if done else f"no answer within {self._server.call_s:g} s"
            raise EnvFailure("mcp-gone" if done else "mcp-timeout", f"{self._server.name}: {said}{self._last_words()}")
        try:
            return running.result()
        except Exception as error:  # the same boundary
            raise EnvFailure("mcp", f"{self._server.name}: {_said(error)}{self._last_words()}") from error

    async def _close(self) -> None:
        if self._stop is not None:
            self._stop.set()
            done, _ = await asyncio.wait({self._task}, timeout=10.0)
            if not done:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=10.0)
        if self._log is not None:
            self._log.close()

    def _last_words(self) -> str:
        if self._log is None or self._log.closed:
            return ""
        self._log.seek(0)
        said = self._log.read()[-MAX_LOG:].strip()
        return f"; its last words: {said}" if said else ""


def _said(error: BaseException) -> str:
    """The innermost error of a group: task groups wrap what really happened."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _tool_of(listed: Any) -> Tool:
    schema: Mapping[str, Any] = {"properties": {}, **listed.input_schema}
    validator = needed("jsonschema", "mcp").Draft202012Validator(schema)

    def problem(given: Mapping[str, Any]) -> str:
        error = next(iter(validator.iter_errors(dict(given))), None)
        if error is None:
            return ""
        return f"{'.'.join(str(part)[:50] for part in error.absolute_path) or 'arguments'}: {error.message[:300]}."

    def function(server: McpTools, /, **arguments: Any) -> str:
        return server.call(listed.name, arguments)

    return Tool(listed.name, listed.description or listed.title or listed.name, function, _Schema(schema, problem), method=True)


def _text_of(result: Any) -> str:
    text = "\n".join(part for part in map(_block, result.content) if part)
    if not text and result.structured_content is not None:
        text = as_text(result.structured_content)
    return f"Error: {text}" if result.is_error and not text.lower().startswith("error") else text


def _block(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "resource":
            return str(getattr(block.resource, "text", f"[resource {block.resource.uri}]"))
        case "resource_link":
            return f"[resource {block.uri}]"
        case _:
            return f"[{block.type} {getattr(block, 'mime_type', '')}]".replace(" ]", "]")
