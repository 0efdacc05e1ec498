"""TurnEnv: the contract between a task and an agent that speaks in turns.

An author writes four things, `generate`, `begin`, `play` and `expert_action`; `reset`, `step` and `fork` follow from them. Every
random number comes from `self.np_random`, so equal seeds give equal episodes.
"""

from __future__ import annotations

import copy
import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from typing_extensions import override

from turnwise.envs.text_space import TextSpace
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

__all__ = ["Split", "Transition", "TurnEnv", "seed_in", "split_of"]

Split = Literal["train", "test"]
MAX_ACTION = 100_000
"""Characters of an action that are looked at; a longer one is invalid (and costs no parsing)."""
_TRIES = 10_000
_NO_TERMS: Mapping[str, float] = {}


def split_of(task_id: str) -> Split:
    """The split a task belongs to, by a hash of its id: one task can never be in both. A quarter is for testing."""
    return "test" if hashlib.blake2b(task_id.encode(), digest_size=1).digest()[0] < 64 else "train"


def seed_in(split: Split, rng: np.random.Generator, id_of: Callable[[int], str]) -> int:
    """A random seed whose task, by its id, falls into that split: so only a task that is played needs to be made."""
    while True:
        seed = int(rng.integers(2**63))
        if split_of(id_of(seed)) == split:
            return seed


class Transition(NamedTuple):
    """What an environment answers to one action."""

    observation: str
    reward: float = 0.0
    terminated: bool = False
    outcome: float = 0.0
    """How far the task is solved, in [0, 1]."""
    terms: Mapping[str, float] = _NO_TERMS
    """Named parts of the reward; they sum to it."""
    valid: bool = True
    """Whether the action could be parsed."""
    role: str = "user"
    """Who speaks the observation in a chat: "user", or "tool" for the result of a tool call."""


class TurnEnv(gymnasium.Env[str, str]):
    """A multi-turn text environment. Observations are the new message only; actions are the model's whole reply.

    `info` of reset and step holds exactly `outcome: float`, `reward_terms: dict[str, float]`, `valid_action: bool`, `role: str`;
    nothing in it depends on a clock. A broken sandbox or server raises `turnwise.errors.EnvFailure`.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4, "inline": True}  # noqa: RUF012  (Gymnasium's)
    """`inline`: no call takes long or can block, the constructor's included, so a rollout may make them on the event loop."""
    levels: ClassVar[range]
    """Difficulty levels the environment offers."""
    default_level: ClassVar[int] = 1

    def __init__(
        self,
        *,
        split: Split = "train",
        difficulty: int | None = None,
        max_turns: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.split: Split = _checked_split(split)
        self.difficulty = self._checked_level(self.default_level if difficulty is None else difficulty)
        if max_turns is not None and max_turns < 1:
            raise ConfigError(f"{type(self).__name__}: max_turns must be at least 1, got {max_turns}.")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise UnknownName("render mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.action_space = TextSpace()
        self.observation_space = TextSpace()
        self.turn = 0
        self._max_turns = max_turns
        self._task: Task | None = None
        self._playing = False
        self._limit = 1

    # --- what an author writes ------------------------------------------------------------------------------------

    @abstractmethod
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        """A random task of that difficulty, of whichever split its id falls into."""

    @abstractmethod
    def begin(self, task: Task) -> str:
        """Put the episode at the start of `task`, using nothing but the task (and `self.np_random`); the first observation."""

    @abstractmethod
    def play(self, action: str) -> Transition:
        """Answer one action. What cannot be parsed is `self.refuse(message)`, never an exception."""

    @abstractmethod
    def expert_action(self) -> str:
        """The next action of an oracle that reaches the maximal reward from here, where that is still possible."""

    def turn_limit(self, task: Task) -> int:
        """Turns after which an episode is truncated, unless `max_turns` was given."""
        return 10

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """JSON-schema specs of the tools the agent may call; empty where there are none."""
        return ()

    # --- what follows from it -------------------------------------------------------------------------------------

    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """A task of that split. Generates until one falls there; override where a generator can aim."""
        for _ in range(_TRIES):
            task = self.generate(rng, difficulty)
            if split_of(task.id) == split:
                return task
        raise ConfigError(
            f"{type(self).__name__}: no {split} task in {_TRIES} tries at difficulty {difficulty}; too few tasks exist."
        )

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode; `options` may hold `split`, `difficulty` and `task` (a Task to play instead of a random one)."""
        super().reset(seed=seed)
        options = options or {}
        for key in options:
            if key not in ("split", "difficulty", "task"):
                raise UnknownName("reset option", key, ("split", "difficulty", "task"))
        split = _checked_split(options.get("split", self.split))
        level = self._checked_level(options.get("difficulty", self.difficulty))
        task = options.get("task")
        if task is None:
            task = self.sample_task(self.np_random, split, level)
        if not isinstance(task, Task):
            raise ConfigError(f"{type(self).__name__}: options['task'] must be a Task, got {type(task).__name__}.")
        self._task, self.turn, self._playing = task, 0, True
        self._limit = self._max_turns or self.turn_limit(task)
        return self.begin(task), {"outcome": 0.0, "reward_terms": {}, "valid_action": True, "role": "user"}

    @override
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Play one turn; reaching the turn limit truncates. Raises ResetNeeded after the end and TypeError for a non-string."""
        if not self._playing:
            raise ResetNeeded(f"{type(self).__name__}: the episode is over or was never started; call reset() before step().")
        if not isinstance(action, str):  # pyright: ignore[reportUnnecessaryIsInstance]  (callers are not all type-checked)
            raise TypeError(f"{type(self).__name__}.step: an action is the reply as one str, got {type(action).__name__}.")
        self.turn += 1
        t = self.play(action) if len(action) <= MAX_ACTION else self.refuse(f"The reply is longer than {MAX_ACTION} characters.")
        terminated = bool(t.terminated)
        truncated = self.turn >= self._limit and not terminated
        self._playing = not (terminated or truncated)
        # Authors may compute with ints and numpy scalars; whoever reads the result gets plain floats and bools.
        terms = {name: float(value) for name, value in t.terms.items()} if t.terms else {}
        info = {"outcome": float(t.outcome), "reward_terms": terms, "valid_action": bool(t.valid), "role": t.role}
        return t.observation, float(t.reward), terminated, truncated, info

    def refuse(self, message: str) -> Transition:
        """The answer to an action that cannot be parsed: a valid step, reward 0, and the reason as the next observation."""
        return Transition(message, valid=False)

    def fork(self) -> Self:
        """An independent environment at this very point. Deep-copies, random generator included; override for outside state."""
        return copy.deepcopy(self, {id(self.spec): self.spec})  # the spec never changes, and copying it costs a tenth

    @property
    def task(self) -> Task:
        """The task being played."""
        if self._task is None:
            raise ResetNeeded(f"{type(self).__name__}: there is no task before the first reset().")
        return self._task

    def _checked_level(self, level: Any) -> int:
        if isinstance(level, bool) or level not in self.levels:
            raise ConfigError(
                f"{type(self).__name__}: difficulty must be an int from {self.levels[0]} to {self.levels[-1]}, got {level!r}."
            )
        return int(level)


def _checked_split(split: str) -> Split:
    if split not in ("train", "test"):
        raise UnknownName("split", str(split), ("train", "test"))
    return split
