"""An agent behind a chat API. The conversation is derived from the turns, so an episode can be forked at any of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from turnwise.agents.agent import Moment, Reply
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.openai import ChatCompletion, ContextExceeded

__all__ = ["ChatAgent", "Chats", "conversation"]


class Chats(Protocol):
    """Anything that answers a conversation, such as `OpenAIEngine`."""

    async def chat(self, messages: list[dict[str, str]], sampling: Sampling) -> ChatCompletion: ...


@dataclass(frozen=True, slots=True)
class ChatAgent:
    """Evaluation only: its replies have no token ids.

    Observations are the user's messages, tool results too: the environments render tools in text, and a server refuses
    messages of role "tool" that answer no call of its own format.
    """

    engine: Chats
    sampling: Sampling
    system: str = ""
    """A system message, if any."""

    async def reply(self, moment: Moment) -> Reply | None:
        try:
            done = await self.engine.chat(conversation(moment, self.system), replace(self.sampling, seed=moment.seed))
        except ContextExceeded:
            return None  # the token budget is spent: the agent's limit, nobody's failure
        return Reply(done.text, stop_reason=done.stop_reason)

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        pass


def conversation(moment: Moment, system: str = "") -> list[dict[str, str]]:
    """The messages that lead to this moment, the new observation last."""
    messages = [{"role": "system", "content": system}] if system else []
    for turn in moment.parent.path() if moment.parent else ():
        messages.append({"role": "user", "content": turn.observation})
        messages.append({"role": "assistant", "content": turn.action})
    return [*messages, {"role": "user", "content": moment.observation}]
