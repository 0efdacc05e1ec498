"""The chat engine against a real HTTP server on this machine, well-behaved and otherwise."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import gymnasium
import numpy as np
import pytest
from aiohttp import web

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat_agent import ChatAgent
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.openai import ContextExceeded, OpenAIEngine, Retries
from turnwise.agents.evaluate import Evaluation, evaluate
from turnwise.agents.worlds import Worlds
from turnwise.envs import Transition, TurnEnv
from turnwise.errors import ConfigError, EngineFailure, Unsupported
from turnwise.types import Stop, Task

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MESSAGES = [{"role": "user", "content": "hello"}]
SAMPLING = Sampling(max_tokens=16, seed=5)


def answer(text: Any, finish: str = "stop") -> web.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})


class Script:
    """A server that answers request i with step i (the last one again and again) and remembers what it was asked."""

    def __init__(self, *steps: Callable[[], web.Response]) -> None:
        self.steps = steps
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        return self.steps[min(len(self.bodies), len(self.steps)) - 1]()


@asynccontextmanager
async def serving(handler: "Handler | Script") -> AsyncGenerator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler.handle if isinstance(handler, Script) else handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


class Chat:
    """One engine on one server, with the pauses it would have made."""

    def __init__(self, **settings: Any) -> None:
        self.settings: dict[str, Any] = {"now": lambda: 0.0, **settings}
        self.pauses: list[float] = []
        self.engine: OpenAIEngine

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def run(self, handler: Handler | Script, use: Callable[[OpenAIEngine], Awaitable[Any]] | None = None) -> Any:
        async def go() -> Any:
            async with serving(handler) as url:
                self.engine = OpenAIEngine("m", url, **{"sleep": self._sleep, **self.settings})
                try:
                    return await (use or (lambda engine: engine.chat(MESSAGES, SAMPLING)))(self.engine)
                finally:
                    await self.engine.close()

        return asyncio.run(go())


def test_a_reply_and_what_was_asked() -> None:
    server = Script(lambda: answer("hi", "length"))
    chat = Chat(api_key="secret", extra={"top_k": 3, "seed": None})
    done = chat.run(server)
    assert (done.text, done.stop_reason, done.prompt_tokens, done.completion_tokens) == ("hi", "length", 7, 3)
    assert server.bodies == [{"model": "m", "messages": MESSAGES, "max_tokens": 16, "top_k": 3}]
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert (chat.engine.usage.requests, chat.engine.usage.completion_tokens, chat.pauses) == (1, 3, [])


def test_sampling_settings_are_sent_where_they_are_not_the_default() -> None:
    server = Script(lambda: answer("hi"))
    sampling = Sampling(max_tokens=4, temperature=0.0, top_p=0.9, top_k=5, seed=2**40 + 3)
    Chat().run(server, lambda engine: engine.chat(MESSAGES, sampling))
    body = server.bodies[0]
    assert (body["temperature"], body["top_p"], body["top_k"], body["seed"]) == (0.0, 0.9, 5, 3)
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, ""), ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"), ("\ud800 é", "\ud800 é")],
)
def test_contents_of_every_form_are_read(content: Any, text: str) -> None:
    assert Chat().run(Script(lambda: answer(content))).text == text


def test_lone_surrogates_can_be_sent() -> None:
    server = Script(lambda: answer("ok"))
    message = [{"role": "user", "content": "broken \udc80 byte"}]
    assert Chat().run(server, lambda engine: engine.chat(message, SAMPLING)).text == "ok"
    assert server.bodies[0]["messages"] == message


def busy(status: int, **headers: str) -> Callable[[], web.Response]:
    return lambda: web.json_response({"error": {"message": "slow down"}}, status=status, headers=headers)


@pytest.mark.parametrize(
    "trouble",
    [
        busy(429),
        busy(500),
        busy(503),
        lambda: web.Response(text="<html>Bad gateway</html>", content_type="text/html"),
        lambda: web.json_response({"choices": []}),
        lambda: web.json_response(["no", "object"]),
        lambda: answer(17),
        lambda: web.Response(body=b"\xff\xfe{", content_type="application/json"),
    ],
)
def test_trouble_that_passes_is_survived(trouble: Callable[[], web.Response]) -> None:
    chat = Chat()
    assert chat.run(Script(trouble, trouble, lambda: answer("at last"))).text == "at last"
    assert (chat.engine.usage.requests, chat.engine.usage.retries) == (3, 2)
    assert 0.25 <= chat.pauses[0] <= 0.5 <= chat.pauses[1] <= 1.0


def test_trouble_that_stays_is_a_failure_of_the_provider() -> None:
    chat = Chat(retries=Retries(attempts=4, first_pause_s=10.0, longest_pause_s=15.0))
    with pytest.raises(EngineFailure, match=r"provider: HTTP 500: slow down \(gave up after 4 attempts\)") as error:
        chat.run(Script(busy(500)))
    assert error.value.kind == "provider"
    assert len(chat.pauses) == 3 and max(chat.pauses) <= 15.0


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("86400", 60.0),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:00:20 GMT", 20.0),
        ("Fri, 31 Dec 2060 00:00:00 GMT", 60.0),
    ],
)
def test_retry_after_is_honoured_and_bounded(header: str, pause: float) -> None:
    chat = Chat()
    chat.run(Script(busy(429, **{"Retry-After": header}), lambda: answer("ok")))
    assert chat.pauses == [pause]


@pytest.mark.parametrize("header", ["soon", "nan", "inf", ""])
def test_a_retry_after_that_says_nothing_is_ignored(header: str) -> None:
    chat = Chat()
    chat.run(Script(busy(429, **{"Retry-After": header}), lambda: answer("ok")))
    assert 0.25 <= chat.pauses[0] <= 0.5


def test_a_server_that_hangs_runs_into_the_time_out() -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    chat = Chat(timeout_s=0.05, retries=Retries(attempts=2))
    with pytest.raises(EngineFailure, match=r"provider: (Read|Connect)Timeout at .*gave up after 2 attempts"):
        chat.run(hang)


def test_a_dropped_connection_is_tried_again() -> None:
    calls: list[int] = []

    async def drop_once(request: web.Request) -> web.StreamResponse:
        calls.append(1)
        if len(calls) == 1:
            assert request.transport is not None
            request.transport.close()
        return answer("back")

    assert Chat().run(drop_once).text == "back" and len(calls) == 2


def test_nobody_at_the_address_stops_the_run() -> None:
    async def go() -> None:
        async with serving(Script(lambda: answer("x"))) as url:
            pass  # the port is free again
        engine = OpenAIEngine("m", url, retries=Retries(attempts=1))
        try:
            await engine.chat(MESSAGES, SAMPLING)
        finally:
            await engine.close()

    with pytest.raises(ConfigError, match=r"ConnectError at .* Check the address, and that the server runs"):
        asyncio.run(go())


def test_a_wrong_key_or_model_stops_the_run_at_once() -> None:
    refusal = Script(lambda: web.json_response({"error": {"message": "Incorrect API key", "code": "bad_key"}}, status=401))
    with pytest.raises(ConfigError, match="refuses model 'm': HTTP 401: Incorrect API key bad_key"):
        Chat().run(refusal)
    assert len(refusal.bodies) == 1

    async def twice(engine: OpenAIEngine) -> None:
        await engine.chat(MESSAGES, SAMPLING)
        await engine.chat(MESSAGES, SAMPLING)

    # Later on it is the provider's fault: a long run is not thrown away for it.
    with pytest.raises(EngineFailure, match="provider: HTTP 401"):
        Chat().run(Script(lambda: answer("ok"), lambda: web.Response(status=401, text="expired")), twice)


def test_models_that_call_the_cap_otherwise_get_what_they_want() -> None:
    complaint = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}
    server = Script(lambda: web.json_response(complaint, status=400), lambda: answer("ok"))
    assert Chat().run(server).text == "ok"
    assert "max_completion_tokens" in server.bodies[1] and "max_tokens" not in server.bodies[1]


def test_a_refused_request_is_not_repeated() -> None:
    server = Script(lambda: web.json_response({"error": {"message": "content filter"}}, status=400))
    with pytest.raises(EngineFailure, match="provider: HTTP 400: content filter"):
        Chat().run(server)
    assert len(server.bodies) == 1


def test_what_a_chat_api_cannot_do_is_refused_at_the_start() -> None:
    async def use(engine: OpenAIEngine) -> None:
        with pytest.raises(Unsupported, match="gives no token ids"):
            ModelAgent(engine, None, SAMPLING)  # type: ignore[arg-type]
        with pytest.raises(Unsupported, match="no token ids"):
            await engine.generate((1,), SAMPLING)
        with pytest.raises(Unsupported, match="scores no tokens"):
            await engine.score((1,), (2,))
        with pytest.raises(Unsupported, match="takes no weights"):
            await engine.update_weights({}, 1)

    Chat().run(Script(lambda: answer("ok")), use)
    for address in ("localhost:8000/v1", "http://", "", "ftp://x/v1"):
        with pytest.raises(ConfigError, match="must begin with http"):
            OpenAIEngine("m", address)


class Echo(TurnEnv):
    """Two turns: repeat the word, then say bye."""

    levels = range(1, 3)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        number = int(rng.integers(0, 10_000))
        return Task(f"echo-{number}", "Repeat.", f"word{number}", difficulty)

    def begin(self, task: Task) -> str:
        return f"Say {task.answer}"

    def play(self, action: str) -> Transition:
        if action == self.task.answer:
            return Transition("Say bye", 0.5, outcome=0.5, terms={"word": 0.5})
        done = float(action == "bye")
        return Transition("End", done / 2, terminated=True, outcome=done, terms={"bye": done / 2})

    def expert_action(self) -> str:
        return "bye"


async def obedient(request: web.Request) -> web.StreamResponse:
    """A model that says what the last message tells it to, and checks that the conversation is a conversation."""
    messages = (await request.json())["messages"]
    roles = [message["role"] for message in messages]
    assert roles in (["system", "user"], ["system", "user", "assistant", "user"]), roles
    assert messages[0]["content"] == "Obey." and (len(messages) < 4 or messages[2]["content"] in messages[1]["content"])
    return answer(messages[-1]["content"].removeprefix("Say "))


def evaluated(handler: Handler, **settings: Any) -> Evaluation:
    def make(env_id: str, *, disable_env_checker: bool) -> gymnasium.Env[Any, Any]:
        return Echo()

    async def use(engine: OpenAIEngine) -> Evaluation:
        return await evaluate(Worlds(make=make), ChatAgent(engine, SAMPLING, system="Obey."), "test/Echo-v0", tasks=12)

    return Chat(**settings).run(handler, use)


def test_a_chat_agent_holds_a_conversation_over_turns() -> None:
    result = evaluated(obedient)
    assert result.success is not None and result.success.mean == 1.0 and result.failures == {}
    assert result.turns is not None and result.turns.mean == 2.0 and result.tokens is None


def test_an_evaluation_survives_a_provider_that_fails_some_requests() -> None:
    async def flaky(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if int(body["messages"][1]["content"][-1]) % 2 and len(body["messages"]) == 4:
            return web.Response(status=500, text="out of memory")
        return await obedient(request)

    result = evaluated(flaky, retries=Retries(attempts=2))
    odd = [task for task in result.tasks if int(task.task.answer[-1]) % 2]
    assert 0 < len(odd) < 12
    assert result.failures == {"provider": len(odd)} and result.played == 12 - len(odd)
    assert result.success is not None and result.success.mean == 1.0


def test_a_full_context_ends_the_episode_without_a_failure() -> None:
    async def full(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if len(body["messages"]) == 4:
            message = "This model's maximum context length is 10 tokens."
            return web.json_response({"error": {"message": message, "code": "context_length_exceeded"}}, status=400)
        return await obedient(request)

    result = evaluated(full)
    assert result.stops == {Stop.TOKENS: 12} and result.failures == {}
    with pytest.raises(ContextExceeded, match="maximum context length"):
        Chat().run(Script(lambda: web.json_response({"message": "maximum context length is 10"}, status=400)))


def test_bodies_are_plain_json() -> None:
    server = Script(lambda: answer("ok"))
    Chat().run(server)
    assert json.loads(json.dumps(server.bodies[0])) == server.bodies[0]
    assert server.headers[0]["Content-Type"] == "application/json"
