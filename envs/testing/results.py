"""Rules of form: what reset, step and render return, what reset takes, and how an episode ends."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, cast

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from turnwise.envs.testing.hostile import hostile_actions
from turnwise.envs.testing.subject import MAX_TURNS, Breach, Env, Subject, canonical, expert, inner, mixed, opened, play
from turnwise.errors import ConfigError

__all__ = [
    "checked",
    "ends_in_time",
    "is_a_turn_env",
    "passes_gymnasium",
    "render_changes_nothing",
    "reset_takes_options",
    "returns_right_types",
    "survives_hostile_actions",
]

INFO: Mapping[str, type] = {"outcome": float, "reward_terms": dict, "valid_action": bool, "role": str}


def is_a_turn_env(subject: Subject) -> str:
    """The innermost environment is a TurnEnv, has levels, and says nothing about a task before the first reset."""
    with opened(subject) as env:
        core = inner(env)
        for name in ("render_modes", "render_fps", "inline"):
            if name not in core.metadata:
                raise Breach(f"metadata has no {name!r}.", "write metadata = {**TurnEnv.metadata, ...}.")
        if not core.levels or any(level not in core.levels for level in subject.levels):
            raise Breach(f"levels are {core.levels}, asked for {subject.levels}.", "give `levels`, a range of ints.")
        if core.default_level not in core.levels:
            raise Breach(f"default_level {core.default_level} is not among {core.levels}.", "pick one of the levels.")
        try:
            env.step("too early")
        except ResetNeeded:
            return f"{type(core).__name__}, levels {core.levels[0]} to {core.levels[-1]}"
    raise Breach("step() before the first reset() went through.", "leave step() to TurnEnv and write play().")


def passes_gymnasium(subject: Subject) -> str:
    """Gymnasium's own check_env passes without a warning."""
    with opened(subject) as env, warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check_env(env.unwrapped, skip_render_check=env.unwrapped.spec is None)
        except Exception as error:  # a checker's verdict comes in many types
            raise Breach(f"gymnasium's check_env: {type(error).__name__}: {error}", "see the message.") from error
    return f"gymnasium {gymnasium.__version__} check_env, no warning"


def returns_right_types(subject: Subject) -> str:
    """Observations in their space, finite float rewards, plain bool flags, exactly the documented info."""
    count = 0
    with opened(subject) as env:
        for seed, options in subject.cases(subject.few, "types"):
            for policy in (expert, mixed(seed)):
                observation, info = _checked_reset(env, env.reset(seed=seed, options=dict(options)))
                _check_info(info, f"reset(seed={seed}, options={options})")
                for turn in range(MAX_TURNS):
                    action = policy(env, observation, turn)
                    if not isinstance(action, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                        raise Breach(f"expert_action() is a {type(action).__name__}.", "return one str.")
                    over = checked(env, env.step(action), f"step({action[:80]!r})")
                    count += 1
                    if over:
                        break
    return f"{count} steps looked at"


def checked(env: Env, result: Any, where: str) -> bool:
    """Whether the episode is over, after looking at everything a step returned."""
    if not isinstance(result, tuple) or len(cast(tuple[Any, ...], result)) != 5:
        raise Breach(f"{where} returned {result!r:.200}.", "return (observation, reward, terminated, truncated, info).")
    observation, reward, terminated, truncated, info = cast(tuple[Any, ...], result)
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        if type(flag) is not bool:
            raise Breach(f"{where}: {name} is a {type(flag).__name__}, not a bool.", "convert with bool(...).")
    if terminated and truncated:
        raise Breach(f"{where}: terminated and truncated at once.", "a task that ends is terminated, also in the last turn.")
    if type(reward) is not float or not math.isfinite(reward):
        raise Breach(f"{where}: the reward is {reward!r} ({type(reward).__name__}), not a finite float.", "use float(...).")
    _check_observation(env, observation, where, may_be_empty=terminated)
    _check_info(info, where)
    terms: dict[str, float] = info["reward_terms"]
    if terms and not math.isclose(sum(terms.values()), reward, abs_tol=1e-6):
        raise Breach(f"{where}: reward {reward} but reward_terms {terms}.", "let the terms sum to the reward.")
    return terminated or truncated


def _checked_reset(env: Env, result: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(result, tuple) or len(cast(tuple[Any, ...], result)) != 2:
        raise Breach(f"reset() returned {result!r:.200}.", "return (observation, info).")
    _check_observation(env, result[0], "reset()", may_be_empty=False)
    return cast(tuple[str, dict[str, Any]], result)


def _check_observation(env: Env, observation: Any, where: str, *, may_be_empty: bool) -> None:
    if observation not in env.observation_space:
        raise Breach(f"{where}: the observation {observation!r:.200} is not in the observation space.", "return a str.")
    text = observation["text"] if isinstance(observation, Mapping) else observation
    if not text and not may_be_empty:
        raise Breach(f"{where}: the observation is empty and the episode goes on.", "tell the agent what happened.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Breach(
            f"{where}: the observation {text!r:.200} is not UTF-8 ({error.reason}); no tokenizer takes it.",
            "quote what the agent said with repr(), or encode it with errors='replace'.",
        ) from error


def _check_info(info: Any, where: str) -> None:
    if not isinstance(info, dict) or set(cast(dict[str, Any], info)) != set(INFO):
        raise Breach(f"{where}: info is {info!r:.300}.", f"exactly the keys {', '.join(INFO)}, always.")
    for key, kind in INFO.items():
        if type(info[key]) is not kind:
            raise Breach(f"{where}: info[{key!r}] is {info[key]!r:.100} ({type(info[key]).__name__}).", f"a {kind.__name__}.")
    if not 0.0 <= info["outcome"] <= 1.0:
        raise Breach(f"{where}: outcome {info['outcome']}.", "a number in [0, 1]; 1 is solved.")
    if info["role"] not in ("user", "tool"):
        raise Breach(f"{where}: role {info['role']!r}.", "'user', or 'tool' for the result of a tool call.")
    for name, value in info["reward_terms"].items():
        if type(name) is not str or type(value) is not float or not math.isfinite(value):
            raise Breach(f"{where}: reward_terms holds {name!r}: {value!r}.", "str to finite float.")


def survives_hostile_actions(subject: Subject) -> str:
    """No reply raises: empty, 1 MB, control characters, broken JSON, lone surrogates, numbers that explode, wrong arguments."""
    count = 0
    with opened(subject) as env:
        core = inner(env)
        for level in dict.fromkeys((subject.levels[0], subject.levels[-1])):
            over = True
            for action in hostile_actions(core):
                if over:
                    env.reset(seed=level, options={"difficulty": level})
                where = f"level {level}, step({action[:80]!r}{'...' if len(action) > 80 else ''} of {len(action)} characters)"
                try:
                    result = env.step(action)
                except Exception as error:  # the rule is that none escapes
                    raise Breach(
                        f"{where} raised {type(error).__name__}: {error!s:.200}.", "answer it: return self.refuse(message)."
                    ) from error
                over = checked(env, result, where)
                if not over:
                    _expert_answers(env, where)
                count += 1
    return f"{count} actions"


def _expert_answers(env: Env, where: str) -> None:
    try:
        action = inner(env).expert_action()
    except Exception as error:
        raise Breach(
            f"expert_action() after {where} raised {type(error).__name__}: {error!s:.200}.",
            "from a lost position, return any action.",
        ) from error
    if not isinstance(action, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise Breach(f"expert_action() after {where} is a {type(action).__name__}.", "return one str.")


def ends_in_time(subject: Subject) -> str:
    """Whoever never says anything useful is stopped, by truncation at turn_limit(task), and a finished episode takes no step."""
    longest = 0
    with opened(subject) as env:
        for seed, options in subject.cases(1, "limit"):
            episode = play(env, lambda env, observation, turn: "", seed=seed, options=options)
            turns, limit = len(episode.actions), inner(env).turn_limit(episode.task)
            if not episode.terminated and turns > limit:
                raise Breach(f"truncated after {turns} turns; turn_limit is {limit}.", "leave step() to TurnEnv.")
            longest = max(longest, turns)
            try:
                env.step("one more")
            except ResetNeeded:
                continue
            raise Breach("a finished episode took one more step.", "leave step() to TurnEnv and write play().")
    return f"at most {longest} turns of silence"


def render_changes_nothing(subject: Subject) -> str:
    """`render("ansi")` gives a str, and an episode with renders in between is the same."""
    with opened(subject) as env:
        core = inner(env)
        if "ansi" not in core.metadata["render_modes"]:
            raise Breach(f"render modes are {core.metadata['render_modes']}.", "offer 'ansi' and write render().")
        for seed, options in subject.cases(1, "render"):
            episode = play(env, mixed(seed), seed=seed, options=options)
            with _mode(env, "ansi"):
                observed = [canonical(env.reset(seed=seed, options=dict(options)))]
                for action in episode.actions:
                    picture: Any = core.render()
                    if not isinstance(picture, str) or not picture:
                        raise Breach(f"render() in mode 'ansi' is {picture!r:.100}.", "return a str that shows the state.")
                    if core.render() != picture:
                        raise Breach("two renders in a row differ.", "render() only looks.")
                    observed.append(canonical(env.step(action)))
            if tuple(observed) != episode.lines:
                raise Breach("an episode with renders in between went another way.", "render() only looks.")
    return "ansi"


class _mode:
    """Sets the render mode for a while; only make() could ask for it otherwise, and a function takes no arguments."""

    def __init__(self, env: Env, mode: str) -> None:
        self.core, self.mode = env.unwrapped, mode

    def __enter__(self) -> None:
        self.before, self.core.render_mode = self.core.render_mode, self.mode

    def __exit__(self, *_: object) -> None:
        self.core.render_mode = self.before


def reset_takes_options(subject: Subject) -> str:
    """`difficulty` and `split` are obeyed; a wrong level, split or key raises ConfigError; no options and no seed are fine."""
    with opened(subject) as env:
        core = inner(env)
        env.reset()
        env.reset(options={})
        for seed, options in subject.cases(1, "options"):
            env.reset(seed=seed, options=dict(options))
            if core.task.difficulty != options["difficulty"]:
                raise Breach(
                    f"difficulty {options['difficulty']} was asked for, the task says {core.task.difficulty}.",
                    "generate() gets the level; write it into the task.",
                )
        wrong = [{"difficulty": core.levels[-1] + 1}, {"difficulty": "hard"}, {"split": "validation"}, {"color": "red"}]
        for options in wrong:
            try:
                env.reset(options=dict(options))
            except ConfigError:
                continue
            raise Breach(f"reset(options={options}) went through.", "leave reset() to TurnEnv, or raise ConfigError.")
    return "split and difficulty obeyed, wrong ones refused"
