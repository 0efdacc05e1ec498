"""The command line: envs, play, check, eval, train, explain, replay, audit, serve.

Standard output is for results, standard error for progress and errors. Exit codes: 0 done, 1 nothing could be measured, 2 a wrong
argument or setting, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnwise import __version__
from turnwise.agents.person import is_open, spell, usage
from turnwise.cli_check import CHECK_EXAMPLES, add_check_arguments, run_check
from turnwise.cli_eval import run_eval
from turnwise.cli_parsing import env_id, made, needs_torch, settings
from turnwise.cli_replay import (
    AUDIT_EXAMPLES,
    REPLAY_EXAMPLES,
    add_audit_arguments,
    add_replay_arguments,
    run_audit,
    run_replay,
)
from turnwise.cli_serve import EXAMPLES, HELP, add_arguments, run_serve
from turnwise.envs.core import TurnEnv
from turnwise.envs.registration import ids
from turnwise.errors import ConfigError, InfraError, TurnwiseError

if TYPE_CHECKING:
    from turnwise.trainers.recipe import Recipe

__all__ = ["main", "parser"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    arguments = _parsed(sys.argv[1:] if argv is None else argv)
    errors = Console(stderr=True)
    try:
        return int(arguments.verb(arguments) or 0)
    except TurnwiseError as error:
        if arguments.debug:
            traceback.print_exc()
        message = " ".join(str(error).split())
        errors.print(Text(f"error: {message}", "red"), soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        errors.print(Text("interrupted", "yellow"))
        return 130
    except BrokenPipeError:  # `turnwise envs | head`: nobody reads on, and the interpreter must not try to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    known = parser()
    arguments, rest = known.parse_known_args(argv)
    # argparse gives up on positionals that come after options: `train RECIPE --out DIR steps=10`.
    late = [word for word in rest if "=" in word and not word.startswith("-")]
    if len(late) < len(rest) or (rest and not hasattr(arguments, "overrides")):
        known.error(f"unrecognized arguments: {' '.join(word for word in rest if word not in late) or ' '.join(rest)}")
    if late:
        arguments.overrides += late
    return arguments


# --- the parser ---------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """All commands with their help."""
    top = argparse.ArgumentParser(
        prog="turnwise",
        description="Gymnasium environments and reinforcement learning for multi-turn LLM agents.",
        epilog="`turnwise COMMAND --help` shows what a command takes, with examples.",
    )
    top.add_argument("--version", action="version", version=f"turnwise {__version__}")
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _envs_parser(verbs)
    _play_parser(verbs)
    contract = "prove that an environment keeps the contract: seeds, forks, expert, splits, hostile replies, reward hacks"
    add_check_arguments(_verb(verbs, "check", run_check, contract, CHECK_EXAMPLES))
    _eval_parser(verbs)
    _train_parser(verbs)
    _explain_parser(verbs)
    again = "train a recorded run once more and compare every number, bit for bit"
    add_replay_arguments(_verb(verbs, "replay", run_replay, again, REPLAY_EXAMPLES))
    sound = "check masks, ids, stop tokens and log-probabilities of a rollout dump, ours or another trainer's"
    add_audit_arguments(_verb(verbs, "audit", run_audit, sound, AUDIT_EXAMPLES))
    add_arguments(_verb(verbs, "serve", run_serve, HELP, EXAMPLES))
    return top


def _verb(verbs: Any, name: str, run: Callable[[argparse.Namespace], int], help: str, examples: str) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.set_defaults(verb=run)
    sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return sub


def _envs_parser(verbs: Any) -> None:
    sub = _verb(verbs, "envs", run_envs, "list every environment, plug-ins included", "  turnwise envs\n  turnwise envs --json")
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _play_parser(verbs: Any) -> None:
    sub = _verb(
        verbs,
        "play",
        run_play,
        "play an environment yourself, in the terminal",
        "  turnwise play Lookup\n"
        "  turnwise play turnwise/Sokoban-v0 --difficulty 3 --seed 7\n"
        "  turnwise play Arithmetic --expert          watch the expert play\n"
        "  turnwise play TryAgain attempts=3 source=calculation\n"
        "  turnwise play turnwise/Gymnasium-v0 env_id=FrozenLake-v1\n"
        "  echo '!' | turnwise play Lookup            input may be piped",
    )
    _task_arguments(sub, split="train")
    sub.add_argument("overrides", metavar="key=value", nargs="*", default=[], help="options of the environment, as JSON or text")
    sub.add_argument("--expert", action="store_true", help="let the expert play every turn")


def _eval_parser(verbs: Any) -> None:
    sub = _verb(
        verbs,
        "eval",
        run_eval,
        "measure an agent on held-out tasks: success, pass@k, turns, tokens, tool calls, with confidence intervals",
        "  turnwise eval Sokoban --agent expert --tasks 64\n"
        "  turnwise eval Lookup Arithmetic --agent hf:runs/quickstart/checkpoint --samples 4 --out results\n"
        "  turnwise eval Lookup --agent hf:Qwen/Qwen3-0.6B --difficulty 1-3 --max-tokens 256\n"
        "  OPENAI_API_KEY=... turnwise eval Lookup --agent openai:gpt-4o-mini --tasks 32\n"
        "  turnwise eval Lookup --agent openai:my-model --base-url http://127.0.0.1:8000/v1",
    )
    sub.add_argument("envs", metavar="ENV", nargs="+", help="environment ids, such as Lookup or turnwise/Lookup-v0")
    sub.add_argument("--agent", required=True, metavar="AGENT", help="expert, random, hf:PATH (folder or hub id) or openai:MODEL")
    _number(sub, "--tasks", 256, "tasks of each environment")
    _number(sub, "--samples", 1, "episodes of each task; pass@k needs k of them")
    sub.add_argument("--difficulty", metavar="LEVELS", help="such as 2, 1,3 or 1-5 (default: the environment's)")
    sub.add_argument("--split", choices=("train", "test"), default="test", help="(default: test)")
    _number(sub, "--seed", 0, "equal seeds give equal tasks")
    _number(sub, "--max-tokens", 512, "tokens of one reply")
    sub.add_argument("--temperature", type=float, default=1.0, metavar="T", help="0 is greedy (default: 1)")
    sub.add_argument("--max-turns", type=int, metavar="N", help="turns of an episode (default: the environment's limit)")
    _number(sub, "--concurrency", 64, "episodes at the same time")
    sub.add_argument("--device", metavar="DEVICE", help="for hf: cpu, cuda, cuda:1 (default: cuda if there is one)")
    sub.add_argument("--dtype", choices=("float32", "bfloat16"), help="for hf (default: bfloat16 on cuda, else float32)")
    _number(sub, "--threads", 0, "for hf on a CPU: threads of torch; 0 leaves it alone")
    sub.add_argument("--base-url", metavar="URL", help="for openai (default: OPENAI_BASE_URL, else https://api.openai.com/v1)")
    sub.add_argument("--timeout", type=float, default=120.0, metavar="S", help="for openai: seconds for a reply (default: 120)")
    sub.add_argument("--out", type=Path, metavar="DIR", help="write results.json, trajectories.jsonl and report.html there")
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _train_parser(verbs: Any) -> None:
    sub = _verb(
        verbs,
        "train",
        run_train,
        "train an agent as a recipe says",
        "  turnwise train recipes/quickstart.toml\n"
        "  turnwise train recipes/quickstart.toml advantage=trloo advantage.gamma=0.9 steps=40 --out runs/trloo\n"
        "  turnwise train recipes/quickstart.toml --dry-run\n"
        "  turnwise train recipes/quickstart.toml --cluster auto\n"
        "  turnwise train --resume runs/trloo                  with the recipe that lies there",
    )
    _recipe_arguments(sub)
    sub.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/RECIPE-DATE)")
    sub.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in that folder, exactly where it stopped")
    sub.add_argument("--wandb", default="", metavar="PROJECT", help="log to Weights & Biases too")
    sub.add_argument("--dry-run", action="store_true", help="resolve the whole recipe, say what would run, train nothing")


def _explain_parser(verbs: Any) -> None:
    sub = _verb(
        verbs,
        "explain",
        run_explain,
        "say in words what a recipe will do",
        "  turnwise explain recipes/quickstart.toml\n  turnwise explain recipes/quickstart.toml loss=gspo",
    )
    _recipe_arguments(sub)


def _task_arguments(sub: argparse.ArgumentParser, split: str) -> None:
    sub.add_argument("env", metavar="ENV", help="an environment id, such as Lookup or turnwise/Lookup-v0")
    sub.add_argument("--difficulty", type=int, metavar="LEVEL", help="(default: the environment's; `turnwise envs` lists them)")
    sub.add_argument("--split", choices=("train", "test"), default=split, help=f"(default: {split})")
    sub.add_argument("--seed", type=int, metavar="N", help="equal seeds give equal episodes (default: a new one each time)")


def _recipe_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("recipe", metavar="RECIPE", nargs="?", help="a TOML file")
    sub.add_argument("overrides", metavar="key=value", nargs="*", help="settings that replace those of the file; dots descend")
    where = "auto (the cluster that is there, else a local one), local, or HOST:PORT of a head node"
    sub.add_argument("--cluster", metavar="ADDRESS", help=f"run on Ray: {where} (default: as the recipe says, in this process)")


def _number(sub: argparse.ArgumentParser, name: str, default: int, help: str) -> None:
    sub.add_argument(name, type=int, default=default, metavar="N", help=f"{help} (default: {default})")


# --- envs ---------------------------------------------------------------------------------------------------------------


def run_envs(arguments: argparse.Namespace) -> int:
    """List the environments."""
    rows = [_described(name) for name in ids()]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "what", "levels", "renders"):
        table.add_column(column, no_wrap=column == "id")
    for row in rows:
        levels = f"{row['levels'][0]}-{row['levels'][-1]}" if row["levels"] else "-"
        what = Text(row["error"], "red") if row["error"] else Text(row["what"])
        table.add_row(row["id"], what, levels, ", ".join(row["render_modes"]) or "-")
    Console().print(table)
    return 0


def _described(name: str) -> dict[str, Any]:
    module, _, attribute = str(gymnasium.spec(name).entry_point).partition(":")
    row: dict[str, Any] = {"id": name, "what": "", "levels": [], "render_modes": [], "error": ""}
    try:
        cls = getattr(import_module(module), attribute)
    except Exception as error:  # a plug-in that cannot be imported must not hide the others
        return row | {"error": f"cannot be imported: {type(error).__name__}: {error}"}
    return row | {
        "what": re.sub(r"(?<=\.)\s.*", "", (getdoc(cls) or "").partition("\n")[0]),  # its first sentence
        "levels": list(getattr(cls, "levels", ())),
        "render_modes": list(getattr(cls, "metadata", {}).get("render_modes", ())),
    }


# --- play ---------------------------------------------------------------------------------------------------------------


def run_play(arguments: argparse.Namespace) -> int:
    """A person plays one episode."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    name = env_id(arguments.env)
    env: gymnasium.Env[Any, Any] = made(name, settings(arguments.overrides))
    inner = env.unwrapped
    if not isinstance(inner, TurnEnv):
        raise ConfigError(f"{name}: play needs a TurnEnv, this is a {type(inner).__name__}.")
    seed = time.time_ns() % 2**31 if arguments.seed is None else arguments.seed
    options = {"split": arguments.split} | ({} if arguments.difficulty is None else {"difficulty": arguments.difficulty})
    observation, _ = env.reset(seed=seed, options=options)
    console.print(f"{name}  seed {seed}, difficulty {inner.task.difficulty}\n", style="dim")
    console.print(observation)
    if not arguments.expert:
        console.print(f"\n{usage(inner)}", style="dim")
    total = 0.0
    while (action := _action(inner, arguments.expert, console)) is not None:
        observation, reward, terminated, truncated, info = env.step(action)
        total += float(reward)
        console.print(observation, style="" if info["valid_action"] else "yellow")
        console.print(f"reward {float(reward):g}" + _terms(info["reward_terms"]), style="dim")
        if terminated or truncated:
            end = "solved" if info["outcome"] >= 1.0 else "not solved" if terminated else "out of turns"
            console.print(f"{end}: outcome {info['outcome']:g}, return {total:g}, turn {inner.turn}", style="bold")
            break
    env.close()
    return 0


def _action(env: TurnEnv, expert: bool, console: Console) -> str | None:
    """The next action; None to quit."""
    while True:
        if not expert:
            try:
                line = input("> ")
                while is_open(line):
                    line += "\n" + input(". " if sys.stdin.isatty() else "")
            except EOFError:
                console.print()
                return None
            if not sys.stdin.isatty():
                console.print(line)  # what was piped in belongs into the transcript
        else:
            line = "!"
        match line.strip():
            case "?":
                console.print(usage(env), style="dim")
            case ":q":
                return None
            case "!":
                action = env.expert_action()
                console.print(f"{'> ' if expert else ''}{action}", style="cyan")
                return action
            case "":
                continue
            case _:
                return spell(line, env)


def _terms(terms: dict[str, float]) -> str:
    named = ", ".join(f"{name} {value:g}" for name, value in terms.items())
    return f" ({named})" if named else ""


# --- train and explain ----------------------------------------------------------------------------------------------------


def run_train(arguments: argparse.Namespace) -> int:
    """Train as the recipe says."""
    needs_torch("train")
    recipe = _recipe(arguments)
    console = Console()
    if arguments.dry_run:
        return _explained(recipe, console)
    from turnwise.trainers.run import run  # noqa: PLC0415  (torch takes seconds to load)

    fresh = Path("runs") / f"{Path(arguments.recipe or 'run').stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    out: Path = arguments.resume or arguments.out or fresh
    console.print(f"[bold]turnwise[/] trains {', '.join(choice.id for choice in recipe.env)}; everything lands in {out}")
    try:
        result = asyncio.run(run(recipe, out, resume=arguments.resume is not None, wandb=arguments.wandb, console=console))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InfraError("disk", f"{out}: {error.strerror}; make room and go on by --resume {out}") from error
    console.print(result.summary(), highlight=False)
    return 0


def run_explain(arguments: argparse.Namespace) -> int:
    """Say what a recipe will do."""
    needs_torch("explain")
    return _explained(_recipe(arguments), Console())


def _recipe(arguments: argparse.Namespace) -> Recipe:
    from turnwise.trainers.recipe import load  # noqa: PLC0415

    if arguments.recipe is not None and "=" in arguments.recipe:  # `train --resume DIR steps=200`
        arguments.overrides.insert(0, arguments.recipe)
        arguments.recipe = None
    resumed: Path | None = getattr(arguments, "resume", None)
    path = arguments.recipe or (resumed and resumed / "recipe.toml")
    if path is None:
        raise ConfigError("RECIPE: missing; name a TOML file, such as recipes/quickstart.toml.")
    where = [] if arguments.cluster is None else [f"cluster.address={json.dumps(arguments.cluster)}"]
    return load(path, [*arguments.overrides, *where])


def _explained(recipe: Recipe, console: Console) -> int:
    from turnwise.trainers.explain import explain  # noqa: PLC0415

    console.print(explain(recipe), markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
