"""A tool server that runs: where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aiohttp import web

from turnwise.errors import ConfigError, Unsupported
from turnwise.tool_servers.admission import Capacity
from turnwise.tool_servers.app import Door, application
from turnwise.tool_servers.service import Service
from turnwise.tool_servers.sessions import SessionTable

__all__ = ["Listen", "is_local", "serve_stdio", "served", "stopped"]

_MCP = "turnwise.tool_servers.mcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """An address: a unix socket, or host and port."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 is a free one."""
    unix: Path | None = None
    idle_s: float = 75.0
    """Seconds until a connection without a whole request is closed."""


def is_local(listen: Listen) -> bool:
    """Whether only this machine can connect."""
    if listen.unix or listen.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(listen.host).is_loopback
    except ValueError:
        return False


@asynccontextmanager
async def served(
    service: Service, listen: Listen, door: Door, capacity: Capacity | None = None, *, mcp: bool = True
) -> AsyncGenerator[str]:
    """Serve while the block runs; gives the address. Leaving it lets running calls end and closes every session.

    Raises ConfigError if the address cannot be had, or is public while there is no token. `mcp` adds /mcp where the SDK is
    installed.
    """
    if not door.token and not is_local(listen):
        raise ConfigError(f"serve: {listen.host} can be reached from other machines, so a token is needed; leave out --no-token.")
    async with AsyncExitStack() as stack:
        table = _table(service, capacity)
        handler = None
        if mcp and find_spec("mcp"):
            handler = await stack.enter_async_context(import_module(_MCP).over_http(service, table, door.body_s))
        runner = web.AppRunner(
            application(service, table, door, handler),
            handle_signals=False,
            access_log=None,
            keepalive_timeout=listen.idle_s,
            lingering_time=1.0,
            shutdown_timeout=table.capacity.grace_s,
            auto_decompress=False,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        address = await _bind(runner, listen)
        stack.callback(_unlink, listen.unix)
        await stack.enter_async_context(table)
        yield address


async def serve_stdio(service: Service, capacity: Capacity | None = None) -> None:
    """MCP on standard input and output, until the other side ends it. Raises Unsupported without the SDK."""
    if not find_spec("mcp"):
        raise Unsupported("serve --mcp: needs the MCP SDK; pip install 'turnwise[mcp]'.")
    async with _table(service, capacity) as table:
        await import_module(_MCP).over_stdio(service, table)


async def stopped() -> None:
    """Returns at SIGTERM or SIGINT; a second one kills as usual."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    def ask() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    await asked.wait()


def _table(service: Service, capacity: Capacity | None) -> SessionTable:
    return SessionTable(service.sandbox, capacity, tools=service.names(), counts_memory=service.counts_memory)


async def _bind(runner: web.AppRunner, listen: Listen) -> str:
    try:
        if listen.unix:
            _free(listen.unix)
            # Made by hand: between bind and chmod nobody else may connect.
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.bind(str(listen.unix))
            listen.unix.chmod(0o600)
            await web.SockSite(runner, sock).start()
            return f"unix:{listen.unix}"
        site = web.TCPSite(runner, listen.host, listen.port)
        await site.start()
    except OSError as error:
        where = listen.unix or f"{listen.host}:{listen.port}"
        raise ConfigError(f"serve: cannot listen on {where} ({error.strerror or error}); choose another address.") from None
    host, port = _bound(runner)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _bound(runner: web.AppRunner) -> tuple[str, int]:
    name: Any = runner.addresses[0]
    return name[0], name[1]


def _free(path: Path) -> None:
    """Remove the socket of a server that was killed; ConfigError if one answers there, or if it is no socket."""
    if not path.exists():
        return
    if not path.is_socket():
        raise ConfigError(f"serve: {path} is there already and is no socket; choose another path.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigError(f"serve: another server answers at {path}; stop it or choose another path.")


def _unlink(path: Path | None) -> None:
    if path:
        path.unlink(missing_ok=True)
