"""What strategies that branch by entropy share: their state, and how unsure a reply is."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from turnwise.agents.agent import Reply
from turnwise.errors import Unsupported
from turnwise.trainers.rollouts.protocol import Grow
from turnwise.types import Turn

__all__ = ["Branching", "entropy_rise", "first_entropy", "lot"]


@dataclass(frozen=True, slots=True)
class Branching:
    """The state of a group that branches."""

    seed: int
    begun: int = 0
    """Trajectories so far, forks included."""
    live: int = 0
    wishes: tuple[Grow, ...] = ()
    decided: frozenset[Turn] = field(default_factory=frozenset[Turn])
    """Nodes at which was decided, so that a fork does not decide again where it was born."""
    branched: frozenset[Turn] = field(default_factory=frozenset[Turn])
    """Those at which a fork left."""

    def wish(self, *more: Grow) -> Branching:
        return replace(self, wishes=(*self.wishes, *more), begun=self.begun + len(more), live=self.live + len(more))

    def ended(self) -> Branching:
        """One live trajectory less."""
        return replace(self, live=self.live - 1)

    def filled(self, size: int) -> Branching:
        """When nobody lives any more, what is left of `size` starts at the task."""
        return self if self.live else self.wish(*[Grow()] * (size - self.begun))

    def asked(self) -> tuple[Sequence[Grow], Branching]:
        return self.wishes, replace(self, wishes=())


def first_entropy(entropies: Sequence[float], tokens: int, vocabulary: int) -> float:
    """The sum of the first `tokens` entropies (nats) over ln `vocabulary`."""
    return sum(entropies[:tokens]) / math.log(vocabulary)


def entropy_rise(node: Turn, reply: Reply, tokens: int, vocabulary: int) -> float:
    """How much less sure the reply after `node` is than the trajectory's first reply; 0 if that is this one.

    Raises Unsupported without entropies.
    """
    first = next((turn for turn in node.path() if not turn.given), None)
    if first is None:
        return 0.0
    if len(reply.entropies) != len(reply.action_ids) or len(first.entropies) != len(first.action_ids):
        raise Unsupported('rollout: branching by entropy needs an engine that gives entropies; use engine = "torch".')
    return first_entropy(reply.entropies, tokens, vocabulary) - first_entropy(first.entropies, tokens, vocabulary)


def lot(seed: int, node: Turn, slot: int) -> float:
    """A number from [0, 1) that the seed and what was said up to `node` decide, in whatever order trajectories get there."""
    digest = hashlib.blake2b(repr((seed, slot)).encode(), digest_size=8)
    for turn in node.path():
        digest.update(repr((turn.context_ids, turn.action_ids)).encode())
    return float(np.random.default_rng(int.from_bytes(digest.digest())).random())
