"""What a rule looks at: an environment that can be made again and again, and whole episodes of it written down exactly."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

import gymnasium
import numpy as np

from turnwise.envs.core import Split, TurnEnv
from turnwise.seeds import child
from turnwise.types import Task

__all__ = [
    "Breach",
    "Env",
    "Episode",
    "Policy",
    "Subject",
    "canonical",
    "expert",
    "for_each",
    "inner",
    "mixed",
    "opened",
    "play",
    "replayed",
    "scripted",
    "text_of",
]

T = TypeVar("T")
Case = tuple[int, dict[str, Any]]
"""(seed, reset options) of an episode."""
Env = gymnasium.Env[Any, Any]
Policy = Callable[[Env, str, int], str]
"""(environment, the last observation's text, turn from 0) -> action."""
AT_ONCE = 4
"""Environments that are played at once where their steps wait for something outside."""
MAX_TURNS = 1000
"""An episode must have ended by then, whatever is said in it."""


class Breach(AssertionError):
    """A rule is broken: what was seen, and the mend. `check_turn_env` adds the names and raises a ContractError."""

    def __init__(self, seen: str, mend: str) -> None:
        super().__init__(f"{seen} Mend: {mend}")
        self.seen, self.mend = seen, mend


@dataclass(frozen=True, slots=True)
class Subject:
    """An environment under test."""

    name: str
    make: Callable[[], Env]
    env_id: str | None
    """What `gymnasium.make` takes; None where `make` is a function. Other processes can only make an id."""
    levels: tuple[int, ...]
    tasks: int
    """Tasks per level and split that the expert plays; the other rules take their share of it."""
    distinct: int
    """Tasks, over all levels, among which none may occur twice."""
    chance: float
    """Mean reward that a policy without any understanding may reach."""

    @property
    def few(self) -> int:
        """Episodes per level for rules that play each of them several times."""
        return max(1, self.tasks // 20)

    def cases(self, count: int, *path: str) -> Iterator[Case]:
        """`count` episodes for each level and split."""
        for level in self.levels:
            for split in ("train", "test"):
                for index in range(count):
                    yield child(index, *path, split, level), {"split": split, "difficulty": level}


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode, K turns, written down."""

    task: Task
    actions: tuple[str, ...]
    """[K]"""
    lines: tuple[str, ...]
    """[K + 1] everything that reset and the steps returned, exactly."""
    reward: float
    """The undiscounted return."""
    outcome: float
    terminated: bool
    heard: str
    """The text of the last observation."""


@contextmanager
def opened(subject: Subject) -> Generator[Env]:
    """A fresh environment, closed afterwards."""
    env = subject.make()
    try:
        yield env
    finally:
        env.close()


def for_each(subject: Subject, cases: Iterable[Case], look: Callable[[Env, int, dict[str, Any]], T]) -> list[T]:
    """What `look(environment, seed, options)` says of each case, in their order; the first error of the first case that has one.

    Environments whose steps may wait (`inline` is False) are played AT_ONCE at a time, each in a thread of its own.
    """
    waiting = SimpleQueue[tuple[int, Case]]()
    for item in enumerate(cases):
        waiting.put(item)
    found, failed = dict[int, T](), dict[int, Exception]()

    def work(_: int) -> None:
        with opened(subject) as env:
            while not failed:
                try:
                    index, (seed, options) = waiting.get_nowait()
                except Empty:
                    return
                try:
                    found[index] = look(env, seed, options)
                except Exception as error:  # raised below, in the caller's thread
                    failed[index] = error

    with opened(subject) as env:
        alone = inner(env).metadata.get("inline", True)
    if alone or waiting.qsize() < AT_ONCE:
        work(0)
    else:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(work, range(AT_ONCE)))
    if failed:
        raise failed[min(failed)]
    return [found[index] for index in sorted(found)]


def inner(env: Env) -> TurnEnv:
    """The TurnEnv below all wrappers."""
    core = env.unwrapped
    if not isinstance(core, TurnEnv):
        raise Breach(f"the innermost environment is a {type(core).__name__}.", "derive it from turnwise.envs.TurnEnv.")
    return core


def play(env: Env, policy: Policy, *, seed: int, options: Mapping[str, Any] | None = None, transcript: bool = True) -> Episode:
    """Reset and play to the end; `transcript=False` leaves `lines` empty, which is quicker."""
    observation, info = env.reset(seed=seed, options=dict(options or {}))
    lines, actions, total = [canonical((observation, info))] if transcript else [], list[str](), 0.0
    for turn in range(MAX_TURNS):
        action = policy(env, text_of(observation), turn)
        observation, reward, terminated, truncated, info = env.step(action)
        actions.append(action)
        if transcript:
            lines.append(canonical((observation, reward, terminated, truncated, info)))
        total += float(reward)
        if terminated or truncated:
            outcome = float(info.get("outcome", 0.0))
            heard = text_of(observation)
            return Episode(inner(env).task, tuple(actions), tuple(lines), total, outcome, bool(terminated), heard)
    raise Breach(
        f"reset(seed={seed}, options={options}): the episode had not ended after {MAX_TURNS} turns.",
        "give turn_limit(task) or max_turns.",
    )


def expert(env: Env, observation: str, turn: int) -> str:
    """The policy of the environment's own oracle."""
    return inner(env).expert_action()


def scripted(actions: Sequence[str]) -> Policy:
    """The policy that says these, in order."""
    return lambda env, observation, turn: actions[turn] if turn < len(actions) else ""


def mixed(seed: int) -> Policy:
    """Now the expert, now junk: reaches states that neither reaches alone."""
    rng = np.random.default_rng(child(seed, "mixed"))
    junk = ("", "hello", "<answer>", "<tool_call>{}</tool_call>", "\x00\n\x1b[0m")

    def policy(env: Env, observation: str, turn: int) -> str:
        return expert(env, observation, turn) if rng.random() < 0.7 else junk[int(rng.integers(len(junk)))]

    return policy


def replayed(env: Env, episode: Episode, *, seed: int, options: Mapping[str, Any], how: str) -> None:
    """Play the same actions again and compare every byte; `how` says for the message what was different this time."""
    again = play(env, scripted(episode.actions), seed=seed, options=options)
    same_lines(episode.lines, again.lines, f"reset(seed={seed}, options={_short(options)}) and the same actions, {how}")


def same_lines(first: Sequence[str], second: Sequence[str], where: str) -> None:
    """Breach at the first difference between two transcripts."""
    for turn, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            near = slice(max(0, at - 40), at + 60)
            what = "the reset" if turn == 0 else f"step {turn}"
            raise Breach(
                f"{where}: {what} differs: {a[near]!r} against {b[near]!r}.",
                "draw from self.np_random alone, keep state on self, and put no clock, id or set order into what is returned.",
            )
    if len(first) != len(second):
        raise Breach(f"{where}: {len(first) - 1} turns against {len(second) - 1}.", "make the episode depend on nothing else.")


def text_of(observation: Any) -> str:
    """The text of an observation: itself, or its "text" where there are pictures."""
    return str(observation["text"]) if isinstance(observation, Mapping) else str(observation)


def canonical(value: Any) -> str:
    """Equal strings for equal values of equal types, exactly; arrays by dtype, shape and bytes."""
    if isinstance(value, Mapping):
        items = cast(Mapping[Any, Any], value).items()
        return "{" + ",".join(f"{canonical(k)}:{canonical(v)}" for k, v in items) + "}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}[" + ",".join(canonical(v) for v in cast(Sequence[Any], value)) + "]"
    if isinstance(value, np.ndarray):
        return f"array<{value.dtype}{value.shape}>{value.tobytes().hex()}"
    return f"{type(value).__name__}:{value!r}"


def sampled_tasks(subject: Subject, count: int, split: Split) -> Iterator[Task]:
    """`count` tasks per level, by nothing but seeds."""
    with opened(subject) as env:
        for seed, options in subject.cases(count, "tasks"):
            if options["split"] == split:
                env.reset(seed=seed, options=options)
                yield inner(env).task


def _short(options: Mapping[str, Any]) -> str:
    return str({k: (f"Task {v.id}" if isinstance(v, Task) else v) for k, v in options.items()})
