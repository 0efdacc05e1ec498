"""Who replies: a language model on an engine, an environment's own expert, or random text.

An agent holds no conversation: everything it needs is in the `Moment`, so an episode can be forked at any turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import gymnasium
import numpy as np

from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Completion, Engine, Sampling, checked
from turnwise.agents.failures import Broken, call_env
from turnwise.errors import ConfigError, EngineFailure, TurnwiseError, Unsupported
from turnwise.types import Turn

__all__ = ["Agent", "ExpertAgent", "ModelAgent", "Moment", "RandomAgent", "Reply"]

T = TypeVar("T")
Env = gymnasium.Env[Any, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """The point of an episode at which a reply is due."""

    env: Env
    observation: str
    role: str
    """Who speaks the observation: "user" or "tool"."""
    parent: Turn | None
    """The turn before; None at the start."""
    ids: tuple[int, ...]
    """[T] the conversation so far, the new observation not included."""
    seed: int
    session: str
    deadline_s: float = 60.0
    """How long an agent that asks the environment itself may wait for it."""

    async def ask_env(self, call: Callable[[], T], what: str) -> T:
        """A call into the environment (`what`), with that deadline. Raises `failures.Broken` where it breaks or hangs."""
        inline = bool(self.env.metadata.get("inline", False))
        return await call_env(call, inline=inline, deadline_s=self.deadline_s, what=what)


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent says, with its tokens if it has any (see `turnwise.types.Turn` for the fields)."""

    text: str
    context_ids: tuple[int, ...] = ()
    action_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    entropies: tuple[float, ...] = ()
    stop_reason: str = ""
    version: int = 0
    versions: tuple[int, ...] = ()


class Agent(Protocol):
    """Anything that can answer an observation."""

    async def reply(self, moment: Moment) -> Reply | None:
        """The reply, or None if there is no room left for one (the token budget is spent)."""
        ...

    def fork(self, session: str, twin: str) -> None:
        """A fork of the conversation `session` goes on under the name `twin`."""
        ...

    def release(self, session: str) -> None:
        """The conversation is over."""
        ...


@dataclass(frozen=True, slots=True)
class ModelAgent:
    """A language model. `max_context` bounds the whole conversation in tokens (0: the engine's window)."""

    engine: Engine
    template: ChatTemplate
    sampling: Sampling
    max_context: int = 0

    def __post_init__(self) -> None:
        if not self.engine.capabilities.tokens:
            raise Unsupported(f"{type(self.engine).__name__} gives no token ids; a ModelAgent needs an engine that does.")

    @property
    def window(self) -> int:
        limit = self.engine.capabilities.context_window
        return min(limit, self.max_context) if self.max_context else limit

    async def reply(self, moment: Moment) -> Reply | None:
        context = self.context(moment)
        prompt = (*moment.ids, *context)
        room = self.window - len(prompt)
        if room < 1:
            return None
        stops = self.sampling.stop_ids or self.template.stop_ids
        sampling = replace(self.sampling, seed=moment.seed, stop_ids=stops, max_tokens=min(self.sampling.max_tokens, room))
        done = await self._generated(prompt, sampling, moment.session)
        text = self.template.text(done.ids)
        return Reply(text, context, done.ids, done.logprobs, done.entropies, done.stop_reason, done.version, done.versions)

    async def _generated(self, prompt: tuple[int, ...], sampling: Sampling, session: str) -> Completion:
        try:
            return checked(await self.engine.generate(prompt, sampling, session), sampling)
        except TurnwiseError:
            raise
        except Exception as error:  # the boundary: an engine of somebody's own, a client of some provider
            raise EngineFailure("crash", f"{type(error).__name__}: {error}"[:500]) from error

    def context(self, moment: Moment) -> tuple[int, ...]:
        """[C] the ids that the observation adds to the conversation."""
        if moment.parent is None:
            return self.template.opening(moment.observation)
        return self.template.following(moment.parent.action_ids, moment.observation, moment.role)

    def fork(self, session: str, twin: str) -> None:
        self.engine.fork(session, twin)

    def release(self, session: str) -> None:
        self.engine.release(session)


@dataclass(frozen=True, slots=True)
class ExpertAgent:
    """The environment's own oracle. With a template its replies carry token ids, for demonstrations.

    One that raises or hangs is a broken environment: it costs the episode.
    """

    template: ChatTemplate | None = None

    async def reply(self, moment: Moment) -> Reply | None:
        try:
            expert = moment.env.get_wrapper_attr("expert_action")
        except AttributeError:
            owner = type(moment.env.unwrapped).__name__
            raise Unsupported(f"{owner} has no expert_action; choose another agent.") from None
        try:
            said = await moment.ask_env(expert, "the environment's expert")
        except Broken as error:
            if isinstance(error.__cause__, ConfigError | Unsupported):
                raise error.__cause__ from None  # the caller's to mend
            raise
        return spoken(said, moment, self.template)

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class RandomAgent:
    """Random printable text from the environment's action space: the floor of every evaluation."""

    async def reply(self, moment: Moment) -> Reply | None:
        rng = np.random.default_rng(moment.seed)
        letters = rng.integers(32, 127, size=int(rng.integers(1, 40)))
        return Reply("".join(chr(int(c)) for c in letters))

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        pass


def spoken(text: str, moment: Moment, template: ChatTemplate | None) -> Reply:
    """A reply written by somebody who does not sample tokens; with a template it is encoded (log-probabilities 0)."""
    if template is None:
        return Reply(text)
    parent = moment.parent
    context = (
        template.opening(moment.observation)
        if parent is None
        else template.following(parent.action_ids, moment.observation, moment.role)
    )
    ids = template.reply(text)
    return Reply(text, context, ids, (0.0,) * len(ids), (), "stop")
