"""The HTTP interface as any client sees it: a real server on a real socket, real sessions behind it, raw requests."""

import asyncio
import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from turnwise.errors import ConfigError
from turnwise.tool_servers.admission import Capacity
from turnwise.tool_servers.app import Door
from turnwise.tool_servers.kinds import KINDS, opened
from turnwise.tool_servers.serve import Listen, served

TOKEN = "a token for tests only"
DOOR, ANYWHERE = Door(token=TOKEN), Listen()
SMALL = {"memory_mb": 64, "wall_s": 5}


class Client:
    """Sends JSON, gives (status, JSON)."""

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self.http, self.address = http, address

    async def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        async with self.http.request(method, self.address + path, json=body, **more) as response:
            text = await response.text()
            return response.status, json.loads(text) if text[:1] in ("{", "[") else text

    async def open(self, id: str, **spec: Any) -> None:
        status, answer = await self("POST", "/v1/sessions", {"id": id, "limits": SMALL, **spec})
        assert status == 200 and answer == {"id": id}, answer

    async def run(self, id: str, seq: int, code: str) -> tuple[int, Any]:
        return await self("POST", f"/v1/sessions/{id}/calls", {"seq": seq, "tool": "python", "arguments": {"code": code}})


@asynccontextmanager
async def serving(
    capacity: Capacity | None = None, door: Door = DOOR, listen: Listen = ANYWHERE, headers: Any = None
) -> AsyncGenerator[Client, None]:
    headers = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
    async with (
        opened(KINDS["python"], profiles=["python"]) as service,
        served(service, listen, door, capacity, mcp=False) as address,
        aiohttp.ClientSession(headers=headers) as http,
    ):
        yield Client(http, address)


def kind_of(answer: Any) -> str:
    return answer["error"]["kind"]


def test_sessions_and_calls() -> None:
    async def scenario() -> None:
        async with serving() as ask:
            await ask.open("a")
            await ask.open("a")
            status, answer = await ask("POST", "/v1/sessions", {"id": "a", "seed": 3})
            assert status == 409 and kind_of(answer) == "other_spec"
            status, answer = await ask.run("a", 1, "print('hello'); x = 1")
            assert status == 200 and answer["status"] == "ok" and answer["out"] == "hello\n" and answer["seq"] == 1
            assert await ask.run("a", 1, "print('hello'); x = 1") == (200, answer)
            assert kind_of((await ask.run("a", 1, "other"))[1]) == "wrong_seq"
            status, answer = await ask.run("a", 5, "x")
            assert status == 409 and kind_of(answer) == "wrong_seq" and "expected seq 2" in answer["error"]["detail"]
            status, answer = await ask("POST", "/v1/sessions/a/fork", {"ids": ["b", "c"]})
            assert (status, answer) == (200, {"ids": ["b", "c"]})
            assert await ask("POST", "/v1/sessions/a/fork", {"ids": ["b", "c"]}) == (200, {"ids": ["b", "c"]})
            assert (await ask("POST", "/v1/sessions/a/fork", {"ids": ["c", "d"]}))[0] == 409
            assert (await ask.run("b", 2, "x += 1; print(x)"))[1]["out"] == "2\n"
            assert (await ask.run("c", 2, "print(x)"))[1]["out"] == "1\n"
            assert (await ask("POST", "/v1/sessions/a/heartbeat"))[0] == 200
            assert await ask("DELETE", "/v1/sessions/a") == await ask("DELETE", "/v1/sessions/a") == (204, "")
            for answered in (
                await ask.run("a", 2, "x"),
                await ask("POST", "/v1/sessions/a/heartbeat"),
                await ask("POST", "/v1/sessions", {"id": "a"}),
            ):
                assert answered[0] == 410 and kind_of(answered[1]) == "closed"
            assert (await ask.run("never", 1, "x"))[0] == 404
            assert (await ask.run("b", 3, "print(x)"))[1]["out"] == "2\n"

    asyncio.run(scenario())


def test_a_close_that_overtakes_its_open_wins() -> None:
    async def scenario() -> None:
        async with serving() as ask:
            assert (await ask("DELETE", "/v1/sessions/early"))[0] == 204
            status, answer = await ask("POST", "/v1/sessions", {"id": "early", "limits": SMALL})
            assert status == 410 and kind_of(answer) == "closed"

    asyncio.run(scenario())


def test_files() -> None:
    async def scenario() -> None:
        async with serving() as ask:
            await ask.open("a", files={"in.txt": "aGVsbG8="})
            file = "/v1/sessions/a/files?path="
            assert await ask("GET", file + "in.txt") == (200, "hello")
            assert (await ask("PUT", file + "deep/er/out.txt", data=b"new"))[0] == 200
            assert (await ask.run("a", 1, "print(open('deep/er/out.txt').read())"))[1]["out"] == "new\n"
            assert await ask("GET", file + "nothing") == (
                404,
                {"error": {"kind": "no_file"} | (await ask("GET", file + "nothing"))[1]["error"]},
            )
            assert kind_of((await ask("GET", file + "in.txt&max_bytes=2"))[1]) == "bad_request"
            assert kind_of((await ask("GET", file + "in.txt&max_bytes=many"))[1]) == "bad_request"
            assert kind_of((await ask("GET", "/v1/sessions/a/files"))[1]) == "bad_request"
            status, answer = await ask("PUT", file + "large", data=io.BytesIO(b"x" * (4 * 1024 * 1024 + 1)))
            assert status == 413 and kind_of(answer) == "too_large"

    asyncio.run(scenario())


def test_a_wrong_call_is_refused_and_uses_no_seq() -> None:
    wrong: list[Any] = [
        {"tool": "python"},
        {"seq": 0, "tool": "python"},
        {"seq": True, "tool": "python"},
        {"seq": "1", "tool": "python"},
        {"seq": 1},
        {"seq": 1, "tool": "python", "arguments": []},
        {"seq": 1, "tool": "python", "wall_s": 0},
        {"seq": 1, "tool": "python", "wall_s": "1"},
        [],
        None,
    ]

    async def scenario() -> None:
        async with serving() as ask:
            await ask.open("a")
            for body in wrong:
                status, answer = await ask("POST", "/v1/sessions/a/calls", body)
                assert status == 400 and kind_of(answer) == "bad_request", body
            assert (await ask.run("a", 1, "print(1)"))[1]["out"] == "1\n"

    asyncio.run(scenario())


def test_a_batch_streams_each_result_as_it_finishes() -> None:
    """The answer to a quick line comes while the slow one still runs, and while the request is still being sent."""

    async def scenario() -> None:
        async with serving() as ask:
            await ask.open("slow")
            await ask.open("quick")
            go_on = asyncio.Event()

            def line(session: str, seq: Any, code: str) -> bytes:
                return (
                    json.dumps({"session": session, "seq": seq, "tool": "python", "arguments": {"code": code}}).encode() + b"\n"
                )

            async def lines() -> AsyncGenerator[bytes, None]:
                yield line("slow", 1, "import time; time.sleep(0.7); print('s1')") + line("slow", 2, "print('s2')")
                yield line("quick", 1, "print('q1')") + b"\n" + b"not json\n" + line("nobody", 1, "") + line("quick", "x", "")
                await go_on.wait()
                yield line("quick", 2, "print('q2')")[:-1]

            answers: list[dict[str, Any]] = []
            async with ask.http.post(ask.address + "/v1/batch", data=lines()) as response:
                assert response.status == 200
                async for answer in response.content:
                    answers.append(json.loads(answer))
                    if answers[-1].get("session") == "quick" and answers[-1].get("seq") == 1:
                        assert "s1\n" not in [a.get("result", {}).get("out") for a in answers]
                        go_on.set()
            outs = [a["result"]["out"].strip() for a in answers if "result" in a]
            assert sorted(outs) == ["q1", "q2", "s1", "s2"] and outs.index("s1") < outs.index("s2") and outs[0] == "q1"
            assert sorted(kind_of(a) for a in answers if "error" in a) == ["bad_request", "bad_request", "unknown_session"]

    asyncio.run(scenario())


def test_about_the_server() -> None:
    async def scenario() -> None:
        async with serving() as ask:
            status, tools = await ask("GET", "/v1/tools")
            assert status == 200 and tools["profile"] == "python"
            assert [t["name"] for t in tools["tools"]] and all(t["parameters"]["type"] == "object" for t in tools["tools"])
            assert (await ask("GET", "/v1/tools?profile=science"))[0] == 400
            info = (await ask("GET", "/v1/info"))[1]
            assert info["kind"] == "python" and info["level"] >= 1 and info["profiles"] == ["python"]
            assert await ask("GET", "/healthz") == (200, {"status": "ok"})
            assert await ask("GET", "/readyz") == (200, {"status": "ok"})
            await ask.open("a")
            for seq in (1, 2):
                await ask.run("a", seq, "print(1)")
            await ask.run("a", 3, "1/0")
            await ask("POST", "/v1/sessions/a/calls", {"seq": 4, "tool": "x" * 50})
            await ask.open("b")
            await ask("DELETE", "/v1/sessions/b")
            lines = (await ask("GET", "/metrics"))[1].splitlines()
            for expected in (
                'turnwise_calls_total{tool="python",status="ok"} 2',
                'turnwise_calls_total{tool="python",status="error"} 1',
                'turnwise_calls_total{tool="other",status="error"} 1',
                'turnwise_call_seconds_count{tool="python"} 3',
                "turnwise_sessions_live 1",
                "turnwise_sessions_opened_total 2",
                'turnwise_sessions_closed_total{cause="client"} 1',
                "turnwise_memory_promised_mb 64",
                'turnwise_queue_depth{gate="calls"} 0',
                "turnwise_calls_running 0",
            ):
                assert expected in lines, expected

    asyncio.run(scenario())


# --- who may ask ----------------------------------------------------------------------------------------------------------


def test_the_token_guards_all_but_health() -> None:
    async def scenario() -> None:
        async with serving(headers={}) as ask:
            for method, path in (
                ("POST", "/v1/sessions"),
                ("GET", "/v1/tools"),
                ("GET", "/metrics"),
                ("GET", "/v1/attach/x"),
                ("GET", "/any"),
            ):
                for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
                    status, answer = await ask(method, path, headers=header)
                    assert status == 401 and kind_of(answer) == "token" and TOKEN not in str(answer)
            assert (await ask("GET", "/healthz"))[0] == (await ask("GET", "/readyz"))[0] == 200
            assert (await ask("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}))[0] == 200

    asyncio.run(scenario())


def test_without_a_token_other_names_than_localhost_are_refused() -> None:
    """A web page that has its own name point to 127.0.0.1 must not reach the tools."""

    async def scenario() -> None:
        async with serving(door=Door(), headers={}) as ask:
            assert (await ask("GET", "/v1/tools"))[0] == 200
            port = urlsplit(ask.address).port
            for header in ({"Host": f"localhost:{port}"}, {"Origin": "http://localhost:3000"}, {"Host": "[::1]"}):
                assert (await ask("GET", "/v1/tools", headers=header))[0] == 200, header
            for header in (
                {"Host": f"evil.test:{port}"},
                {"Host": "localhost.evil.test"},
                {"Origin": "https://evil.test"},
                {"Origin": "null"},
            ):
                assert (await ask("GET", "/v1/tools", headers=header))[0] == 403, header

    asyncio.run(scenario())


def test_a_public_address_needs_a_token() -> None:
    async def scenario() -> None:
        async with opened(KINDS["python"], profiles=["python"]) as service:
            for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
                with pytest.raises(ConfigError, match="token"):
                    async with served(service, Listen(host=host), Door()):
                        pass

    asyncio.run(scenario())


# --- hostile connections --------------------------------------------------------------------------------------------------


async def raw(address: str, data: bytes) -> bytes:
    """What the server says to these bytes until it hangs up."""
    url = urlsplit(address)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(data)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_slow_and_garbled_connections_are_cut_off_and_others_are_served() -> None:
    async def scenario() -> None:
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
        attacks = [
            b"",
            b"POST /v1/sess",
            head,
            head + b"Content-Length: 100\r\n\r\n{",
            head + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n',
            b"\x16\x03\x01\x00\xff\x00garbage\x00\xff" * 50,
            b"GET / HTTP/9.9\r\n\r\n",
            head + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
            head + b"Content-Length: -1\r\n\r\n",
            head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        ]
        async with serving(door=Door(token=TOKEN, body_s=0.5), listen=Listen(idle_s=1)) as ask:
            await ask.open("a")
            answers = asyncio.gather(*(raw(ask.address, attack) for attack in attacks * 5))
            for seq in range(1, 11):
                assert (await ask.run("a", seq, f"print({seq})"))[1]["out"] == f"{seq}\n"
            answers = await answers
            assert not any(answer.startswith(b"HTTP/1.1 200") for answer in answers)
            assert answers[3].startswith(b"HTTP/1.1 408") and answers[4].startswith(b"HTTP/1.1 408")

    asyncio.run(scenario())


def test_a_batch_that_drips_is_cut_off() -> None:
    async def scenario() -> None:
        async with serving(door=Door(token=TOKEN, body_s=0.4)) as ask:

            async def drip() -> AsyncGenerator[bytes, None]:
                for _ in range(1000):
                    yield b" "
                    await asyncio.sleep(0.05)

            with pytest.raises(aiohttp.ClientError):
                async with ask.http.post(ask.address + "/v1/batch", data=drip()) as response:
                    last = json.loads(await response.read())
                    assert "did not arrive" in last["error"]["detail"]
                    raise aiohttp.ClientError  # it said so before it hung up: as good

    asyncio.run(scenario())


# --- room -----------------------------------------------------------------------------------------------------------------


def test_a_full_server_says_so_and_when_to_come_again() -> None:
    async def scenario() -> None:
        async with serving(Capacity(memory_mb=130, queue_s=0.1)) as ask:
            await ask.open("a")
            await ask.open("b")
            async with ask.http.post(ask.address + "/v1/sessions", json={"id": "c", "limits": SMALL}) as response:
                assert response.status == 429 and response.headers["Retry-After"] == "1"
                assert kind_of(await response.json()) == "busy"
            status, answer = await ask("POST", "/v1/sessions", {"id": "d", "limits": {"memory_mb": 1000}})
            assert status == 400 and "ask for less" in answer["error"]["detail"]
            assert (await ask("POST", "/v1/sessions/a/fork", {"ids": ["e"]}))[0] == 429
            await ask("DELETE", "/v1/sessions/b")
            assert (await ask("POST", "/v1/sessions/a/fork", {"ids": ["e"]}))[0] == 200
            assert (await ask("GET", "/metrics"))[1].count("turnwise_memory_promised_mb 128") == 1

    asyncio.run(scenario())


def test_a_client_that_goes_away_in_the_queue_leaves_nothing() -> None:
    """Its open waits for room; its line is lost; the room goes to the next one."""

    async def scenario() -> None:
        async with serving(Capacity(sessions=1, queue_s=20, orphan_s=0.05)) as ask:
            await ask.open("a")
            line = await ask.http.ws_connect(ask.address + "/v1/attach/gone")
            body = {"id": "waits", "limits": SMALL}
            waiting = asyncio.create_task(ask("POST", "/v1/sessions", body, headers={"Turnwise-Client": "gone"}))
            async with asyncio.timeout(5):
                while 'turnwise_queue_depth{gate="sessions"} 1' not in (await ask("GET", "/metrics"))[1]:
                    await asyncio.sleep(0.01)
            await line.close()
            status, answer = await waiting
            assert status == 410 and "turnwise_sessions_live 1" in (await ask("GET", "/metrics"))[1], answer
            await ask("DELETE", "/v1/sessions/a")
            await ask.open("next")

    asyncio.run(scenario())
