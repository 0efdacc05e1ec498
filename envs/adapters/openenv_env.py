"""A running OpenEnv server as an environment, over its own WebSocket protocol; nothing of OpenEnv is needed on this side.

    env = from_openenv(url="http://127.0.0.1:8000")                            # replies are JSON for the server's action schema
    env = from_openenv(url="http://127.0.0.1:8000", action="message")          # replies are the text of this field
    env = gym.make("turnwise/OpenEnv-v0", url="http://127.0.0.1:8000", action="message", observation="text")

Each environment has a connection, which on an OpenEnv server is a session of its own; the server says how many it takes
(8 where nothing is said). A task is a seed, which is sent with the reset; whether an episode replays is the server's affair,
and a fork, a new session with the same seed and actions, checks that it does: what differs is an EnvFailure, as is a server
that is full, gone, slow, or fails inside. An action that does not fit the schema is answered with what is wrong.

Rewards are the server's. The outcome at the end is `outcome(return)`, by default the return, kept in [0, 1].
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

import httpx
import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.actions import final_answer
from turnwise.envs.adapters.packages import needed
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.options import TurnOptions
from turnwise.errors import ConfigError, EnvFailure, UnknownName, Unsupported
from turnwise.types import Task

__all__ = ["OpenEnvEnv", "from_openenv"]

MAX_TURNS = 100
MAX_SHOWN = 20_000
"""Characters of an observation."""
_OF_THE_MODEL = ("VALIDATION_ERROR", "INVALID_JSON")
"""Error codes that say that the action was wrong, not the server."""


class OpenEnvEnv(TurnEnv):
    """An environment on an OpenEnv server; see the module.

    url: of the server: http://, https://, ws:// or wss://.
    action: the field of the action that a reply fills, as text; "" for replies that are the whole action as JSON.
    observation: the field of the observation to show; "" for all of it as JSON.
    reset: what is sent with a reset besides the seed; JSON.
    rules: what the first observation says first.
    reply_s: seconds that the server may take to answer.
    outcome: return -> how far the task is solved.
    expert: (observation of the server) -> the best reply; there is none by default.
    """

    metadata = {**TurnEnv.metadata, "inline": False}  # noqa: RUF012  (Gymnasium's)
    levels = range(1, 2)

    def __init__(
        self,
        *,
        url: str,
        action: str = "",
        observation: str = "",
        reset: Mapping[str, Any] | None = None,
        rules: str = "",
        reply_s: float = 60.0,
        outcome: Callable[[float], float] | None = None,
        expert: Callable[[Mapping[str, Any]], str] | None = None,
        **options: Unpack[TurnOptions],
    ) -> None:
        super().__init__(**options)
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in ("http", "https", "ws", "wss"):
            raise ConfigError(f"OpenEnv: url must begin with http://, https://, ws:// or wss://, got {url!r}.")
        if reply_s <= 0:
            raise ConfigError(f"OpenEnv: reply_s must be positive, got {reply_s}.")
        self.url = f"{scheme.replace('ws', 'http')}://{rest.rstrip('/')}"
        self.field, self.shown_field = action, observation
        self._reset_with, self._rules, self._reply_s = dict(reset or {}), rules, reply_s
        self._outcome, self._expert = outcome, expert
        self._schema: Mapping[str, Any] | None = None
        self._connection: Any = None
        self._socket: Any = None
        self._seen: Mapping[str, Any] = {}
        self._total = 0.0
        self._sent: tuple[Mapping[str, Any], ...] = ()
        self._transcript: list[str] = []

    # --- the wire ---------------------------------------------------------------------------------------------------

    def _ask(self, kind: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """One message and its answer. Raises EnvFailure, and drops the connection, if there is none."""
        try:
            if self._socket is None:
                connect = needed("websockets.sync.client", "openenv").connect
                where = f"ws{self.url.removeprefix('http')}/ws"
                self._connection = connect(where, open_timeout=self._reply_s, max_size=None, proxy=None)
                self._socket = self._connection.__enter__()
            with contextlib.suppress(needed("websockets.exceptions", "openenv").ConnectionClosed):
                self._socket.send(json.dumps({"type": kind, "data": data}))  # closed: what was said before still counts
            answer = json.loads(self._socket.recv(timeout=self._reply_s))
        except Unsupported:
            raise
        except Exception as error:  # the boundary of somebody else's server: gone, slow, or no such protocol
            self._hang_up()
            raise EnvFailure("openenv", f"{self.url}: {kind}: {type(error).__name__}: {error}") from error
        if not isinstance(answer, dict) or "type" not in answer:
            raise EnvFailure("openenv", f"{self.url}: {kind} was answered with {answer!r:.200}.")
        return cast(Mapping[str, Any], answer)

    def _observed(self, kind: str, data: Mapping[str, Any]) -> Mapping[str, Any] | str:
        """{"observation", "reward", "done"}, or what is wrong with the action."""
        answer = self._ask(kind, data)
        said: Mapping[str, Any] = answer.get("data") or {}
        if answer["type"] != "error":
            return said
        code = str(said.get("code", ""))
        if kind == "step" and code in _OF_THE_MODEL:
            return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in said.get("errors", ())) or str(
                said.get("message")
            )
        if code == "CAPACITY_REACHED":
            self._hang_up()
        raise EnvFailure("openenv", f"{self.url}: {kind}: {code}: {said.get('message')}")

    def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(Exception):  # it may be gone, which is what is wanted
                socket.send(json.dumps({"type": "close"}))
                self._connection.__exit__(None, None, None)

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON schema of the server's action. Raises EnvFailure."""
        if self._schema is None:
            try:
                reply = httpx.get(f"{self.url}/schema", timeout=self._reply_s, trust_env=False)
                self._schema = cast(Mapping[str, Any], reply.raise_for_status().json()["action"])
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                raise EnvFailure("openenv", f"{self.url}/schema: {type(error).__name__}: {error}") from error
            fields = self._schema.get("properties", {})
            if self.field and self.field not in fields:
                raise UnknownName(f"field of the action of {self.url}", self.field, fields)
        return self._schema

    # --- the contract -----------------------------------------------------------------------------------------------

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        seed = int(rng.integers(2**31))
        prompt = self._rules or "Reach the goal of the environment."
        return Task(f"openenv/{self.url}/{seed:08x}", prompt, "", difficulty, {"seed": seed})

    @override
    def turn_limit(self, task: Task) -> int:
        return MAX_TURNS

    @override
    def begin(self, task: Task) -> str:
        schema = self.schema
        self._started(task)
        first = self._shown()
        self._transcript = [first]
        return "\n\n".join(part for part in (self._rules, first, self._how(schema)) if part)

    def _started(self, task: Task) -> None:
        said = self._observed("reset", {**self._reset_with, "seed": int(task.metadata["seed"])})
        assert not isinstance(said, str)
        self._seen, self._total, self._sent = said.get("observation") or {}, float(said.get("reward") or 0.0), ()

    def _how(self, schema: Mapping[str, Any]) -> str:
        if self.field:
            about = schema["properties"][self.field].get("description", "")
            return f"Reply with the {self.field}{f' ({about})' if about else ''}, as <answer>...</answer>."
        fields = {name: field for name, field in schema.get("properties", {}).items() if name != "metadata"}
        return f"Reply with an action as JSON in <answer>...</answer>, of this schema: {json.dumps(fields, ensure_ascii=False)}"

    def _shown(self) -> str:
        value: Any = self._seen
        if self.shown_field:
            if self.shown_field not in self._seen:
                raise UnknownName(f"field of the observation of {self.url}", self.shown_field, self._seen)
            value = self._seen[self.shown_field]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return text[:MAX_SHOWN].encode("utf-8", "replace").decode() or "(nothing)"

    @override
    def play(self, action: str) -> Transition:
        sent = self._read(action)
        if isinstance(sent, str):
            return self.refuse(sent)
        if self._socket is None:  # a new session would be a new episode
            raise EnvFailure("openenv", f"{self.url}: the session was lost earlier in this episode.")
        said = self._observed("step", sent)
        if isinstance(said, str):
            return self.refuse(f"That action was not accepted: {said}.")
        self._sent = (*self._sent, sent)
        self._seen = said.get("observation") or {}
        reward = float(said.get("reward") or 0.0)
        self._total += reward
        over = bool(said.get("done"))
        text = self._shown()
        self._transcript += [f"> {action}", text]
        score = self._outcome(self._total) if self._outcome else self._total
        outcome = min(1.0, max(0.0, float(score))) if over or self.turn >= self._limit else 0.0
        return Transition(text, reward, terminated=over, outcome=outcome, terms={"server": reward})

    def _read(self, reply: str) -> Mapping[str, Any] | str:
        """The action, or what is wrong with the reply."""
        answer = final_answer(reply)
        said = (reply if answer is None else answer).encode("utf-8", "replace").decode()
        if self.field:
            kind = self.schema["properties"][self.field].get("type")
            return {self.field: said if kind in (None, "string") else _json(said, said)}
        action = _json(said, None)
        return (
            cast(Mapping[str, Any], action)
            if isinstance(action, dict)
            else "An action is one JSON object, in <answer>...</answer>."
        )

    @override
    def expert_action(self) -> str:
        """What `expert` says. Raises Unsupported without one: a server has no oracle."""
        if self._expert is None:
            raise Unsupported(f"OpenEnv {self.url}: no expert is known; give one: expert=(observation) -> reply.")
        return self._expert(self._seen)

    @override
    def render(self) -> str:
        return "\n".join(self._transcript)

    @override
    def fork(self) -> Self:
        """A session of its own, brought to the same point by the same seed and actions."""
        memo: dict[int, Any] = {id(self.spec): self.spec, id(self._socket): None, id(self._connection): None}
        twin = copy.deepcopy(self, memo)
        if self._socket is not None and self._playing:
            twin._started(self.task)
            for action in self._sent:
                said = twin._observed("step", action)
                if not isinstance(said, str):
                    twin._seen = said.get("observation") or {}
            if twin._seen != self._seen:
                twin.close()
                raise EnvFailure(
                    "replay", f"{self.url}: the same seed and actions led to another observation; it cannot be forked."
                )
            twin._total, twin._sent = self._total, self._sent
        return twin

    @override
    def close(self) -> None:
        self._hang_up()
        super().close()


def _json(text: str, otherwise: Any) -> Any:
    try:
        value = json.loads(text, parse_constant=lambda name: name)
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))  # no lone surrogates for the wire
    except (ValueError, RecursionError):
        return otherwise


from_openenv = OpenEnvEnv
