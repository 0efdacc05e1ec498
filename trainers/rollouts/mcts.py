"""Tree search in the rollouts: the search goes on where the whole tree promises most (DeepSearch, arXiv:2509.25454)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np

from turnwise.errors import ConfigError
from turnwise.trainers.rollouts.protocol import Ended, Event, Grow, Paused
from turnwise.types import Trajectory, Turn

__all__ = ["MCTS"]

Node = Turn | None
"""A turn; None is the task."""


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a node."""

    visits: int = 0
    good: float = 0.0
    """Sum of the weights of correct ends below."""
    bad: float = 0.0
    """Of the others."""

    @property
    def total(self) -> float:
        """One correct end outweighs all others."""
        return self.good or -self.bad

    @property
    def mean(self) -> float:
        """Q: the total over the visits; 0 for a node that was never visited."""
        return self.total / max(1, self.visits)


@dataclass(frozen=True, slots=True)
class Search:
    """The state of a group's search."""

    wishes: tuple[Grow, ...] = ()
    begun: int = 0
    """Trajectories that ended or broke, and those on their way."""
    pending: int = 0
    """Children of the node that is being expanded that have not paused or ended."""
    children: tuple[Turn, ...] = ()
    """Those that have paused."""
    ends: tuple[Trajectory, ...] = ()
    """Those that have ended."""
    frontier: tuple[Turn, ...] = ()
    """Paused nodes without children."""
    values: Mapping[Node, Value] = field(default_factory=dict[Node, Value])
    solved: bool = False
    """A solution is known from before: nothing is searched."""

    def value(self, node: Node) -> Value:
        return self.values.get(node, Value())


@dataclass(frozen=True, slots=True, kw_only=True)
class MCTS:
    """Search until `size` trajectories have ended; a node is a turn (the release: a segment of 256 tokens).

        expand      a node gets `width` children, each one turn long
        go down     while no child ends: argmax Q + explore * sqrt(ln N_parent / N) among them
        back up     of the ends of one descent, a correct one or else the surest wrong one: r = +-1 with weight
                    max((depth + 1) / length, 0.1) at each node above it; a node with correct ends below forgets its wrong ones
        go on       at the frontier's argmax of
                    promise * tanh(Q of the parent) + doubt * H + deep * sqrt(depth / depths),  H = - mean logprob of a reply

    What ends is the group; branches left behind are not, but what they cost is counted (`Group.spent`). The policy trains on
    whole trajectories with `advantage = "tree"`. A task that comes back with a solution (`sampler = "replay"`, the cache) is not
    searched: `size` - 1 trajectories start at the task, and the latest solution is the last member, as it was sampled. Left out:
    node values as token rewards.
    """

    size: int = 8
    width: int = 4
    explore: float = 2.0
    promise: float = 0.4
    doubt: float = 0.4
    deep: float = 0.01
    depths: int = 64
    """Turns that count as the greatest depth."""

    def __post_init__(self) -> None:
        for name in ("size", "width", "depths"):
            if getattr(self, name) < 1:
                raise ConfigError(f"rollout.{name}: expected at least 1, got {getattr(self, name)}.")

    def start(self, rng: np.random.Generator) -> Search:
        return self._expand(Search(), None)

    def recall(self, rng: np.random.Generator, past: Sequence[Trajectory]) -> Search:
        return Search((*[Grow()] * (self.size - 1), Grow(past=past[-1])), begun=self.size, solved=True)

    def ask(self, state: Search) -> tuple[Sequence[Grow], Search]:
        return state.wishes, replace(state, wishes=())

    def tell(self, state: Search, event: Event) -> Search:
        if state.solved:
            return state
        if isinstance(event, Paused) and event.node is not None:
            state = replace(state, pending=state.pending - 1, begun=state.begun - 1, children=(*state.children, event.node))
        elif isinstance(event, Ended):
            state = replace(state, pending=state.pending - 1, ends=(*state.ends, event.trajectory))
        else:
            return state
        return state if state.pending else self._next(state)

    def uct(self, value: Value, parent: Value) -> float:
        """How good a child looks among its siblings; without visits there is no bonus."""
        bonus = math.sqrt(math.log(parent.visits) / value.visits) if value.visits and parent.visits else 0.0
        return value.mean + self.explore * bonus

    def priority(self, node: Turn, parent: Value) -> float:
        """How good a node of the frontier looks in the whole tree."""
        surprise = -fmean(node.logprobs) if node.logprobs else 0.0
        depth = len(node.path())
        return (
            self.promise * math.tanh(parent.mean) + self.doubt * surprise + self.deep * math.sqrt(min(1.0, depth / self.depths))
        )

    def _expand(self, state: Search, node: Node) -> Search:
        count = min(self.width, self.size - state.begun)
        frontier = tuple(n for n in state.frontier if n is not node)
        wishes = (Grow(node, turns=1),) * count
        return replace(state, wishes=wishes, begun=state.begun + count, pending=count, children=(), ends=(), frontier=frontier)

    def _next(self, state: Search) -> Search:
        """All children of an expansion are there: go down, or back up and on."""
        state = replace(state, frontier=(*state.frontier, *state.children))
        played = [end for end in state.ends if not end.failed and end.leaf is not None]
        if not state.ends and state.children:
            parent = state.value(state.children[0].parent)
            return self._expand(state, max(state.children, key=lambda n: self.uct(state.value(n), parent)))
        if played:
            state = replace(state, values=backed_up(state.values, _telling(played)))
        if state.begun >= self.size:
            return state
        if not state.frontier:
            return self._expand(state, None)
        return self._expand(state, max(state.frontier, key=lambda n: self.priority(n, state.value(n.parent))))


def backed_up(values: Mapping[Node, Value], end: Trajectory) -> dict[Node, Value]:
    """The values after a trajectory's end; the order in which ends come does not matter."""
    nodes: tuple[Node, ...] = (None, *end.turns)
    out = dict(values)
    for depth, node in enumerate(nodes):
        weight, old = max((depth + 1) / len(nodes), 0.1), values.get(node, Value())
        won = end.outcome >= 1
        out[node] = Value(old.visits + 1, old.good + weight * won, old.bad + weight * (not won))
    return out


def _telling(ends: Sequence[Trajectory]) -> Trajectory:
    """A correct end if there is one, else the wrong one of which the policy was surest: that mistake teaches most."""

    def doubt(end: Trajectory) -> float:
        logprobs = [p for turn in end.turns for p in turn.logprobs]
        return -fmean(logprobs) if logprobs else 0.0

    return next((end for end in ends if end.outcome >= 1), None) or min(ends, key=doubt)
