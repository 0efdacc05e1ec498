"""Rules about the tasks: solvable by the expert, split without overlap, hardly ever the same one twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from turnwise.envs.core import split_of
from turnwise.envs.testing.subject import Breach, Env, Subject, canonical, expert, for_each, play, sampled_tasks
from turnwise.types import Task

__all__ = ["expert_solves", "splits_are_disjoint", "tasks_are_distinct", "tasks_are_whole"]


def expert_solves(subject: Subject) -> str:
    """The oracle terminates every task of every level and split with outcome 1."""
    turns = for_each(subject, subject.cases(subject.tasks, "expert"), _solved)
    return f"{len(turns)} tasks solved, in at most {max(turns)} turns"


def _solved(env: Env, seed: int, options: dict[str, Any]) -> int:
    """How many turns the expert took."""
    episode = play(env, expert, seed=seed, options=options, transcript=False)
    if not episode.terminated or episode.outcome != 1.0 or episode.reward <= 0.0:
        how = "terminated" if episode.terminated else "truncated"
        raise Breach(
            f"the expert ended reset(seed={seed}, options={options}), task {episode.task.id}, {how} after "
            f"{len(episode.actions)} turns with outcome {episode.outcome} and reward {episode.reward}; its last words "
            f"were {episode.actions[-1][-200:]!r}, the environment's {episode.heard[-400:]!r}.",
            "mend expert_action(), or turn_limit(task) if it was cut off.",
        )
    return len(episode.actions)


def tasks_are_whole(subject: Subject) -> str:
    """A task has an id, a prompt and fields of the right types."""
    count = 0
    for task in sampled_tasks(subject, subject.few, "train"):
        for name, kind in (("id", str), ("prompt", str), ("answer", str), ("difficulty", int)):
            value = getattr(task, name)
            if type(value) is not kind or (name in ("id", "prompt") and not value):
                raise Breach(f"task {task.id!r}: {name} is {value!r:.100} ({type(value).__name__}).", f"a {kind.__name__}.")
        count += 1
    return f"{count} tasks looked at"


def splits_are_disjoint(subject: Subject) -> str:
    """A task's id decides its split, the sampler obeys, and no content is in both under two names."""
    found = {split: list(sampled_tasks(subject, subject.tasks, split)) for split in ("train", "test")}
    for split, tasks in found.items():
        stray = next((task for task in tasks if split_of(task.id) != split), None)
        if stray:
            raise Breach(
                f"task {stray.id} was drawn for {split}, but its id belongs to {split_of(stray.id)}.",
                "let sample_task() keep only tasks with split_of(task.id) == split.",
            )
    both = {_content(t): t for t in found["train"]}
    twin = next((t for t in found["test"] if _content(t) in both), None)
    if twin:
        raise Breach(
            f"test task {twin.id} is train task {both[_content(twin)].id} under another name.",
            "make the id of everything that makes the task, and of nothing else.",
        )
    return f"{len(found['train'])} train and {len(found['test'])} test tasks, none in both"


def tasks_are_distinct(subject: Subject) -> str:
    """Tasks drawn with different seeds differ."""
    count = -(-subject.distinct // len(subject.levels))
    ids, contents = dict[str, int](), set[str]()
    for number, task in enumerate(_draw(subject, count)):
        if task.id in ids or _content(task) in contents:
            raise Breach(
                f"task {task.id} came twice among the first {number + 1}: {task.prompt[:200]!r}.",
                "draw from a larger space; 1,000 draws need some ten million tasks.",
            )
        ids[task.id] = number
        contents.add(_content(task))
    return f"{len(ids)} tasks, no two alike"


def _draw(subject: Subject, count: int) -> Iterator[Task]:
    return sampled_tasks(subject, count, "train")


def _content(task: Task) -> str:
    return canonical((task.prompt, task.answer, task.metadata))
