"""Writes the generated parts of docs/estimators.md: `python docs/make_estimators.py` (a test fails if they are stale).

The enumeration: a task of two turns. At turn 0 the policy stops (reward 1/2) or continues; at turn 1 it is right (reward 1) or
wrong (0). Three trajectories are possible, so all 3^n groups of n can be written down with their probabilities, and the
expectation of a gradient estimate is a finite sum: what is printed is exact, without a single random number.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from turnwise.registry import names, resolve
from turnwise.trainers import aggregates
from turnwise.trainers.advantages.dr_grpo import DrGRPO
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.rloo import RLOO
from turnwise.trainers.advantages.trloo import TRLOO
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.testing import make_group

PAGE = Path(__file__).parent / "estimators.md"
STOP, RIGHT = 0.5, 1.0
"""Rewards; continuing and being wrong give 0."""
P_CONTINUE, P_RIGHT = 0.5, 0.7
"""The policy, one logit for each of the two decisions."""
TRAJECTORIES = ([STOP], [0.0, RIGHT], [0.0, 0.0])
PROBABILITIES = (1 - P_CONTINUE, P_CONTINUE * P_RIGHT, P_CONTINUE * (1 - P_RIGHT))
SCORES = ((-P_CONTINUE, 0.0), (1 - P_CONTINUE, 1 - P_RIGHT), (1 - P_CONTINUE, -P_RIGHT))
"""d log p / d logit of the action at turns 0 and 1, for each of the three trajectories."""
GRADIENT = (P_CONTINUE * (1 - P_CONTINUE) * (P_RIGHT * RIGHT - STOP), P_CONTINUE * P_RIGHT * (1 - P_RIGHT) * RIGHT)
"""The true gradient of the expected return in the two logits."""

Estimator = Callable[[Batch], Tensor]


@dataclass(frozen=True, slots=True)
class Expectation:
    """The exact mean of a gradient estimate over all groups of n."""

    ratio: tuple[float, float]
    """E[g] / true gradient, at each turn."""
    cosine: float
    """Between E[g] and the true gradient."""
    spread: float
    """Standard deviation of g over groups, both turns together."""


def expectation(estimator: Estimator, n: int) -> Expectation:
    """g = mean over the n trajectories of sum_k A_k * score_k, over all groups at once."""
    outcomes = list(itertools.product(range(len(TRAJECTORIES)), repeat=n))
    batch = collate([make_group(str(i), *(TRAJECTORIES[o] for o in picks), tokens=1) for i, picks in enumerate(outcomes)])
    batch = replace(batch.to(torch.float64), values=_true_values(batch))
    flat = torch.tensor(outcomes).flatten()
    scores = batch.to_tokens(torch.tensor(SCORES, dtype=torch.float64)[flat])
    per_token = estimator(batch) * scores
    per_turn = torch.zeros(len(flat), 2, dtype=torch.float64).scatter_add(1, batch.turn.clamp(min=0), per_token)
    estimate = per_turn.reshape(len(outcomes), n, 2).mean(1)
    probability = torch.tensor(PROBABILITIES, dtype=torch.float64)[torch.tensor(outcomes)].prod(1)
    mean = (probability[:, None] * estimate).sum(0)
    spread = (probability[:, None] * (estimate - mean).square()).sum().sqrt()
    truth = torch.tensor(GRADIENT, dtype=torch.float64)
    cosine = torch.dot(mean, truth) / (mean.norm() * truth.norm())
    return Expectation((float(mean[0] / truth[0]), float(mean[1] / truth[1])), float(cosine), float(spread))


def _true_values(batch: Batch) -> Tensor:
    start = P_CONTINUE * P_RIGHT * RIGHT + (1 - P_CONTINUE) * STOP
    return torch.tensor([start, P_RIGHT * RIGHT, 0.0], dtype=torch.float64).expand(len(batch.tokens), 3)


def ended_counts_zero(batch: Batch) -> Tensor:
    """Leave-one-out at the turn index in which trajectories that ended earlier count with a return-to-go of 0. For comparison."""
    to_go, others = batch.returns_to_go(), (batch.group_size() - 1).clamp(min=1)[:, None]
    return batch.to_tokens(to_go - (batch.group_sum(to_go) - to_go) / others)


def turn_centred_rewards(batch: Batch) -> Tensor:
    """Each turn's reward against the mean at that turn index, then summed to go (as in MT-GRPO-like code). For comparison."""
    count = batch.group_sum(torch.ones_like(batch.rewards)).clamp(min=1)
    centred = replace(batch, rewards=batch.rewards - batch.group_sum(batch.rewards) / count)
    return batch.to_tokens(centred.returns_to_go())


ESTIMATORS: dict[str, tuple[Estimator, str]] = {
    "`rloo`": (RLOO(), "unbiased"),
    "`trloo`": (TRLOO(), "unbiased"),
    "`trloo`, `raw_singletons = true` (the paper's rule)": (TRLOO(raw_singletons=True), "unbiased"),
    "`turn_gae`, gamma = 1, exact critic": (TurnGAE(gamma=1.0), "unbiased if the critic is right"),
    "`dr_grpo`": (DrGRPO(), "exact direction, scale (n - 1) / n"),
    "`grpo`, `std = false`": (GRPO(std=False), "exact direction, scale (n - 1) / n"),
    "`grpo`": (GRPO(), "direction bent by the random spread"),
    "not offered: leave-one-out, ended trajectories count 0": (ended_counts_zero, "unbiased"),
    "not offered: rewards centred at each turn index, then summed to go": (turn_centred_rewards, "**wrong sign** at turn 0"),
}


def enumeration_table() -> str:
    lines = ["| estimator | n | turn 0 | turn 1 | cosine | spread | |", "|---|---|---|---|---|---|---|"]
    for name, (estimator, verdict) in ESTIMATORS.items():
        for n in (2, 3, 4):
            e = expectation(estimator, n)
            numbers = f"{e.ratio[0]:.4f} | {e.ratio[1]:.4f} | {e.cosine:.4f} | {e.spread:.4f}"
            lines.append(f"| {name if n == 2 else ''} | {n} | {numbers} | {verdict if n == 2 else ''} |")
    return "\n".join(lines)


def methods_table() -> str:
    lines = ["| slot | name | what | parameters |", "|---|---|---|---|"]
    for slot in ("rollout", "reward", "advantage", "transform", "loss", "sampler"):
        package = f"turnwise.trainers.{slot}{'es' if slot == 'loss' else 's'}"
        for name in names(package):
            cls = resolve(package, name)
            lines.append(_method(slot, name, _module_doc(cls), cls))
    for name in aggregates.__all__:
        cls: type = getattr(aggregates, name)
        if dataclasses.is_dataclass(cls):
            snake = "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))
            lines.append(_method("aggregate", snake, cls.__doc__ or "", cls))
    return "\n".join(lines)


def _module_doc(cls: type) -> str:
    return inspect.getdoc(sys.modules[cls.__module__]) or ""


def _method(slot: str, name: str, doc: str, cls: type) -> str:
    summary = " ".join(doc.strip().split("\n\n")[0].split()).replace("|", "\\|")
    known = [f for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING]
    parameters = ", ".join(f"`{f.name} = {_toml(f.default)}`" for f in known)
    return f"| {slot} | `{name}` | {summary} | {parameters} |"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def with_tables(page: str) -> str:
    """The page with what stands between its markers made anew."""
    for key, text in {"methods": methods_table(), "enumeration": enumeration_table()}.items():
        begin, end = f"<!-- generated: {key} -->", "<!-- end -->"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        page = f"{head}{begin}\n{text}\n{end}{tail}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
