"""The tools over MCP: the SDK's own client against a real server, over HTTP in both eras of the protocol and over stdio."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp
import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from turnwise.tool_servers.admission import Capacity
from turnwise.tool_servers.app import Door
from turnwise.tool_servers.kinds import KINDS, opened
from turnwise.tool_servers.mcp import SEQ, SESSION
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import SessionSpec
from turnwise.tool_servers.sandbox.remote import RemoteSandbox
from turnwise.tool_servers.serve import Listen, served

TOKEN = "a token for tests only"
COUNT = {"code": "n = globals().get('n', 0) + 1\nprint(n)"}


@asynccontextmanager
async def serving(capacity: Capacity | None = None) -> AsyncGenerator[str, None]:
    async with (
        opened(KINDS["python"], profiles=["python"]) as service,
        served(service, Listen(), Door(token=TOKEN), capacity) as address,
    ):
        yield address


@asynccontextmanager
async def client(address: str, mode: str = "auto", **headers: str) -> AsyncGenerator[mcp.Client, None]:
    given = {"Authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with (
        httpx2.AsyncClient(headers=given) as http,
        mcp.Client(streamable_http_client(f"{address}/mcp", http_client=http), mode=mode) as made,
    ):
        yield made


def text(result: Any) -> str:
    return result.content[0].text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_tools_over_http(mode: str) -> None:
    async def scenario() -> None:
        async with serving() as address, client(address, mode) as session:
            (tool,) = (await session.list_tools()).tools
            assert tool.name == "python" and set(tool.input_schema["properties"]) == {"code", "session"}
            assert tool.input_schema["required"] == ["code"] and tool.description
            result = await session.call_tool("python", {"code": "print('héllo'); 6 * 7"})
            assert not result.is_error and "héllo" in text(result) and "42" in text(result)
            assert result.structured_content["status"] == "ok" and result.structured_content["seq"] == 1
            # Nothing is kept without a name, all is kept with one.
            assert [text(await session.call_tool("python", COUNT)) for _ in range(2)] == ["1", "1"]
            assert [text(await session.call_tool("python", COUNT | {"session": "w"})) for _ in range(2)] == ["1", "2"]
            wrong = await session.call_tool("python", {"code": "1/0"})
            assert wrong.is_error and "ZeroDivisionError" in text(wrong)

    asyncio.run(scenario())


def test_meta_names_the_session_and_makes_repeats_safe() -> None:
    async def scenario() -> None:
        async with serving() as address, client(address) as session:

            async def count(seq: int | None) -> str:
                meta: dict[str, Any] = {SESSION: "trajectory-1"} | ({SEQ: seq} if seq else {})
                return text(await session.call_tool("python", COUNT, meta=meta))

            assert [await count(seq) for seq in (1, 1, 2, 1, None, 3)] == ["1", "1", "2", "1", "3", "3"]
            with pytest.raises(MCPError, match="expected seq 4, got 9"):
                await count(9)
            async with client(address, Turnwise_Session="trajectory-1") as by_header:
                assert text(await by_header.call_tool("python", COUNT)) == "4"
            async with RemoteSandbox(address, token=TOKEN) as sandbox:
                native = await sandbox.open(SessionSpec("native", limits=Limits(memory_mb=64, wall_s=3)))
                await native.call(1, "python", {"code": "n = 100"})
                assert text(await session.call_tool("python", COUNT, meta={SESSION: "native"})) == "101"
                await native.close()
                with pytest.raises(MCPError, match="closed") as lost:
                    await session.call_tool("python", COUNT, meta={SESSION: "native"})
                assert lost.value.data["kind"] == "closed"

    asyncio.run(scenario())


def test_infrastructure_is_a_protocol_error() -> None:
    async def scenario() -> None:
        async with serving(Capacity(sessions=1, queue_s=0.05)) as address, client(address) as session:
            with pytest.raises(MCPError, match="Unknown tool: pyton") as unknown:
                await session.call_tool("pyton", {})
            assert unknown.value.code == -32602
            with pytest.raises(MCPError, match="session id") as wrong:
                await session.call_tool("python", COUNT, meta={SESSION: "../x"})
            assert wrong.value.code == -32602
            await session.call_tool("python", COUNT | {"session": "only"})
            with pytest.raises(MCPError, match="no room") as busy:
                await session.call_tool("python", COUNT)
            assert busy.value.code == -32603 and busy.value.data["kind"] == "busy" and busy.value.data["retriable"]

    asyncio.run(scenario())


def test_one_call_sessions_are_closed() -> None:
    async def scenario() -> None:
        async with serving(Capacity(sessions=2)) as address, client(address) as session:
            for _ in range(6):
                await session.call_tool("python", COUNT)
            async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
                metrics = (await http.get(f"{address}/metrics")).text
                assert "turnwise_sessions_live 0\n" in metrics and "turnwise_sessions_opened_total 6\n" in metrics
            async with httpx2.AsyncClient() as stranger:
                assert (await stranger.post(f"{address}/mcp", json={})).status_code == 401

    asyncio.run(scenario())


def test_stdio_keeps_one_session_for_its_connection() -> None:
    async def scenario() -> None:
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "turnwise.cli", "serve", "python", "--mcp", "stdio"],
            env={"PYTHONWARNINGS": "ignore"},
        )
        async with mcp.Client(stdio_client(server)) as session:
            (tool,) = (await session.list_tools()).tools
            assert set(tool.input_schema["properties"]) == {"code"}
            assert [text(await session.call_tool("python", COUNT)) for _ in range(3)] == ["1", "2", "3"]
            assert (await session.call_tool("python", {"code": "raise SystemExit"})).is_error

    asyncio.run(scenario())
