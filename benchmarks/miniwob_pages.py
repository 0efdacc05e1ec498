"""MiniWoB page by page: what the contract of environments asks, on every one of the package's pages.

    python benchmarks/miniwob_pages.py [--tasks 1] [--share 16] [--pages click-pie ...] [--out FILE]

`turnwise check MiniWoB` draws pages by level, so it may miss one. Here each page has the expert on that many train and test
tasks; an episode, now the expert's actions and now junk, that is played again in the same environment and by a fork from its
middle, and must be the same to the byte; and one share of the kit's hostile actions, another one than the page before, where each
step must be answered in form and the expert must know what to do next. A broken rule stops it. The expert's least reward and
longest way are told.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from turnwise.envs.fork import fork
from turnwise.envs.miniwob.experts import EXPERTS
from turnwise.envs.miniwob.miniwob import MiniWoB
from turnwise.envs.miniwob.pages import page_names
from turnwise.envs.testing.hostile import hostile_actions
from turnwise.envs.testing.results import checked
from turnwise.envs.testing.subject import canonical, expert, mixed, play, replayed, scripted

JUNK = ("", '<tool_call>{"name": "click", "arguments": {"mark": 1}}</tool_call>', "<answer>done</answer>") * 4
"""What is played where there is no expert."""


def solved(env: MiniWoB, tasks: int) -> dict[str, Any]:
    """The expert's least reward and most turns, on `tasks` train and test tasks."""
    played = [
        play(env, expert, seed=seed, options={"split": split}, transcript=False)
        for split in ("train", "test")
        for seed in range(tasks)
    ]
    return {"reward": min(episode.reward for episode in played), "turns": max(len(episode.actions) for episode in played)}


def played_again(env: MiniWoB, name: str) -> int:
    """Turns of an episode that went the same way again, and in a fork from its middle."""
    episode = play(env, mixed(1) if name in EXPERTS else scripted(JUNK), seed=1)
    replayed(env, episode, seed=1, options={}, how="in the same environment again")
    middle = len(episode.actions) // 2
    env.reset(seed=1)
    for action in episode.actions[:middle]:
        env.step(action)
    twin = fork(env)
    lines = [canonical(twin.step(action)) for action in episode.actions[middle:]]
    twin.close()
    if tuple(lines) != episode.lines[middle + 1 :]:
        raise AssertionError(f"{name}: a fork after {middle} turns went another way")
    return len(episode.actions)


def withstood(env: MiniWoB, actions: Iterator[str]) -> int:
    """Hostile actions that were answered as any other."""
    over, count = True, 0
    for action in actions:
        if over:
            env.reset(seed=count)
        over = checked(env, env.step(action), f"{env.task.id}, step({action[:80]!r})")
        if not over and env.task.metadata["page"] in EXPERTS:
            env.expert_action()
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=1, help="train and test tasks that the expert plays on each page")
    parser.add_argument("--share", type=int, default=16, help="each page gets one in so many hostile actions")
    parser.add_argument("--pages", nargs="*", default=page_names())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = dict[str, dict[str, Any]]()
    for index, name in enumerate(options.pages):
        env = MiniWoB(tasks=name)
        row: dict[str, Any] = solved(env, options.tasks) if name in EXPERTS else {"reward": None, "turns": None}
        row["replayed"] = played_again(env, name)
        row["hostile"] = withstood(env, islice(hostile_actions(env), index % options.share, None, options.share))
        env.close()
        found[name] = row
        print(f"{name}: {row}", flush=True)
    less = {name: row["reward"] for name, row in found.items() if row["reward"] != 1.0}
    print(
        f"{len(found)} pages, {sum(row['hostile'] for row in found.values())} hostile actions; the expert earns 1 but on {less}"
    )
    if options.out:
        told = {"tasks": options.tasks, "share": options.share, "pages": found}
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
