"""Any OpenAI-compatible chat endpoint, for evaluation: it gives text, not the token ids that training needs.

A request that meets a busy or broken provider (408, 429, 5xx, a time-out, a dropped connection, an answer that is no JSON) is
sent again after a growing pause, or the one that `Retry-After` asks for; after that it is an EngineFailure("provider").
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import httpx
import numpy as np

from turnwise.agents.engine import Capabilities, Completion, Sampling
from turnwise.errors import ConfigError, EngineFailure, Unsupported
from turnwise.seeds import child

__all__ = ["ChatCompletion", "ContextExceeded", "OpenAIEngine", "Retries", "Usage"]

_BUSY = (408, 409, 425, 429)
_REFUSED = (301, 302, 307, 308, 401, 403, 404, 405)
_OLD_CAP, _NEW_CAP = "max_tokens", "max_completion_tokens"
"""Servers know the first; newer models of OpenAI refuse it and name the second."""
_ADDRESS = re.compile(r"https?://[^\s/]+")
_UNBOUNDED = 2**31 - 1


class ContextExceeded(EngineFailure):
    """The conversation is longer than the model's window."""


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """One reply of a chat endpoint."""

    text: str
    stop_reason: str
    """"stop", "length", or what else the provider calls it ("content_filter")."""
    prompt_tokens: int
    """As the provider counts; 0 where it does not say."""
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How long to be patient. Pauses double from `first_pause_s`; each is drawn from [1/2, 1] of that, so clients spread out."""

    attempts: int = 6
    """Requests in all."""
    first_pause_s: float = 0.5
    longest_pause_s: float = 60.0
    """Bounds `Retry-After` too."""


@dataclass(slots=True)
class Usage:
    """What an engine has asked for so far."""

    requests: int = 0
    """Sent, repeated ones included."""
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Busy(Exception):
    """Worth another try; `pause_s` is what the server asked for, if it did."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class OpenAIEngine:
    """A client of `<base_url>/chat/completions`. Many requests may run at once; the caller bounds how many."""

    def __init__(
        self,
        model: str,
        base_url: str,
        api_key: str = "",
        *,
        timeout_s: float = 120.0,
        retries: Retries | None = None,
        extra: Mapping[str, Any] | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`base_url` ends before /chat/completions (https://host/v1); `extra` goes into every request body (None takes a
        field out of it); `now` is Unix time, which a `Retry-After` date is compared with."""
        url = base_url.rstrip("/")
        if not _ADDRESS.match(url):
            raise ConfigError(f"openai engine: base_url must begin with http:// or https://, got {base_url!r}.")
        self.model, self.url = model, f"{url}/chat/completions"
        self.retries = retries or Retries()
        self.usage = Usage()
        self._extra = dict(extra or {})
        self._sleep, self._now = sleep, now
        self._cap = _OLD_CAP
        self._answered = False
        self._client = httpx.AsyncClient(
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            timeout=httpx.Timeout(timeout_s, pool=None),
            limits=httpx.Limits(max_connections=None),
        )

    @property
    def capabilities(self) -> Capabilities:
        """No tokens; the window is the server's secret."""
        return Capabilities(tokens=False, score=False, update_weights=False, context_window=_UNBOUNDED)

    async def chat(self, messages: Sequence[Mapping[str, str]], sampling: Sampling) -> ChatCompletion:
        """The reply to a conversation of {"role", "content"} messages.

        Raises ConfigError if no server is there, or its first answer refuses address, key or model; ContextExceeded if the
        conversation is too long; EngineFailure("provider") for a request that cannot be served.
        """
        for attempt in range(self.retries.attempts):
            try:
                return await self._once(messages, sampling)
            except _Busy as error:
                if attempt + 1 == self.retries.attempts:
                    if isinstance(error.__cause__, httpx.ConnectError) and not self._answered:
                        raise ConfigError(f"openai engine: {error}. Check the address, and that the server runs.") from error
                    raise EngineFailure("provider", f"{error} (gave up after {attempt + 1} attempts)") from error
                self.usage.retries += 1
                await self._sleep(self._pause(error.pause_s, attempt, sampling.seed))
        raise EngineFailure("provider", "no attempt was allowed: Retries.attempts must be at least 1")

    async def _once(self, messages: Sequence[Mapping[str, str]], sampling: Sampling) -> ChatCompletion:
        body = self._body(messages, sampling)
        self.usage.requests += 1
        try:
            # Not json=: a lone surrogate in a tool's result has no UTF-8, but it has an ASCII escape.
            response = await self._client.post(self.url, content=json.dumps(body))
        except httpx.RequestError as error:
            raise _Busy(f"{type(error).__name__} at {self.url}: {error}".rstrip(": ")) from error
        if response.status_code == 200:
            self._answered = True
            return self._read(response)
        detail = _detail(response)
        if response.status_code in _BUSY or response.status_code >= 500:
            raise _Busy(detail, self._asked_pause(response))
        if response.status_code == 400 and _OLD_CAP in body.keys() - self._extra.keys() and _NEW_CAP in detail:
            self._cap = _NEW_CAP
            return await self._once(messages, sampling)
        self._refuse(response.status_code, detail)

    def _body(self, messages: Sequence[Mapping[str, str]], sampling: Sampling) -> dict[str, Any]:
        """Only what departs from the protocol's defaults is sent: some models refuse even their default spelled out."""
        body: dict[str, Any] = {"model": self.model, "messages": [*messages], self._cap: sampling.max_tokens}
        if sampling.temperature != 1.0:
            body["temperature"] = sampling.temperature
        if sampling.top_p != 1.0:
            body["top_p"] = sampling.top_p
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        body["seed"] = sampling.seed % 2**31
        return {key: value for key, value in (body | self._extra).items() if value is not None}

    def _read(self, response: httpx.Response) -> ChatCompletion:
        try:
            data: Any = response.json()
            choice = data["choices"][0]
            content = choice["message"].get("content")
            usage = data.get("usage") or {}
            counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
            reply = ChatCompletion(_text(content), str(choice.get("finish_reason") or "stop"), *counts)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _Busy(f"the server answered with no chat completion: {response.text[:200]!r}") from error
        self.usage.prompt_tokens += reply.prompt_tokens
        self.usage.completion_tokens += reply.completion_tokens
        return reply

    def _refuse(self, status: int, detail: str) -> NoReturn:
        lowered = detail.lower()
        if status in (400, 413, 422) and ("context_length" in lowered or "context length" in lowered):
            raise ContextExceeded("context", detail)
        if status in _REFUSED and not self._answered:
            raise ConfigError(f"openai engine: {self.url} refuses model {self.model!r}: {detail}. Check address, key and model.")
        raise EngineFailure("provider", detail)

    def _asked_pause(self, response: httpx.Response) -> float | None:
        """Seconds that `Retry-After` asks for: a number, or a date to wait for."""
        value = response.headers.get("retry-after", "")
        try:
            seconds = float(value)
            return seconds if math.isfinite(seconds) else None
        except ValueError:
            pass
        try:
            return parsedate_to_datetime(value).timestamp() - self._now()
        except ValueError:
            return None

    def _pause(self, asked_s: float | None, attempt: int, seed: int) -> float:
        if asked_s is not None:
            return min(max(asked_s, 0.0), self.retries.longest_pause_s)
        spread = np.random.default_rng(child(seed, "retry", attempt)).uniform(0.5, 1.0)
        return float(min(self.retries.first_pause_s * 2.0**attempt, self.retries.longest_pause_s) * spread)

    async def generate(self, ids: Sequence[int], sampling: Sampling, session: str | None = None) -> Completion:
        raise Unsupported("openai engine: a chat API takes no token ids; use turnwise.agents.chat_agent.ChatAgent with it.")

    async def score(self, ids: Sequence[int], targets: Sequence[int]) -> list[float]:
        raise Unsupported("openai engine: a chat API scores no tokens; use the torch or vllm engine.")

    async def update_weights(self, weights: Mapping[str, Any], version: int) -> None:
        raise Unsupported("openai engine: a chat API takes no weights; use the torch or vllm engine.")

    def release(self, session: str) -> None:
        """Nothing is kept between requests."""

    def fork(self, session: str, twin: str) -> None:
        """Nothing is kept between requests."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _text(content: Any) -> str:
    """Content is a string, null (a refusal, or nothing but reasoning), or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise TypeError(f"content of type {type(content).__name__}")
    return content


def _detail(response: httpx.Response) -> str:
    """Status and what the server said about it, in one line."""
    said: Any = response.text
    try:
        said = json.loads(said)
        said = said.get("error", said) if isinstance(said, dict) else said
        said = f"{said.get('message', said)} {said.get('code') or ''}" if isinstance(said, dict) else said
    except ValueError:
        pass
    return f"HTTP {response.status_code}: {' '.join(str(said).split())[:300]}"
