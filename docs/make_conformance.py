"""Writes the generated parts of docs/conformance.md: `python docs/make_conformance.py` (a test fails if they are stale).

A row is a name and an estimator; everything else in the tables is computed by turnwise.trainers.conformance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from torch import Tensor

from turnwise.trainers.advantages.bilevel_gae import BilevelGAE
from turnwise.trainers.advantages.digirl import DigiRL
from turnwise.trainers.advantages.dr_grpo import DrGRPO
from turnwise.trainers.advantages.gigpo import GiGPO
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.igpo import IGPO
from turnwise.trainers.advantages.istar import IStar
from turnwise.trainers.advantages.mt_grpo import MTGRPO
from turnwise.trainers.advantages.reinforce_pp import ReinforcePP
from turnwise.trainers.advantages.rloo import RLOO
from turnwise.trainers.advantages.rlvmr import RLVMR
from turnwise.trainers.advantages.token_gae import TokenGAE
from turnwise.trainers.advantages.tree import Tree
from turnwise.trainers.advantages.trloo import TRLOO
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.batch import Batch
from turnwise.trainers.conformance import GRID, Composed, Game, behaviour, fog, measure, sign_flips, stop_continue, toll
from turnwise.trainers.transforms.duration_aware import DurationAware
from turnwise.trainers.transforms.empg import EMPG
from turnwise.trainers.transforms.entropy_aware import EntropyAware
from turnwise.trainers.transforms.length_free import LengthFree
from turnwise.trainers.transforms.positive_only import PositiveOnly

PAGE = Path(__file__).parent / "conformance.md"

GAMES: dict[str, Game] = {
    "stop or continue": stop_continue(),
    "rewards along the way": toll(),
    "drawn observations": fog(),
    "forks": replace(stop_continue(), branches=(2, 1)),
    "failures": replace(stop_continue(), failure=0.25),
}
ESTIMATORS: dict[str, Callable[[Batch], Tensor]] = {
    "rloo": RLOO(),
    "trloo": TRLOO(),
    "tree": Tree(),
    "turn_gae, exact critic": TurnGAE(gamma=1.0),
    "bilevel_gae, exact critic": BilevelGAE(turn_gamma=1.0),
    "token_gae, exact critic": TokenGAE(),
    "dr_grpo": DrGRPO(),
    "gigpo": GiGPO(gamma=1.0),
    "gigpo, leave_one_out = false": GiGPO(gamma=1.0, leave_one_out=False),
    "gigpo, leave_one_out = false, std = true": GiGPO(gamma=1.0, leave_one_out=False, std=True),
    "grpo, std = false": GRPO(std=False),
    "grpo": GRPO(),
    "tree, credit = soft": Tree(credit="soft"),
    "tree, credit = hard": Tree(credit="hard"),
    "reinforce_pp": ReinforcePP(),
    "reinforce_pp, baseline = group": ReinforcePP(baseline="group"),
    "istar, weight = 0": IStar(weight=0.0),
    "istar": IStar(),
    "rlvmr, no tags": RLVMR(),
    "mt_grpo": MTGRPO(),
    "igpo": IGPO(),
    "igpo, together = true": IGPO(together=True),
    "digirl, exact critic": DigiRL(),
}
"""Discounts of turns are 1, for the truth compared with is the gradient of the undiscounted return."""
TRANSFORM_GAMES = {**dict(list(GAMES.items())[:3]), "wordy": replace(stop_continue(), wordy=3)}
TRANSFORMS: dict[str, Callable[[Batch], Tensor]] = {
    "empg": Composed(RLOO(), EMPG()),
    "empg, zeta = 0": Composed(RLOO(), EMPG(zeta=0.0)),
    "entropy_aware": Composed(RLOO(), EntropyAware()),
    "duration_aware": Composed(RLOO(), DurationAware()),
    "length_free": Composed(RLOO(), LengthFree()),
    "positive_only": Composed(RLOO(), PositiveOnly()),
}


@cache
def ratios(name: str, game: str) -> tuple[float, ...]:
    """E[g] / truth at each decision."""
    return measure(ESTIMATORS[name], GAMES[game]).ratio


@cache
def transformed(name: str, game: str) -> tuple[float, ...]:
    """E[g] / truth at each decision, the transform after rloo."""
    return measure(TRANSFORMS[name], TRANSFORM_GAMES[game]).ratio


@cache
def flips(name: str) -> dict[str, int]:
    """How often the sign is wrong, by game."""
    return dict(Counter(flip.partition(",")[0] for flip in sign_flips(ESTIMATORS[name])))


def cell(ratio: tuple[float, ...]) -> str:
    """1, one common factor, or the factor of each decision."""
    if all(abs(r - ratio[0]) < 1e-6 for r in ratio):
        return "1" if abs(ratio[0] - 1) < 1e-6 else f"x {ratio[0]:.3f}"
    return " / ".join(f"**{r:.2f}**" if r < 0 else f"{r:.2f}" for r in ratio)


def verdict(name: str) -> str:
    """From the three games of independent episodes."""
    cells = [cell(ratios(name, game)) for game in list(GAMES)[:3]]
    if flips(name):
        return "**can turn the sign**"
    if set(cells) == {"1"}:
        return "unbiased"
    return f"right direction, {cells[0]}" if len(set(cells)) == 1 and cells[0].startswith("x") else "bent, sign-safe"


def gradients_table() -> str:
    lines = [f"| estimator | {' | '.join(GAMES)} | verdict | wrong signs |", "|---" * (len(GAMES) + 3) + "|"]
    for name in ESTIMATORS:
        cells = " | ".join(cell(ratios(name, game)) for game in GAMES)
        wrong = ", ".join(f"{count} in {game}" for game, count in sorted(flips(name).items())) or "none"
        lines.append(f"| `{name}` | {cells} | {verdict(name)} | {wrong} |")
    return "\n".join(lines)


def behaviour_table() -> str:
    lines = ["| estimator | group of one | equal returns | groups apart | a row per turn |", "|---|---|---|---|---|"]
    for name, estimator in ESTIMATORS.items():
        b = behaviour(estimator)
        lines.append(f"| `{name}` | {b.alone} | {b.ties} | {b.local} | {b.split} |")
    return "\n".join(lines)


def transforms_table() -> str:
    lines = [f"| `rloo`, then | {' | '.join(TRANSFORM_GAMES)} |", "|---" * (len(TRANSFORM_GAMES) + 1) + "|"]
    for name in TRANSFORMS:
        lines.append(f"| `{name}` | {' | '.join(cell(transformed(name, game)) for game in TRANSFORM_GAMES)} |")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with what stands between its markers made anew."""
    tables = {"gradients": gradients_table, "behaviour": behaviour_table, "transforms": transforms_table}
    for key, table in tables.items():
        begin, end = f"<!-- generated: {key} -->", "<!-- end -->"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        page = f"{head}{begin}\n{table()}\n{end}{tail}"
    return page.replace("{GRID}", str(GRID))


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
