"""Language models that are asked for a verdict: the policy itself, any engine, any chat server, a model of your own.

"policy"            the policy as it is in this step (it moves: what it accepts may drift with it)
"hf:PATH"           a Hugging Face model (folder or hub id) on an embedded engine of its own
"openai:MODEL"      a chat server, at OPENAI_BASE_URL with OPENAI_API_KEY
"module:name"       a `Judge` of your own
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

from turnwise.agents.chat import ChatTemplate
from turnwise.agents.chat_agent import Chats
from turnwise.agents.engine import Engine, Sampling
from turnwise.agents.engines.openai import OpenAIEngine
from turnwise.agents.engines.torch import TorchEngine
from turnwise.errors import ConfigError
from turnwise.registry import resolve
from turnwise.trainers.policies.pretrained import Pretrained
from turnwise.trainers.rewards.protocol import Scene

__all__ = ["ChatJudge", "EngineJudge", "Judge", "judge_named"]


class Judge(Protocol):
    """Anything that answers a question in text."""

    async def __call__(self, question: str, sampling: Sampling) -> str:
        """The whole reply. Raises InfraError where the judge breaks."""
        ...


@dataclass(frozen=True, slots=True)
class EngineJudge:
    """A model on an engine; the template must be its own."""

    engine: Engine
    template: ChatTemplate

    async def __call__(self, question: str, sampling: Sampling) -> str:
        done = await self.engine.generate(self.template.opening(question), replace(sampling, stop_ids=self.template.stop_ids))
        return self.template.text(done.ids)


@dataclass(frozen=True, slots=True)
class ChatJudge:
    """A model behind a chat API."""

    chats: Chats

    async def __call__(self, question: str, sampling: Sampling) -> str:
        return (await self.chats.chat([{"role": "user", "content": question}], sampling)).text


def judge_named(name: str, scene: Scene) -> Judge:
    """The judge of that name (see the module). Raises ConfigError for a name of another kind."""
    kind, _, rest = name.partition(":")
    match kind:
        case "policy":
            return EngineJudge(scene.engine, scene.chat("judge"))
        case "hf" if rest:
            return _local(rest)
        case "openai" if rest:
            return _remote(rest)
        case _ if rest:
            found: Any = resolve("turnwise.trainers", name)
            return found() if isinstance(found, type) else found
        case _:
            raise ConfigError(f'judge: expected "policy", "hf:PATH", "openai:MODEL" or "module:name", got {name!r}.')


@cache
def _local(path: str) -> Judge:
    model, tokenizer = Pretrained(path=path).build((), 0)
    template: Any = tokenizer
    return EngineJudge(TorchEngine(model), ChatTemplate(template))


@cache
def _remote(model: str) -> Judge:
    address = os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    return ChatJudge(OpenAIEngine(model, address, os.environ.get("OPENAI_API_KEY", "")))
