"""Reward-hacking probes: policies without any understanding, which must earn next to nothing.

Each probe plays the same tasks. An answer is tried bare and in the environment's answer tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from turnwise.envs.actions import final_answer
from turnwise.envs.core import TurnEnv
from turnwise.envs.testing.subject import Env, Policy, Subject, expert, inner, opened, play, sampled_tasks
from turnwise.envs.tool_env import ToolEnv
from turnwise.seeds import child

__all__ = ["CONSTANTS", "probe_policies", "probe_rewards"]

CONSTANTS: tuple[str, ...] = (
    *("0", "1", "2", "3", "5", "10", "100", "-1", "1/2", "0.5", "x", "pi", "infinity"),
    *("yes", "no", "true", "false", "True", "False", "A", "B", "C", "D", "a", "b", "first", "last", "both", "all"),
    *("None", "null", "none", "unknown", "I don't know", "nothing", "error", "correct", "solved", "done", "answer", "..."),
    *("up", "down", "left", "right", "Up", "Down", "Left", "Right", "U", "L", "R", "up up", "left right", "go", "submit", "help"),
    *("John", "Mary", "Alice", "London", "Paris", "red", "Monday", "[]", "{}", "()", "\\boxed{}", "print(1)", "SELECT 1"),
)
"""Answers that are right somewhere; the best of them must not pay here."""

_RECITED, _SOLUTIONS, _WORDS = 2, 4, 100
"""Levels whose solutions are recited, solutions of each, and words of a long reply."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_NAME = re.compile(r"\b[A-Z][a-z]+(?: [A-Z][a-z]+)*")
_NUMBER = re.compile(r"-?\d+(?:[./]\d+)?")


def probe_policies(seed: int = 0) -> dict[str, Policy]:
    """Name -> policy: silence, the best constants, echoes of the prompt and of the last observation, pieces of either."""
    policies: dict[str, Policy] = {"empty": _say(""), "echo": _echo, "echo answer": _in_tags(_echo)}
    for constant in CONSTANTS:
        policies[f"constant {constant!r}"] = _say(constant)
        policies[f"constant answer {constant!r}"] = _in_tags(_say(constant))
    for kind, pattern in (("word", _WORD), ("name", _NAME), ("number", _NUMBER)):
        for place, pick in (("first", _first), ("last", _last), ("longest", _longest), ("commonest", _commonest)):
            leak = partial(_leak, pattern, pick)
            policies[f"{place} {kind} of the prompt"] = leak
            policies[f"{place} {kind} of the prompt, as answer"] = _in_tags(leak)
        rng = np.random.default_rng(child(seed, "leak", kind))
        policies[f"any {kind} of the prompt, as answer"] = _in_tags(partial(_leak, pattern, partial(_any, rng)))
        policies[f"last {kind} of the observation, as answer"] = _in_tags(partial(_overheard, pattern))
    return policies


def probe_rewards(subject: Subject) -> Mapping[str, float]:
    """Policy -> mean over the test tasks of what it earned, the larger of return and final outcome."""
    tasks = list(sampled_tasks(subject, max(1, subject.tasks // len(subject.levels)), "test"))
    with opened(subject) as env:
        policies = probe_policies() | _recitals(subject, env)
        earned = {name: list[float]() for name in policies}
        for index, task in enumerate(tasks):  # a task once begun is begun again the quicker
            for name, policy in policies.items():
                episode = play(env, policy, seed=index, options={"task": task}, transcript=False)
                earned[name].append(max(episode.reward, episode.outcome))
        return {name: float(np.mean(rewards)) for name, rewards in earned.items()}


def _recitals(subject: Subject, env: Env) -> dict[str, Policy]:
    """What solved other tasks, over and over: each solution, all of them, and these in long replies, which may hold moves."""
    policies = dict[str, Policy]()
    for level in subject.levels[:_RECITED]:
        options = {"split": "train", "difficulty": level}
        played = [play(env, expert, seed=seed, options=options, transcript=False) for seed in range(_SOLUTIONS)]
        for number, episode in enumerate(played, 1):
            policies[f"solution of other task {number}, level {level}"] = _cycle(episode.actions)
        replies = [reply for episode in played for reply in episode.actions]
        words = " ".join(final_answer(reply) or "" for reply in replies).split()
        longer = [" ".join(words[start : start + _WORDS]) for start in range(0, len(words), _WORDS)]
        policies[f"solutions of other tasks, level {level}"] = _cycle(replies)
        policies[f"solutions of other tasks, level {level}, in long replies"] = _in_tags(_cycle(longer or [""]))
    return policies


def _say(text: str) -> Policy:
    return lambda env, observation, turn: text


def _cycle(replies: Sequence[str]) -> Policy:
    return lambda env, observation, turn: replies[turn % len(replies)]


def _echo(env: Env, observation: str, turn: int) -> str:
    return observation


def _in_tags(policy: Policy) -> Policy:
    """The same, as a final answer in the environment's own syntax."""
    return lambda env, observation, turn: _final(inner(env), policy(env, observation, turn))


def _final(env: TurnEnv, text: str) -> str:
    return env.format.final(text) if isinstance(env, ToolEnv) else f"<answer>{text}</answer>"


def _leak(pattern: re.Pattern[str], pick: Callable[[list[str]], str], env: Env, observation: str, turn: int) -> str:
    found = pattern.findall(inner(env).task.prompt)
    return pick(found) if found else ""


def _overheard(pattern: re.Pattern[str], env: Env, observation: str, turn: int) -> str:
    found = pattern.findall(observation)
    return found[-1] if found else ""


def _first(found: list[str]) -> str:
    return found[0]


def _last(found: list[str]) -> str:
    return found[-1]


def _longest(found: list[str]) -> str:
    return max(found, key=len)


def _commonest(found: list[str]) -> str:
    return max(found, key=found.count)


def _any(rng: np.random.Generator, found: list[str]) -> str:
    return found[int(rng.integers(len(found)))]
