"""Writes docs/envs/: a page for every environment, made from its class, and an index.

    python docs/make_envs.py                      the pages, from the sources and docs/envs/levels.json
    python docs/make_envs.py --measure            measures every level of every id anew first (minutes)
    python docs/make_envs.py --measure Sokoban    measures these only
    python docs/make_envs.py --check Sokoban      proves the whole contract of these (all if none is named) for docs/envs/kit.json

A test fails if a page is stale, and spot-checks the measurements. The task, levels and sources of a page are the docstring of
the environment's module, the options that of its class; the episode is played by the expert.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium

from turnwise.envs.core import TurnEnv
from turnwise.envs.registration import BUILT_IN
from turnwise.envs.testing import check_turn_env
from turnwise.envs.testing.kit import PROBES, RULES
from turnwise.envs.tool_env import ToolEnv

FOLDER = Path(__file__).parent / "envs"
LEVELS = FOLDER / "levels.json"
KIT = FOLDER / "kit.json"
TASKS = 200
"""Train and test tasks of each level that the expert plays for the table."""
TWINS = {"turnwise/Gui-v0": "turnwise/GuiLite-v0"}
"""Measured by one that is the same step by step and quicker, as a test holds; the test of these pages plays the id itself."""
ABOUT_TASKS = ("tasks_are_whole", "splits_are_disjoint", "tasks_are_distinct")
"""Rules that look at tasks alone: where each opens a page in a browser, they are only drawn."""
_FORKS = ("forks_continue_equally", "forks_are_independent")
FEWER: Mapping[str, Mapping[str, int]] = {
    "turnwise/Gui-v0": {**dict.fromkeys(("returns_right_types", "replays", "tasks_replay", *_FORKS), 40), PROBES: 20},
    "turnwise/MiniWoB-v0": dict.fromkeys((*_FORKS, PROBES), 50),
}
"""Tasks for rules of ids that play in a browser, whose steps take a thousand times as long, and of which the probes take most."""
MOST_LINES, MOST_TURNS = 18, 7
"""Of an observation, and of an episode, that a page shows."""
_NOT_SHOWN = ("self", "split", "difficulty", "max_turns", "render_mode", "action_format", "instructions", "toolset")


def name_of(env_id: str) -> str:
    return env_id.split("/")[1].split("-v")[0]


def made(env_id: str) -> TurnEnv:
    env = gymnasium.make(env_id, render_mode="ansi").unwrapped
    assert isinstance(env, TurnEnv)
    return env


def measure(env: TurnEnv, tasks: int) -> dict[str, dict[str, float]]:
    """Level -> least, mean and most turns of the expert, least and most turn limit, mean length of the first observation."""
    found: dict[str, dict[str, float]] = {}
    for level in env.levels:
        turns, limits, lengths = list[int](), list[int](), list[int]()
        for split in ("train", "test"):
            for seed in range(tasks):
                observation, _ = env.reset(seed=seed, options={"split": split, "difficulty": level})
                lengths.append(len(observation if isinstance(observation, str) else observation["text"]))
                limits.append(env.turn_limit(env.task))
                over = False
                while not over:
                    _, _, terminated, truncated, info = env.step(env.expert_action())
                    over = terminated or truncated
                assert info["outcome"] == 1.0, f"{type(env).__name__}: the expert fails at level {level}, {split}, seed {seed}"
                turns.append(env.turn)
        found[str(level)] = {
            "tasks": len(turns),
            "least": min(turns),
            "mean": round(sum(turns) / len(turns), 1),
            "most": max(turns),
            "limit_least": min(limits),
            "limit_most": max(limits),
            "characters": round(sum(lengths) / len(lengths)),
        }
    return found


def page(env_id: str, levels: Mapping[str, Mapping[str, float]]) -> str:
    """The whole page of an id."""
    env = made(env_id)
    cls, name = type(env), name_of(env_id)
    module = importlib.import_module(cls.__module__)
    summary, _, rest = inspect.cleandoc(module.__doc__ or "").partition("\n")
    summary = summary.removeprefix(f"{env_id}: ")
    parts = [
        f"# {env_id}\n\n{summary[:1].upper()}{summary[1:]}",
        f'```python\nimport gymnasium as gym\nimport turnwise\n\nenv = gym.make("{env_id}", difficulty={env.default_level})\n'
        "observation, info = env.reset(seed=0)\n```",
        f"`turnwise play {name}` plays it in the terminal; `turnwise eval {name} --agent expert` runs it.",
        *([f"## Task\n\n{as_markdown(rest)}"] if rest.strip() else []),
        f"## Options and reward\n\n{as_markdown(inspect.cleandoc(cls.__doc__ or ''))}\n\n{_options(cls)}",
        *_tools(env),
        *_episode(env),
        f"## Levels\n\n{_levels(env, levels)}",
        *_checked(env_id),
        f"## Source\n\n`{cls.__module__}.{cls.__name__}`. {_base(env)}",
    ]
    env.close()
    return "\n\n".join(part.strip() for part in parts) + "\n"


def as_markdown(docstring: str) -> str:
    """Paragraphs as they are; indented ones become code, one line `name: ...` each becomes a list."""
    blocks = list[str]()
    for block in re.split(r"\n\s*\n", re.sub(r" See the module[^.]*\.", "", docstring).strip("\n")):
        lines = block.split("\n")
        if all(line.startswith("    ") for line in lines):
            code = inspect.cleandoc("\n" + block)
            if blocks and blocks[-1].endswith("\n```"):
                blocks[-1] = f"{blocks[-1][:-4]}\n\n{code}\n```"
            else:
                blocks.append(f"```text\n{code}\n```")
        elif all(re.match(r"[a-z][a-z0-9_, ]*: ", line) or line.startswith("    ") for line in lines):
            blocks.append(re.sub(r"^([a-z][a-z0-9_, ]*):", r"- `\1`:", block, flags=re.MULTILINE))
        else:
            blocks.append(block)
    return "\n\n".join(blocks)


def parameters_of(cls: type) -> dict[str, inspect.Parameter]:
    """What the constructor takes by keyword; `**options` stands for what those of the base classes take."""
    found: dict[str, inspect.Parameter] = {}
    for base in inspect.getmro(cls):
        if "__init__" in vars(base):
            own = inspect.signature(base.__init__).parameters
            found = found | {name: p for name, p in own.items() if name not in found and p.kind is p.KEYWORD_ONLY}
            if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
                break
    return found


def _options(cls: type[TurnEnv]) -> str:
    parameters = parameters_of(cls)
    own = [f"`{p.name} = {p.default!r}`" for p in parameters.values() if p.name not in _NOT_SHOWN]
    common = [f"`{name}`" for name in _NOT_SHOWN[1:-1] if name in parameters]
    only = f"Its own options and their defaults: {', '.join(own)}. " if own else ""
    return f"{only}As everywhere: {', '.join(common)}."


def _tools(env: TurnEnv) -> list[str]:
    if not env.tools:
        return []
    rows = ["## Tools", "", "| tool | arguments | what it does |", "|---|---|---|"]
    for tool in env.tools:
        required = tool["parameters"].get("required", [])
        arguments = [n if n in required else f"[{n}]" for n in tool["parameters"]["properties"]]
        rows.append(f"| `{tool['name']}` | {', '.join(f'`{a}`' for a in arguments)} | {' '.join(tool['description'].split())} |")
    return ["\n".join(rows)]


def _episode(env: TurnEnv) -> list[str]:
    """The expert's episode with seed 0, the terms of its reward, and what the second turn looks like."""
    observation, _ = env.reset(seed=0)
    said, earned, terms, picture, over = list[str](), 0.0, dict[str, float](), "", False
    first = _said("environment", _without_specs(env, observation))
    while not over:
        action = env.expert_action()
        observation, reward, terminated, truncated, info = env.step(action)
        over = terminated or truncated
        picture = str(env.render()) if env.turn <= 2 or not picture else picture
        earned += reward
        for term, value in info["reward_terms"].items():
            terms[term] = terms.get(term, 0.0) + value
        said.append(f"{_said('agent', action)}\n{_said('environment', observation, f', reward {reward:g}' if reward else '')}")
    sums = ", ".join(f"`{term}` {value:g}" for term, value in terms.items())
    modes = ", ".join(f"`{mode}`" for mode in env.metadata["render_modes"])
    return [
        f"## An episode\n\nObservations and actions are text; an observation is the new message only. Seed 0, level "
        f"{env.task.difficulty}, played by the expert; what is long is cut here:\n\n```text\n"
        + "\n".join((first, *_left_out(said, MOST_TURNS, "turns")))
        + "\n```",
        f"It earns {earned:g}" + (f", in terms: {sums}." if sums else "."),
        f"## Render\n\nModes: {modes}. `render()` in mode `ansi` after the second turn, or the last before it:\n\n"
        f"```text\n{_short(picture.rstrip())}\n```",
    ]


def _without_specs(env: TurnEnv, observation: Any) -> str:
    """The first observation without the tools' JSON, of which the page has a table."""
    text = observation if isinstance(observation, str) else observation["text"]
    specs = {json.dumps(spec, ensure_ascii=False) for spec in env.tools}
    lines = text.split("\n")
    shown = [line for line in lines if line not in specs]
    if len(shown) < len(lines):
        shown.insert(lines.index(next(line for line in lines if line in specs)), "... (the tools above, as JSON)")
    return "\n".join(shown)


def _said(who: str, text: Any, note: str = "") -> str:
    text = text if isinstance(text, str) else text["text"]
    return f"[{who}{note}]\n{_short(text)}"


def _short(text: str) -> str:
    return "\n".join(_left_out(text.split("\n"), MOST_LINES, "lines"))


def _left_out(parts: list[str], most: int, what: str) -> list[str]:
    """The parts, or if there are too many the first and the last third, and between them how many are not shown."""
    if len(parts) <= most + 1:
        return parts
    last = most // 3
    return [*parts[: most - last], f"... ({len(parts) - most} {what} left out)", *parts[-last:]]


def _levels(env: TurnEnv, levels: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        f"Measured by `docs/make_envs.py`, {int(levels[str(env.levels[0])]['tasks'])} tasks a level, half train and half test, "
        "all of them solved by the expert:",
        "",
        "| level | turns of the expert: least | mean | most | turn limit | characters of the first observation |",
        "|---|---|---|---|---|---|",
    ]
    for level in env.levels:
        m = levels[str(level)]
        limit = f"{m['limit_least']}" if m["limit_least"] == m["limit_most"] else f"{m['limit_least']} to {m['limit_most']}"
        rows.append(f"| {level} | {m['least']} | {m['mean']:g} | {m['most']} | {limit} | {m['characters']} |")
    return "\n".join(rows) + f"\n\nThe default is level {env.default_level}."


def _checked(env_id: str) -> list[str]:
    """What `turnwise check` saw of the id, where it was asked for."""
    found = recorded(KIT).get(env_id)
    if found is None:
        return []
    rows = [f"| {rule.replace('_', ' ')} | {seen.replace('|', '/')} |" for rule, seen in found["seen"].items()]
    best = ", ".join(f"{policy} {reward:g}" for policy, reward in found["best_probes"].items())
    by_count: dict[int, list[str]] = {}
    for rule, count in found.get("fewer", {}).items():
        by_count.setdefault(count, []).append(rule.replace("_", " "))
    fewer = "".join(f"; `--tasks {count}` for *{', '.join(rules)}*" for count, rules in by_count.items())
    proof = (
        f"Proven by `turnwise check {name_of(env_id)} --tasks {found['tasks']}`, that many train and test tasks of every level"
        f"{fewer}:"
    )
    table = "\n".join(("| rule | seen |", "|---|---|", *rows))
    return [f"## Contract\n\n{proof}\n\n{table}\n\nThe best of the thoughtless policies earn on average: {best}."]


def check(env_id: str, tasks: int) -> dict[str, Any]:
    """What the whole kit saw of an id, on `tasks` train and test tasks a level; ContractError where it breaks a rule."""
    fewer = {rule: count for rule, count in FEWER.get(env_id, {}).items() if count < tasks}
    seen, probes = dict[str, str](), dict[str, float]()
    for rule in (*RULES, PROBES):
        drawn = env_id in FEWER and rule in ABOUT_TASKS
        report = check_turn_env(partial(unopened, env_id) if drawn else env_id, tasks=fewer.get(rule, tasks), rules=[rule])
        seen.update(report.seen)
        probes.update(report.probes)
    best = sorted(probes.items(), key=lambda item: -item[1])[:3]
    found = {"tasks": tasks, "seen": seen, "best_probes": {name: round(reward, 4) for name, reward in best}}
    return found | ({"fewer": fewer} if fewer else {})


def unopened(env_id: str) -> TurnEnv:
    """One whose tasks are drawn and never put on the screen."""
    env = made(env_id)
    env.begin = lambda task: task.prompt
    return env


def _base(env: TurnEnv) -> str:
    where = "on the event loop: it cannot block" if env.metadata.get("inline") else "in a thread: it may wait for its sandbox"
    kind = "A ToolEnv" if isinstance(env, ToolEnv) else "A TurnEnv"
    return f"{kind}; a rollout steps it {where}."


def index() -> str:
    """The list of all pages."""
    rows = [
        "# Environments",
        "",
        "One page each, made by `docs/make_envs.py` from the classes.",
        "",
        "| id | task |",
        "|---|---|",
    ]
    for env_id in sorted(BUILT_IN):
        module = importlib.import_module(BUILT_IN[env_id].split(":")[0])
        summary = (module.__doc__ or "").split("\n")[0].removeprefix(f"{env_id}: ")
        rows.append(f"| [{env_id}]({name_of(env_id)}.md) | {summary} |")
    return "\n".join(rows) + "\n"


def recorded(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def record(file: Path, env_id: str, found: Mapping[str, Any]) -> None:
    """Put what was found into the file, a line for each id; others may have written meanwhile."""
    all_found = recorded(file) | {env_id: found}
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(all_found[key])}" for key in sorted(all_found) if key in BUILT_IN)
    file.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="*", metavar="NAME", help="measure all ids, or these")
    parser.add_argument("--check", nargs="*", metavar="NAME", help="prove the contract of all ids, or of these")
    parser.add_argument("--tasks", type=int, default=TASKS)
    options = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for env_id in sorted(BUILT_IN):
        if options.measure is not None and (not options.measure or name_of(env_id) in options.measure):
            env = made(TWINS.get(env_id, env_id))
            record(LEVELS, env_id, measure(env, options.tasks))
            env.close()
        if options.check is not None and (not options.check or name_of(env_id) in options.check):
            record(KIT, env_id, check(env_id, options.tasks))
            print(f"{env_id}: checked", flush=True)
    measured = recorded(LEVELS)
    for env_id in sorted(BUILT_IN):
        if env_id in measured:
            (FOLDER / f"{name_of(env_id)}.md").write_text(page(env_id, measured[env_id]), encoding="utf-8")
    (FOLDER / "README.md").write_text(index(), encoding="utf-8")


if __name__ == "__main__":
    main()
