"""Rules of determinism: a seed, or a task, and the actions decide every byte; a fork continues like the original."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import gymnasium
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit

from turnwise.envs.fork import fork
from turnwise.envs.testing.subject import (
    Breach,
    Env,
    Episode,
    Subject,
    canonical,
    expert,
    for_each,
    inner,
    mixed,
    opened,
    play,
    replayed,
    same_lines,
    scripted,
)
from turnwise.types import Task

__all__ = [
    "forks_are_independent",
    "forks_continue_equally",
    "forks_count_turns",
    "replays",
    "replays_among_others",
    "replays_in_other_processes",
    "tasks_replay",
]


def replays(subject: Subject) -> str:
    """The same seed and actions give the same transcript: in a used environment, and in a fresh one."""

    def look(env: Env, seed: int, options: dict[str, Any]) -> None:
        episode = play(env, mixed(seed), seed=seed, options=options)
        replayed(env, episode, seed=seed, options=options, how="in the same environment again")
        with opened(subject) as fresh:
            replayed(fresh, episode, seed=seed, options=options, how="in another environment")

    count = len(for_each(subject, subject.cases(subject.few, "replays"), look))
    return f"{count} episodes replayed byte for byte"


def replays_among_others(subject: Subject) -> str:
    """Other environments that step in between, and other threads, change nothing."""
    cases = list(subject.cases(1, "among"))
    with opened(subject) as env:
        episodes = [play(env, mixed(seed), seed=seed, options=options) for seed, options in cases]
    for (seed, options), episode in zip(cases, episodes, strict=True):
        _interleaved(subject, episode, seed, options)

    def again(index: int) -> None:
        (seed, options), episode = cases[index], episodes[index]
        with opened(subject) as env:
            replayed(env, episode, seed=seed, options=options, how="with other threads running")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(again, range(len(cases))))
    return f"{len(cases)} episodes replayed, interleaved and in 4 threads"


def _interleaved(subject: Subject, episode: Episode, seed: int, options: Mapping[str, Any]) -> None:
    with opened(subject) as env, opened(subject) as other:
        lines = [canonical(env.reset(seed=seed, options=dict(options)))]
        other_over = True
        for action in episode.actions:
            if other_over:
                other.reset(seed=seed + 1)
            step = other.step("someone else's turn")
            other_over = bool(step[2] or step[3])
            lines.append(canonical(env.step(action)))
        where = f"reset(seed={seed}, options={options}) and the same actions, another environment stepping in between"
        same_lines(episode.lines, lines, where)


def replays_in_other_processes(subject: Subject) -> str:
    """Processes with other hash seeds (the order of sets) write the same transcripts."""
    if subject.env_id is None:
        return "not run: only an id can be made in another process"
    code = "import sys; from turnwise.envs.testing.replay import digest; print(digest(sys.argv[1], sys.argv[2]))"
    levels = json.dumps(subject.levels)
    digests = set[str]()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        command = [sys.executable, "-c", code, subject.env_id, levels]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise Breach(f"a new process could not play it: {done.stderr.strip()[-500:]}", "make the id importable by itself.")
        digests.add(done.stdout.split()[-1])
    if len(digests) != 1:
        raise Breach(
            "processes with PYTHONHASHSEED=1 and =2 wrote different transcripts.",
            "sort sets before drawing from them or printing them, and never use hash() of a string.",
        )
    return "2 processes with different hash seeds agree"


def digest(env_id: str, levels: str) -> str:
    """A hash of the transcripts of one train episode per level; `levels` as JSON."""
    env: Env = gymnasium.make(env_id)
    sha = hashlib.sha256()
    for level in json.loads(levels):
        episode = play(env, mixed(level), seed=level, options={"difficulty": level})
        sha.update("\n".join(episode.lines).encode("utf-8", "backslashreplace"))
    env.close()
    return sha.hexdigest()


def forks_continue_equally(subject: Subject) -> str:
    """At every turn, a fork given the remaining actions says what the original says; so does a reset of both after the end."""
    return _each_fork(subject, _continues)


def forks_are_independent(subject: Subject) -> str:
    """Whatever is done in a fork, the original goes on as if there were none."""
    return _each_fork(subject, _independent)


def _each_fork(subject: Subject, check: Callable[[Env, Episode, int, str], None]) -> str:
    def look(env: Env, seed: int, options: dict[str, Any]) -> int:
        count = 0
        for policy in (expert, mixed(seed)):
            episode = play(env, policy, seed=seed, options=options)
            turns = len(episode.actions)
            for turn in sorted({0, 1, turns // 2, turns - 1} & set(range(turns))):
                env.reset(seed=seed, options=dict(options))
                for action in episode.actions[:turn]:
                    env.step(action)
                check(env, episode, turn, f"reset(seed={seed}, options={options}), forked after {turn} of {turns} turns")
                count += 1
        return count

    return f"{sum(for_each(subject, subject.cases(max(1, subject.few // 4), 'forks'), look))} forks"


def _continues(env: Env, episode: Episode, turn: int, where: str) -> None:
    rest = episode.actions[turn:]
    twin = fork(env)
    lines = [canonical(twin.step(action)) for action in rest]
    _compare(episode.lines[turn + 1 :], lines, f"{where}: the fork")
    for action in rest:
        env.step(action)
    first, second = canonical(env.reset()), canonical(twin.reset())
    _compare([first], [second], f"{where}, played out, then reset() of both")
    twin.close()


def _independent(env: Env, episode: Episode, turn: int, where: str) -> None:
    twin, straggler = fork(env), fork(env)
    for action in ("", "some other action"):
        if twin.step(action)[2:4] != (False, False):
            break
    twin.reset(seed=1)
    twin.step(inner(twin).expert_action())
    twin.close()
    lines = [canonical(env.step(action)) for action in episode.actions[turn:]]
    _compare(episode.lines[turn + 1 :], lines, f"{where}: the original, after the fork went its own way,")
    lines = [canonical(straggler.step(action)) for action in episode.actions[turn:]]
    _compare(episode.lines[turn + 1 :], lines, f"{where}: a fork that waited until the original was over")
    straggler.close()


def _compare(expected: Any, got: Any, where: str) -> None:
    try:
        same_lines(["", *expected], ["", *got], where)
    except Breach as breach:
        raise Breach(
            breach.seen, "keep all state on self so that a deep copy takes it along, or override fork() with a real snapshot."
        ) from breach


def forks_count_turns(subject: Subject) -> str:
    """`turnwise.envs.fork` of a wrapper stack takes the wrappers' state along: TimeLimit's count and the statistics."""
    with opened(subject) as env:
        (seed, options) = next(subject.cases(1, "stack"))
        episode = play(env, mixed(seed), seed=seed, options=options)
    with opened(subject) as bare:
        turns = len(episode.actions)
        env = RecordEpisodeStatistics(TimeLimit(bare, turns))
        env.reset(seed=seed, options=dict(options))
        for action in episode.actions[:-1]:
            env.step(action)
        twin = fork(env)
        for name, one in (("the fork", twin), ("the original", env)):
            info = one.step(episode.actions[-1])[4]
            if "episode" not in info or info["episode"]["l"] != turns:
                raise Breach(f"{name} of a wrapped environment lost count of its {turns} turns.", "let fork() copy `self` whole.")
        twin.close()
    return f"a stack of {len(_wrappers(env))} wrappers forked"


def _wrappers(env: Env) -> list[str]:
    return [type(env).__name__, *_wrappers(env.env)] if isinstance(env, gymnasium.Wrapper) else []


def tasks_replay(subject: Subject) -> str:
    """A task that went through JSON puts another environment at the same start; with the same seed the episode is the same."""

    def look(env: Env, seed: int, options: dict[str, Any]) -> None:
        drawn = play(env, mixed(seed), seed=seed, options=options)
        task = _through_json(drawn.task)
        given = {"task": task}
        episode = play(env, scripted(drawn.actions), seed=seed, options=given)
        if canonical(asdict(inner(env).task)) != canonical(asdict(task)):
            raise Breach(f"reset(options={{'task': {task.id}}}) plays another task.", "play options['task'] as it is.")
        same_lines(drawn.lines[:1], episode.lines[:1], f"the start of task {task.id}, from its record alone")
        with opened(subject) as other:
            replayed(other, episode, seed=seed, options=given, how="in another environment")
            if play(other, scripted(drawn.actions), seed=seed + 1, options=given).lines == episode.lines:
                # No chance after the start, so the episode that drew the task must be this one too.
                same_lines(drawn.lines, episode.lines, f"task {task.id}, drawn by a seed and given as a record")

    return f"{len(for_each(subject, subject.cases(subject.few, 'json'), look))} tasks through JSON"


def _through_json(task: Task) -> Task:
    try:
        again = Task(**json.loads(json.dumps(asdict(task), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise Breach(f"task {task.id} is not JSON ({error}).", "keep str, int, float, bool, None, list and dict.") from error
    if canonical(asdict(again)) != canonical(asdict(task)):
        raise Breach(
            f"task {task.id} comes back from JSON changed: {canonical(asdict(task))[:200]}.",
            "metadata: lists instead of tuples, and str as the keys of dicts.",
        )
    return again
