"""An MCP server that counts, and that dies, hangs, lies and fails on request. `http FD` serves that socket, else stdio."""

import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer

server = MCPServer("moody")
state: dict[str, Any] = {"count": 0}


@dataclass
class Step:
    by: int
    why: str = ""


@server.tool()
def count(step: Step) -> str:
    """Count on."""
    state["count"] += step.by
    return f"{state['count']} {step.why}".strip()


@server.tool()
def chance() -> str:
    """A number that nobody can repeat."""
    return os.urandom(8).hex()


@server.tool()
def fail(message: str) -> str:
    """Fail as a tool does."""
    raise RuntimeError(message)


@server.tool()
def die() -> str:
    """End the server in the middle of a call."""
    print("goodbye, cruel world", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
def hang(seconds: float, server: str = "", self: str = "") -> str:
    """Say nothing for a while; its other arguments have names that collide with ours."""
    time.sleep(seconds)
    return f"{server}{self}"


@server.tool()
def facts() -> dict[str, int]:
    """Structured content."""
    return {"a": 1}


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        web = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="warning"))
        web.run(sockets=[socket.socket(fileno=int(sys.argv[2]))])
    else:
        server.run()
