"""Steps and resets per CPU second of every text environment whose steps cannot block, at every level, against the bars.

    python benchmarks/throughput.py [--only NAME ...] [--rounds 5] [--out benchmarks/results/throughput.json]

Fresh tasks in each round, played as the expert played them before in another process, so that nothing of them is known here and
nothing but `step` runs in between; `reset`, and the steps of an episode together, are timed by CPU time. The machine may be
shared, so each round also times a fixed loop of plain Python, and its numbers are scaled to the quickest such loop of the run.
The best round counts for the bars (50,000 steps, 1,000 resets); what misses them is listed.

Where textarena is installed, the games that it has as well are stepped in the same rounds, by legal replies without an aim; the
ratio is ours at our default level to theirs, median (lowest to highest).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import gymnasium

from turnwise.envs.core import TurnEnv
from turnwise.envs.registration import ids

BARS = {"steps": 50_000, "resets": 1_000}
LEAST_STEPS, MOST_EPISODES, MOST_S = 1_500, 100, 6.0
"""Of a round at one level: steps, episodes, and CPU seconds with those that the expert takes."""
PEERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Countdown": ("Countdown-v0", ("[0 1 +]", "[1 2 -]")),
    "FrozenLake": ("FrozenLake-v0", ("[up]", "[left]")),
    "Game2048": ("2048-v0", ("[up]", "[left]", "[down]", "[right]")),
    "LightsOut": ("LightsOut-v0", ("[0 1]", "[2 2]")),
    "Mastermind": ("Mastermind-v0", ("[1 2 3 4]", "[4 3 2 1]")),
    "Minesweeper": ("Minesweeper-v0", ("[0 1]", "[3 3]", "[5 2]")),
    "Sudoku": ("Sudoku-v0", ("[1 1 5]", "[4 4 2]")),
    "TowerOfHanoi": ("TowerOfHanoi-v0", ("[A B]", "[A C]")),
}
"""Name -> TextArena's, and replies that go round."""


class Round(NamedTuple):
    """Per CPU second, in one round at one level."""

    loops: float
    """The fixed loop beside it: what the machine gave."""
    steps: float
    resets: float


def loop_rate() -> float:
    """A fixed piece of plain Python per CPU second, the best of three."""
    best = 0.0
    for _ in range(3):
        start, seen = process_time(), dict[int, str]()
        for number in range(30_000):
            seen[number & 255] = f"{number}:{seen.get(number & 127, '')[:5]}"
        best = max(best, 1.0 / (process_time() - start))
    return best


def scripts(name: str, level: int, first_seed: int) -> list[list[str]]:
    """What the expert does in each episode."""
    env = gymnasium.make(f"turnwise/{name}-v0").unwrapped
    assert isinstance(env, TurnEnv)
    begun, found = process_time(), list[list[str]]()
    while sum(map(len, found)) < LEAST_STEPS and len(found) < MOST_EPISODES and process_time() - begun < MOST_S:
        env.reset(seed=first_seed + len(found), options={"difficulty": level})
        script, over = list[str](), False
        while not over:
            script.append(env.expert_action())
            _, _, terminated, truncated, _ = env.step(script[-1])
            over = terminated or truncated
        found.append(script)
    env.close()
    return found


def measured(env: TurnEnv, level: int, first_seed: int, played: Sequence[Sequence[str]]) -> Round:
    """These scripts on their tasks, which are new to the environment."""
    loops, stepping, resetting = loop_rate(), 0.0, 0.0
    for number, script in enumerate(played):
        start = process_time()
        env.reset(seed=first_seed + number, options={"difficulty": level})
        begun = process_time()
        for action in script:
            env.step(action)
        stepping += process_time() - begun
        resetting += begun - start
    return Round(loops, sum(map(len, played)) / stepping, len(played) / resetting)


def peer_measured(game: str, replies: Sequence[str], seed: int, count: int = 400) -> Round:
    """TextArena's step and the observation that it makes, without wrappers."""
    import textarena  # noqa: PLC0415  (an extra)

    env: Any = textarena.make(game)
    env.reset(num_players=1, seed=seed)
    loops, stepping, resetting, resets = loop_rate(), 0.0, 0.0, 0
    for number, reply in zip(range(count), cycle(replies), strict=False):
        start = process_time()
        over, _ = env.step(reply)
        env.get_observation()
        stepping += process_time() - start
        if over or not number:
            start = process_time()
            env.reset(num_players=1, seed=seed + number)
            resetting += process_time() - start
            resets += 1
    return Round(loops, count / stepping, resets / resetting)


def named(env_id: str) -> str:
    return env_id.removeprefix("turnwise/").removesuffix("-v0")


def made(only: Sequence[str]) -> Iterator[tuple[str, TurnEnv]]:
    """The environments that are asked for, of those whose steps cannot block."""
    for env_id in ids():
        env = gymnasium.make(env_id).unwrapped
        assert isinstance(env, TurnEnv)
        if env.metadata.get("inline") and (not only or named(env_id) in only):
            yield named(env_id), env
        env.close()


def summary(rounds: Sequence[Round], quickest: float) -> dict[str, dict[str, float]]:
    """Best, median and lowest of steps and resets, scaled to the quickest loop."""
    found: dict[str, dict[str, float]] = {}
    for what in BARS:
        rates = sorted(getattr(one, what) * quickest / one.loops for one in rounds)
        found[what] = {"best": round(rates[-1]), "median": round(statistics.median(rates)), "lowest": round(rates[0])}
    return found


def ratios(ours: Sequence[Round], theirs: Sequence[Round]) -> dict[str, float]:
    """Steps, ours to theirs, round by round."""
    found = sorted((a.steps / a.loops) / (b.steps / b.loops) for a, b in zip(ours, theirs, strict=True))
    return {"median": round(statistics.median(found), 1), "lowest": round(found[0], 1), "highest": round(found[-1], 1)}


def below(levels: Mapping[int, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """In words, what misses the bars."""
    return [
        f"level {level}: {found[what]['best']:,} {what}"
        for level, found in levels.items()
        for what, bar in BARS.items()
        if found[what]["best"] < bar
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=(), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    ours, theirs = dict[str, dict[int, list[Round]]](), dict[str, list[Round]]()
    shared = PEERS if importlib.util.find_spec("textarena") else {}
    with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
        for name, env in made(args.only):
            ours[name] = {level: [] for level in env.levels}
            for number in range(args.rounds):
                for level, rounds in ours[name].items():
                    first = 1_000_000 * (number + 1)
                    rounds.append(measured(env, level, first, elsewhere.submit(scripts, name, level, first).result()))
                if name in shared:
                    theirs.setdefault(name, []).append(peer_measured(*shared[name], seed=number))
    quickest = max(one.loops for levels in ours.values() for rounds in levels.values() for one in rounds)
    found = {name: {level: summary(rounds, quickest) for level, rounds in levels.items()} for name, levels in ours.items()}
    for name, levels in found.items():
        rates = [f"{one['steps']['best'] / 1000:,.0f}k / {one['resets']['best']:,}" for one in levels.values()]
        print(f"{name}: {', '.join(rates)}")
        print("".join(f"  below the bar: {words}\n" for words in below(levels)), end="")
    peers: dict[str, Any] = {}
    for name, rounds in theirs.items():
        level = gymnasium.make(f"turnwise/{name}-v0").unwrapped.default_level  # pyright: ignore[reportAttributeAccessIssue]
        peers[name] = {"game": PEERS[name][0], **summary(rounds, quickest), "ratio": ratios(ours[name][level], rounds)}
        print(f"{name} to TextArena's {PEERS[name][0]}, steps: {peers[name]['ratio']}")
    if args.out:
        report = {"bars": BARS, "rounds": args.rounds, "below": {n: w for n, ls in found.items() if (w := below(ls))}}
        args.out.write_text(json.dumps({**report, "levels": found, "textarena": peers}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
