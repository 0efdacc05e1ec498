"""Entropy-balanced branching: the first rollout decides how much is explored from the task and how much after tools, and chains
that branch turn after turn are slowed down (AEPO, arXiv:2510.14545)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from turnwise.errors import ConfigError, Unsupported
from turnwise.trainers.branching import Branching, entropy_rise, first_entropy, lot
from turnwise.trainers.rollouts.protocol import Ended, Event, Grow, Sampled
from turnwise.types import Trajectory, Turn

__all__ = ["EntropyBalanced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyBalanced:
    """One trajectory is rolled out first; from its entropies follows how many start at the task:

        m        = size * sigmoid(beta * (H_root - H_tool)), rounded, from 1 to size - 1
        Pr(fork) = clip(base + weight * rise, 0, 1) * max(0, 1 - damping * l)

    H_root is the entropy of its first reply, H_tool the mean over its replies to tool results (H_root where it has none, so
    that m is half), `rise` as in `entropy_branching`, and l the number of nodes right before on the chain that have branched
    one after another. size - m forks at most; what is left when all have ended starts at the task. The first trajectory is over
    before anything is decided: it has no forks, and at least one more starts at the task. The paper does not give its constants;
    these are ARPO's, with damping 0.2.
    """

    size: int = 8
    beta: float = 2.0
    base: float = 0.5
    weight: float = 0.2
    damping: float = 0.2
    tokens: int = 20
    vocabulary: int = 1024
    """Entries of the model's vocabulary: the entropies are measured in shares of its logarithm."""

    def __post_init__(self) -> None:
        for name, least in (("size", 2), ("tokens", 1), ("vocabulary", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"rollout.{name}: expected at least {least}, got {getattr(self, name)}.")

    def start(self, rng: np.random.Generator) -> Branching:
        return Branching(int(rng.integers(2**63))).wish(Grow())

    def ask(self, state: Branching) -> tuple[Sequence[Grow], Branching]:
        return state.asked()

    def tell(self, state: Branching, event: Event) -> Branching:
        if isinstance(event, Ended):
            state = state.ended()
            if state.begun == 1:
                return state.wish(*[Grow()] * max(1, self.roots(event.trajectory) - 1))
            return state.filled(self.size)
        if not isinstance(event, Sampled) or event.node is None or not event.node.tool_calls or state.begun < 2:
            return state
        node = event.node
        if node in state.decided or state.begun >= self.size:
            return state
        state = replace(state, decided=state.decided | {node})
        rise = entropy_rise(node, event.reply, self.tokens, self.vocabulary)
        if lot(state.seed, node, 0) >= self.chance(rise, _streak(node, state.branched)):
            return state
        return replace(state, branched=state.branched | {node}).wish(Grow(node))

    def chance(self, rise: float, streak: int) -> float:
        """Of a fork, after `streak` branchings one after another."""
        return min(1.0, max(0.0, self.base + self.weight * rise)) * max(0.0, 1.0 - self.damping * streak)

    def roots(self, first: Trajectory) -> int:
        """m: how many trajectories of the group start at the task."""
        own = [turn for turn in first.turns if not turn.given]
        if any(len(turn.entropies) != len(turn.action_ids) for turn in own):
            raise Unsupported('rollout: branching by entropy needs an engine that gives entropies; use engine = "torch".')
        if not own:
            return max(1, self.size // 2)
        spread = [first_entropy(turn.entropies, self.tokens, self.vocabulary) for turn in own]
        after = [h for turn, h in zip(own, spread, strict=True) if turn.parent is not None and turn.parent.tool_calls]
        share = 1 / (1 + math.exp(-self.beta * (spread[0] - (fmean(after) if after else spread[0]))))
        return min(self.size - 1, max(1, round(self.size * share)))


def _streak(node: Turn, branched: frozenset[Turn]) -> int:
    """Nodes right before `node` that branched, one after another."""
    count, at = 0, node.parent
    while at is not None and at in branched:
        count, at = count + 1, at.parent
    return count
