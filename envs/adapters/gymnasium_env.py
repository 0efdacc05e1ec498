"""Any gymnasium.Env with discrete actions as a TurnEnv: the agent reads the state as text and names an action.

    env = from_gymnasium("FrozenLake-v1", levels=[{"map_name": "4x4"}, {"map_name": "8x8"}])
    env = gym.make("turnwise/Gymnasium-v0", env_id="Taxi-v4")
    env = from_gymnasium("my/Maze-v0", actions=["north", "south"], text=lambda observation, env: env.unwrapped.picture())

FrozenLake, CliffWalking, Taxi, Blackjack and CartPole are told in words, with an expert; of others the agent reads what
`render` shows in mode "ansi", or else the numbers of the observation. A task is a seed, and what `gym.make` is given at its
level; rewards are the environment's own.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from turnwise.envs.actions import final_answer
from turnwise.envs.adapters.gymnasium_games import GAMES, Game, action_values, plain_view
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.options import TurnOptions
from turnwise.envs.testing.subject import canonical
from turnwise.errors import ConfigError, EnvFailure, UnknownName, Unsupported
from turnwise.types import Task

__all__ = ["GymnasiumEnv", "from_gymnasium"]

ForkBy = Literal["auto", "copy", "replay"]
Levels = Sequence[Mapping[str, Any]] | Callable[[np.random.Generator, int], Mapping[str, Any]]
MAX_TURNS = 200
"""Turn limit of an environment that has none."""


class GymnasiumEnv(TurnEnv):
    """A wrapped gymnasium.Env; see the module.

    env_id: what `gymnasium.make` takes, or a function that makes the environment.
    levels: per level, arguments for `gymnasium.make`; or a function of (generator, level) that draws them anew for each task
        (JSON only; say then how many levels there are with `count`).
    actions: names of actions 0, 1, ...; the number always does too.
    text: (observation, environment) -> what the agent reads.
    rules: what the first observation says before it.
    outcome: (return, last reward, terminated) -> how far it is solved, in [0, 1]; by default whether the return reaches the
        id's reward threshold, or is above 0 where it has none.
    expert: (observation, environment) -> the best action; by default value iteration where the environment has a table `P`.
    fork_by: "copy" (deep copy), "replay" (the same seed and actions in a new one), "auto" (a copy if it can be copied).
    """

    metadata = {**TurnEnv.metadata, "inline": False}  # noqa: RUF012  (Gymnasium's)
    levels = range(1, 2)

    def __init__(
        self,
        env_id: str | Callable[..., gymnasium.Env[Any, Any]],
        *,
        levels: Levels = ({},),
        count: int = 1,
        actions: Sequence[str] | None = None,
        text: Callable[[Any, gymnasium.Env[Any, Any]], str] | None = None,
        rules: str | None = None,
        outcome: Callable[[float, float, bool], float] | None = None,
        expert: Callable[[Any, gymnasium.Env[Any, Any]], int] | None = None,
        fork_by: ForkBy = "auto",
        **options: Unpack[TurnOptions],
    ) -> None:
        self._levels = levels
        there = range(1, (count if callable(levels) else len(levels)) + 1)
        self.levels = there  # pyright: ignore[reportAttributeAccessIssue]  (of this instance, not of the class)
        if not there:
            raise ConfigError("from_gymnasium: levels must be one or more, or a function and their count.")
        super().__init__(**options)
        if fork_by not in ("auto", "copy", "replay"):
            raise UnknownName("way to fork", str(fork_by), ("auto", "copy", "replay"))
        self.name = env_id if isinstance(env_id, str) else getattr(env_id, "__name__", type(env_id).__name__)
        self._maker, self._fork_by = env_id, fork_by
        known = GAMES.get(re.sub(r"-v\d+$", "", self.name.rpartition("/")[2]), Game())
        self.rules = known.rules if rules is None else rules
        self._text = text or known.text or plain_view
        self._outcome, self._expert = outcome or known.outcome, expert or known.expert
        self._names = tuple(actions or known.actions)
        self._wants_ansi = self._text is plain_view
        self._inner: gymnasium.Env[Any, Any] | None = None
        self._made_with: Mapping[str, Any] | None = None
        self._values: NDArray[np.float64] | None = None
        self._observation: Any = None
        self._seed, self._total = 0, 0.0
        self._played: tuple[int, ...] = ()

    # --- the wrapped environment ------------------------------------------------------------------------------------

    def _make(self, given: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
        try:
            if isinstance(self._maker, str):
                modes = _render_modes(self._maker) if self._wants_ansi else ()
                ansi: dict[str, Any] = {"render_mode": "ansi"} if "ansi" in modes else {}
                env = gymnasium.make(self._maker, **{"disable_env_checker": True, **ansi, **given})
            else:
                env = self._maker(**given)
        except (gymnasium.error.Error, TypeError) as error:
            raise ConfigError(f"from_gymnasium: {self.name} with {dict(given)}: {error}") from error
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise ConfigError(f"from_gymnasium: {self.name} must have discrete actions, it has {space}; wrap it first.")
        if self._names and len(self._names) != space.n:
            raise ConfigError(f"from_gymnasium: {self.name} has {space.n} actions, got {len(self._names)} names.")
        return env

    @property
    def inner(self) -> gymnasium.Env[Any, Any]:
        """The wrapped environment of this episode."""
        if self._inner is None:
            raise gymnasium.error.ResetNeeded("from_gymnasium: there is no environment before the first reset().")
        return self._inner

    @property
    def actions(self) -> Mapping[str, int]:
        """Name -> action."""
        space = self.inner.action_space
        assert isinstance(space, gymnasium.spaces.Discrete)
        names = self._names or tuple(str(int(space.start) + i) for i in range(int(space.n)))
        return {name: int(space.start) + i for i, name in enumerate(names)}

    # --- the contract -----------------------------------------------------------------------------------------------

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        seed = int(rng.integers(2**31))
        given = self._levels(rng, difficulty) if callable(self._levels) else self._levels[difficulty - 1]
        prompt = self.rules or f"Play {self.name}."
        return Task(f"gymnasium/{self.name}/{difficulty}/{seed:08x}", prompt, "", difficulty, {"seed": seed, "make": dict(given)})

    @override
    def turn_limit(self, task: Task) -> int:
        """The wrapped environment's own limit: a TimeLimit's steps."""
        spec = self._prepared(task).spec
        return (spec.max_episode_steps if spec is not None else None) or MAX_TURNS

    def _prepared(self, task: Task) -> gymnasium.Env[Any, Any]:
        """The wrapped environment as the task wants it made."""
        made_with: Mapping[str, Any] = task.metadata["make"]
        if self._inner is None or made_with != self._made_with:
            if self._inner is not None:
                self._inner.close()
            self._inner, self._made_with, self._values = self._make(made_with), made_with, None
        return self._inner

    @override
    def begin(self, task: Task) -> str:
        inner = self._prepared(task)
        self._seed, self._total, self._played = int(task.metadata["seed"]), 0.0, ()
        self._observation, _ = inner.reset(seed=self._seed)
        return f"{task.prompt}\n{self._how()}\n\n{self.view()}"

    def _how(self) -> str:
        names = list(self.actions)
        return f"Actions: {', '.join(names)}. Reply with one each turn, for example <answer>{names[0]}</answer>."

    def view(self) -> str:
        """What the agent reads of the present state."""
        return self._text(self._observation, self.inner)

    @override
    def play(self, action: str) -> Transition:
        index = self._read(action)
        if index is None:
            return self.refuse(f"That is no action; reply with one of: {', '.join(self.actions)}.\n{self.view()}")
        self._observation, reward, terminated, truncated, _ = self.inner.step(index)
        self._played = (*self._played, index)
        self._total += float(reward)
        over = bool(terminated) or (bool(truncated) and self.turn < self._limit)
        done = bool(terminated) or bool(truncated) or self.turn >= self._limit
        outcome = self._solved(float(reward), bool(terminated)) if done else 0.0
        return Transition(self.view(), float(reward), terminated=over, outcome=outcome, terms={"game": float(reward)})

    def _read(self, reply: str) -> int | None:
        said = " ".join((final_answer(reply) or reply).split()).casefold()
        named = {name.casefold(): action for name, action in self.actions.items()}
        if said in named:
            return named[said]
        return int(said) if said.isascii() and said.isdigit() and len(said) < 9 and int(said) in named.values() else None

    def _solved(self, last: float, terminated: bool) -> float:
        if self._outcome is not None:
            return min(1.0, max(0.0, float(self._outcome(self._total, last, terminated))))
        threshold = self.inner.spec.reward_threshold if self.inner.spec is not None else None
        return float(self._total > 0.0 if threshold is None else self._total >= threshold)

    @override
    def expert_action(self) -> str:
        """The given or known expert's action. Raises Unsupported where there is none."""
        if self._expert is not None:
            action = self._expert(self._observation, self.inner)
        elif (values := self._action_values()) is not None:
            action = int(values[int(self._observation)].argmax())
        else:
            raise Unsupported(f"from_gymnasium: no expert is known for {self.name}; give expert=(observation, env) -> action.")
        return f"<answer>{next(name for name, index in self.actions.items() if index == action)}</answer>"

    def _action_values(self) -> NDArray[np.float64] | None:
        if self._values is None:
            self._values = action_values(self.inner)
        return self._values

    @override
    def render(self) -> str:
        return self.view()

    @override
    def close(self) -> None:
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()
        super().close()

    # --- forks ------------------------------------------------------------------------------------------------------

    @override
    def fork(self) -> Self:
        """By a deep copy of the wrapped environment, or by the same seed and actions in a new one."""
        memo: dict[int, Any] = {id(self.spec): self.spec, id(self._inner): None}
        twin = copy.deepcopy(self, memo)
        if self._inner is not None:
            twin._inner = self._copied() or twin._replayed(self._observation)
        return twin

    def _copied(self) -> gymnasium.Env[Any, Any] | None:
        if self._fork_by == "replay":
            return None
        try:
            return copy.deepcopy(self._inner)
        except Exception as error:  # whatever somebody else's objects raise when they cannot be copied
            if self._fork_by == "copy":
                raise Unsupported(f"from_gymnasium: {self.name} cannot be copied ({error}); say fork_by='replay'.") from error
            return None

    def _replayed(self, expected: Any) -> gymnasium.Env[Any, Any]:
        env = self._make(self._made_with or {})
        observation, _ = env.reset(seed=self._seed)
        for action in self._played:
            observation = env.step(action)[0]
        if canonical(observation) != canonical(expected):
            raise EnvFailure("replay", f"{self.name}: the same seed and actions led to another observation; it cannot be forked.")
        return env


def _render_modes(env_id: str) -> Sequence[str]:
    """Of the class behind an id, without making it."""
    creator = load_env_creator(str(gymnasium.spec(env_id).entry_point))
    return getattr(creator, "metadata", {}).get("render_modes", ())


from_gymnasium = GymnasiumEnv
