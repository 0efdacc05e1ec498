"""What an estimator's gradient really is: all groups of small tasks written down, expectations as finite sums.

    measure(TRLOO(), stop_continue()).ratio     # (1.0, 1.0): E[g] / true gradient at each decision
    behaviour(TRLOO())                          # what it does to a group of one, to ties, to other groups, to split rows

A task here is a handful of paths through binary decisions, the policy one logit for each decision. A group is a draw of
independent episodes, or of episodes of which some fork after their first turn; a failure may strike any episode, whatever it
did. Nothing is sampled: every number is exact up to floating point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from turnwise.errors import ShapeError
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.comparison import through_node
from turnwise.trainers.packing import one_row_per_turn
from turnwise.trainers.testing import make_group, make_trajectory
from turnwise.trainers.transforms.protocol import Transform
from turnwise.types import Group, Trajectory
from turnwise.types import Task as TaskRecord

__all__ = [
    "GRID",
    "Behaviour",
    "Composed",
    "Expectation",
    "Game",
    "Move",
    "behaviour",
    "fog",
    "measure",
    "sign_flips",
    "stop_continue",
    "toll",
]

Estimator = Callable[[Batch], Tensor]


@dataclass(frozen=True, slots=True)
class Move:
    """One turn of a path."""

    decision: int
    choice: int
    """0 or 1; 1 has the probability `Game.policy[decision]`."""
    reward: float
    observation: str
    chance: float = 1.0
    """That the environment showed this observation, given the moves before."""


@dataclass(frozen=True, slots=True)
class Game:
    """All paths of a task, the policy, and how a group is drawn."""

    name: str
    paths: tuple[tuple[Move, ...], ...]
    policy: tuple[float, ...]
    """Probability of choice 1 at each decision."""
    branches: tuple[int, ...] = (1, 1, 1)
    """For each first turn of a group, into how many branches it forks if the episode goes on."""
    failure: float = 0.0
    """Probability that an episode breaks, whatever it did; groups with fewer than two survivors are left out."""
    wordy: int = 1
    """Tokens of choice 1; choice 0 takes one."""


def stop_continue(stop: float = 0.5, policy: Sequence[float] = (0.5, 0.7)) -> Game:
    """Turn 0: stop for `stop`, or go on; turn 1: right for 1, or wrong for 0."""
    first, second = "start", "go on"
    paths = (
        (Move(0, 0, stop, first),),
        (Move(0, 1, 0.0, first), Move(1, 1, 1.0, second)),
        (Move(0, 1, 0.0, first), Move(1, 0, 0.0, second)),
    )
    return Game("stop or continue", paths, tuple(policy))


def toll(enter: float = 0.4, policy: Sequence[float] = (0.5, 0.4, 0.7)) -> Game:
    """One to three turns with rewards along the way: leave for 0.5 or enter for `enter`; exit for 0.2 or on for 0.3; 0.5 or 0."""
    leave, go = Move(0, 0, 0.5, "gate"), Move(0, 1, enter, "gate")
    out, on = Move(1, 0, 0.2, "road"), Move(1, 1, 0.3, "road")
    ends = (Move(2, 1, 0.5, "bridge"), Move(2, 0, 0.0, "bridge"))
    return Game("rewards along the way", ((leave,), (go, out), *((go, on, end) for end in ends)), tuple(policy))


def fog(policy: Sequence[float] = (0.5, 0.7, 0.4)) -> Game:
    """Two turns, the second observation drawn: choice 1 costs 0.1 and shows the good screen 3 times in 4, choice 0 once in 4."""
    paths: list[tuple[Move, ...]] = []
    for choice, good in ((0, 0.25), (1, 0.75)):
        first = Move(0, choice, -0.1 * choice, "start")
        for decision, screen, chance, prize in ((1, "good", good, 1.0), (2, "bad", 1 - good, 0.3)):
            paths += [(first, Move(decision, reply, prize * reply, screen, chance)) for reply in (1, 0)]
    return Game("drawn observations", tuple(paths), tuple(policy))


# --- all groups --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Groups:
    """Every group of a game as one batch, and what its probability is made of."""

    batch: Batch
    decision: Tensor
    """[B, K]; -1 beyond the last turn."""
    choice: Tensor
    """[B, K] of 0 and 1."""
    chance: Tensor
    """[G] the environment's part of the probability."""
    taken: Tensor
    """[G, D, 2] distinct turns with each choice of each decision."""
    used: Tensor
    """[G] bool; at least two survivors."""
    survivors: Tensor
    """[G]"""


Row = tuple[tuple[Move, ...], bool]
Draw = tuple[float, tuple[Row, ...]]


def _draws(game: Game, branches: int) -> list[Draw]:
    """What one first turn may lead to: (chance, rows); the policy's part of the probability is left out."""
    fates = [(False, 1.0)] if not game.failure else [(False, 1 - game.failure), (True, game.failure)]
    draws: list[Draw] = []
    for first in dict.fromkeys(path[0] for path in game.paths):
        ways = [path for path in game.paths if path[0] == first]
        count = branches if len(ways[0]) > 1 else 1
        for picks in itertools.product(itertools.product(ways, fates), repeat=count):
            chance = first.chance * math.prod(move.chance for path, _ in picks for move in path[1:])
            rows = tuple((path, failed) for path, (failed, _) in picks)
            draws.append((chance * math.prod(p for _, (_, p) in picks), rows))
    return draws


@lru_cache(maxsize=64)
def _groups(game: Game) -> _Groups:
    """For any policy: it is not looked at."""
    depth, decisions = max(len(path) for path in game.paths), 1 + max(m.decision for path in game.paths for m in path)
    groups: list[Group] = []
    chances: list[float] = []
    moves: list[tuple[Move, ...]] = []
    taken = []
    for index, picks in enumerate(itertools.product(*(_draws(game, b) for b in game.branches))):
        task = TaskRecord(str(index), "", "", 0)
        groups.append(Group(task, tuple(t for _, rows in picks for t in _play(task, rows, game.wordy))))
        chances.append(math.prod(chance for chance, _ in picks))
        moves += [path for _, rows in picks for path, _ in rows]
        count = torch.zeros(decisions, 2, dtype=torch.float64)
        for move in itertools.chain.from_iterable(_distinct(rows) for _, rows in picks):
            count[move.decision, move.choice] += 1
        taken.append(count)
    survivors = torch.tensor([len(group.survivors) for group in groups], dtype=torch.float64)
    padded = [path + (Move(-1, 0, 0.0, ""),) * (depth - len(path)) for path in moves]
    rewards = torch.tensor([[m.reward for m in path] for path in padded], dtype=torch.float64)
    return _Groups(
        batch=replace(collate(groups).to(torch.float64), rewards=rewards),
        decision=torch.tensor([[m.decision for m in path] for path in padded]),
        choice=torch.tensor([[m.choice for m in path] for path in padded]),
        chance=torch.tensor(chances, dtype=torch.float64),
        taken=torch.stack(taken),
        used=survivors >= 2,
        survivors=survivors,
    )


def _play(task: TaskRecord, rows: Sequence[Row], wordy: int) -> Iterator[Trajectory]:
    """Trajectories that share their first turn."""

    def going_on(path: Sequence[Move], **more: object) -> Trajectory:
        tokens = [wordy if move.choice else 1 for move in path]
        rewards, seen = [move.reward for move in path], [move.observation for move in path]
        return make_trajectory(task, rewards, observations=seen, tokens=tokens, context=1, **more)  # pyright: ignore[reportArgumentType]

    stem = going_on(rows[0][0][:1]).leaf
    for path, failed in rows:
        failure = "env" if failed else ""
        if len(rows) == 1:
            yield going_on(path, failure=failure)
        else:
            yield going_on(path[1:], after=stem, failure=failure)


def _distinct(rows: Sequence[Row]) -> Iterator[Move]:
    yield rows[0][0][0]
    for path, _ in rows:
        yield from path[1:]


# --- expectations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expectation:
    """The exact mean of a gradient estimate over all groups of a game."""

    mean: tuple[float, ...]
    """E[g] at each decision's logit, per episode."""
    truth: tuple[float, ...]
    """The gradient of the expected return."""
    spread: float
    """Standard deviation of g over groups, all decisions together."""

    @property
    def ratio(self) -> tuple[float, ...]:
        """E[g] / truth: 1 is unbiased, equal numbers are the right direction, a number below 0 the wrong sign."""
        return tuple(m / t for m, t in zip(self.mean, self.truth, strict=True))


@dataclass(frozen=True, slots=True)
class Composed:
    """An estimator with a transform after it, each group taken as a batch of its own."""

    couples_groups: ClassVar[bool] = True
    estimator: Estimator
    transform: Transform

    def __call__(self, batch: Batch) -> Tensor:
        return self.transform(batch, self.estimator(batch))


def measure(estimator: Estimator, game: Game) -> Expectation:
    """g = mean over episodes of sum_k A_k * d log p(choice k) / d logit; forked turns count once.

    Estimators that need a critic get the exact one. With failures it is the mean over survivors, given that the group is used.
    """
    return _expectation(game, *_coefficients(estimator, game))


GRID = 45 * 2 + 81 * 3 + 27 * 3
"""How many gradients of single decisions `sign_flips` looks at."""


def sign_flips(estimator: Estimator) -> list[str]:
    """Decisions whose expected gradient has the wrong sign, over a grid of policies and rewards of the three games."""
    grid = (0.1, 0.5, 0.9)
    games = [stop_continue(stop) for stop in (0.0, 0.25, 0.5, 0.75, 1.0)] + [toll(enter) for enter in (0.0, 0.4, 0.8)] + [fog()]
    flips: list[str] = []
    for game in games:
        known = None if getattr(estimator, "needs_values", False) else _coefficients(estimator, game)
        for policy in itertools.product(grid, repeat=len(game.policy)):
            here = replace(game, policy=policy)
            found = _expectation(here, *(known or _coefficients(estimator, here)))
            for decision, (mean, truth) in enumerate(zip(found.mean, found.truth, strict=True)):
                if mean * truth < 0 and abs(truth) > 1e-9 and abs(mean) > 1e-9:
                    flips.append(f"{game.name}, decision {decision}")
    return flips


def _expectation(game: Game, groups: _Groups, pushed: Tensor) -> Expectation:
    """`pushed` [G, D, 2]: sums of advantages over distinct turns with each choice."""
    p = torch.tensor(game.policy, dtype=torch.float64)
    both = torch.stack([1 - p, p], 1)
    probability = groups.chance * (both**groups.taken).prod(2).prod(1)
    estimate = pushed[:, :, 1] * (1 - p) - pushed[:, :, 0] * p
    if game.failure:
        estimate = estimate / groups.survivors[:, None].clamp(min=1)
        probability = torch.where(groups.used, probability, 0)
        probability = probability / probability.sum()
    else:
        turns = (probability[:, None] * groups.taken.sum(2)).sum(0)
        estimate = estimate * _visits(game) / turns
    mean = (probability[:, None] * estimate).sum(0)
    spread = (probability[:, None] * (estimate - mean).square()).sum().sqrt()
    return Expectation(tuple(mean.tolist()), _truth(game), float(spread))


def _coefficients(estimator: Estimator, game: Game) -> tuple[_Groups, Tensor]:
    groups = _groups(replace(game, policy=()))
    batch = _known(estimator, groups, game)
    if getattr(estimator, "couples_groups", False):  # each group is a batch of its own
        advantages = torch.zeros_like(batch.logprobs)
        for group in batch.group.unique():
            rows = torch.nonzero(batch.group == group)[:, 0]
            advantages[rows] = estimator(batch.rows(rows))
    else:
        advantages = estimator(batch)
    first = torch.full_like(batch.node, batch.tokens.shape[1])
    position = torch.arange(batch.tokens.shape[1]).expand_as(batch.turn)
    first.scatter_reduce_(1, batch.turn.clamp(min=0), torch.where(batch.turn >= 0, position, batch.tokens.shape[1]), "amin")
    per_turn = advantages.gather(1, first.clamp(max=batch.tokens.shape[1] - 1)) * batch.turn_mask
    weighted = per_turn / through_node(batch, torch.ones_like(batch.returns)).clamp(min=1)
    pushed = torch.zeros_like(groups.taken)
    at = (batch.group[:, None].expand_as(groups.decision), groups.decision.clamp(min=0), groups.choice)
    return groups, pushed.index_put_(at, weighted, accumulate=True)


def _known(estimator: Estimator, groups: _Groups, game: Game) -> Batch:
    """The batch with what estimators and transforms may ask for: exact values, the policy's entropies, 3 seconds for choice 1 and
    1 for choice 0, and a process reward of 0.05 for choice 1 and -0.05 for choice 0."""
    worth = torch.tensor([*_values(game), 0.0], dtype=torch.float64)
    batch, decision = groups.batch, groups.decision
    values = torch.cat([worth[decision], torch.zeros(len(decision), 1, dtype=torch.float64)], 1)
    p = torch.tensor([*game.policy, 0.0], dtype=torch.float64)[decision]
    entropy = torch.special.entr(p) + torch.special.entr(1 - p)
    batch = replace(batch, values=values, token_values=batch.to_tokens(worth[decision]), entropies=batch.to_tokens(entropy))
    batch = replace(batch, seconds=(1 + 2 * groups.choice) * batch.turn_mask.double())
    if (term := getattr(estimator, "term", "")) != "":
        steps = (0.1 * groups.choice - 0.05) * batch.turn_mask
        batch = replace(batch, rewards=batch.rewards + steps, terms={term: steps})
    return batch


def _probability(game: Game, path: Sequence[Move]) -> float:
    return math.prod(m.chance * (game.policy[m.decision] if m.choice else 1 - game.policy[m.decision]) for m in path)


def _visits(game: Game) -> Tensor:
    """[D] expected visits of each decision in one episode."""
    out = torch.zeros(len(game.policy), dtype=torch.float64)
    for path in game.paths:
        for move in path:
            out[move.decision] += _probability(game, path)
    return out


def _truth(game: Game) -> tuple[float, ...]:
    out = [0.0] * len(game.policy)
    for path in game.paths:
        weight = _probability(game, path) * sum(move.reward for move in path)
        for move in path:
            out[move.decision] += weight * (move.choice - game.policy[move.decision])
    return tuple(out)


def _values(game: Game) -> tuple[float, ...]:
    """Expected return from each decision on."""
    total, seen = [0.0] * len(game.policy), _visits(game).tolist()
    for path in game.paths:
        for k, move in enumerate(path):
            total[move.decision] += _probability(game, path) * sum(later.reward for later in path[k:])
    return tuple(t / s for t, s in zip(total, seen, strict=True))


# --- behaviour ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What an estimator does at the edges."""

    alone: str
    """A group of one: "0" or "not 0"."""
    ties: str
    """Groups whose returns are equal: "0", "0 for twins" (only where also the turns are), or "not 0"."""
    local: str
    """Whether rewards of one group leave the others' advantages as they are: "yes" or "no"."""
    split: str
    """A batch with a row per turn: "refused", "same" or "differs"."""


def behaviour(estimator: Estimator) -> Behaviour:
    """In float32, with returns that are equal only up to rounding, and a critic that knows nothing."""
    third = 0.1 + 0.2
    ties = _with_critic(collate([make_group("a", [0.1, 0.2], [third], [0.15, 0.15])]), estimator)
    twins = _with_critic(collate([make_group("a", *([0.1, 0.2],) * 3)]), estimator)
    mixed = _with_critic(collate([make_group("a", [0.25, 1.0]), make_group("b", [1.0], [0.0, 0.5], [0.0, 0.0])]), estimator)
    moved = replace(mixed, rewards=mixed.rewards + 1.5 * (mixed.group == 1)[:, None])
    lone, before, after = (mixed.group == 0), estimator(mixed), estimator(moved)
    twin, tie = bool(estimator(twins).any()), bool(estimator(ties).any())
    return Behaviour(
        alone="not 0" if bool(before[lone].any()) else "0",
        ties="not 0" if twin else "0 for twins" if tie else "0",
        local="yes" if torch.equal(before[lone], after[lone]) else "no",
        split=_split(estimator, mixed),
    )


def _with_critic(batch: Batch, estimator: Estimator) -> Batch:
    values = torch.linspace(0.1, 0.9, batch.rewards.numel() + len(batch.rewards)).reshape(len(batch.rewards), -1)
    before = torch.linspace(0.2, 0.7, batch.tokens.numel()).reshape(batch.tokens.shape)
    terms = {getattr(estimator, "term", "none"): torch.zeros_like(batch.rewards)}
    return replace(batch, values=values, token_values=before, terms=terms)


def _split(estimator: Estimator, batch: Batch) -> str:
    parts, source = one_row_per_turn(batch)
    try:
        cut = estimator(parts)
    except ShapeError:
        return "refused"
    return "same" if torch.allclose(cut, estimator(batch)[source] * parts.mask) else "differs"
