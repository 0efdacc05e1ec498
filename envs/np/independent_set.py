"""turnwise/NP-IndependentSet-v0: as many vertices of a graph as possible, no two of them joined (maximum independent set).

The vertices are parted into groups of four that are all joined to each other, as many groups as the optimum has vertices: an
independent set takes at most one of each, so more cannot be. One vertex of each group is in the planted set; pairs of different
groups are joined at random unless both are planted, half as often again where one of them is, so that planted vertices have as
many neighbours as others. The value to beat is the best of taking whatever is not joined to those taken: in the order of the
numbers, in 128 random orders, and again and again the vertex with fewest neighbours left. So who does not read the graph earns
nothing, and who reads it and takes in a new random order each turn, which is a search, about 0.08. Those orders are tried when a
task is drawn, until one is found that they do not solve: some 200 to 450 resets a CPU second. Levels are measured by the vertices
of the optimum:

    level  vertices  in the optimum
      1       40         10
      2       44         11
      3       48         12
      4       52         13
      5       56         14

The expert takes the vertices of the optimum one after the other.

Sources: Xu, Boussemart, Hemery and Lecoutre, Random constraint satisfaction: easy generation of hard (satisfiable) instances,
2007 (the graphs of BHOSLIB).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, combinations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.graph import Edge, Graph, GraphProblem, graph_picture, relabelled
from turnwise.envs.np.proposals import Proposal, counted, repeated_or_unknown
from turnwise.envs.np.propose import Draft
from turnwise.envs.np.restarts import bits, orders
from turnwise.types import Task

__all__ = ["PLANTED", "IndependentSet"]

PLANTED = {1: 10, 2: 11, 3: 12, 4: 13, 5: 14}
"""Level -> vertices of the optimum."""
_DENSITY = 0.2
"""Of the pairs of different groups, how many are joined; more where one is planted, to make up for those that must not be."""
_EXTRA = 1.5
_GROUP = 4


class IndependentSet(GraphProblem):
    """The most vertices, no two of them joined. quality = (vertices - V) / (optimum - V), from 0 to 1; V is the value to beat.

    Reward: half of what a proposal adds to the best quality so far (`progress`), and half for the optimum (`solved`), so only
    the optimum earns 1. What breaks a constraint earns nothing.
    """

    name, aim = "independent-set", "Independent set: choose as many vertices as possible, no two of them joined."
    form = "Reply with the chosen vertices, separated by spaces, for example <answer>2 3 ...</answer>."
    most = True

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        size = PLANTED[level] * _GROUP
        within, across, densities = _pairs(size)
        drawn = zip(across, densities, draws.uniforms(len(across)), strict=True)
        edges = [pair for pair, density, chance in drawn if chance < density]
        metadata, labels = relabelled(draws, size, [*within, *edges])
        chosen = (tuple(sorted(labels[::_GROUP])),)
        return metadata, lambda: chosen

    @override
    def turns(self, task: Task) -> int:
        """As many as there are groups, and 4."""
        return -(-task.metadata["vertices"] // _GROUP) + 4

    @override
    def flaw(self, instance: Graph, proposal: Proposal) -> str:
        flaw = repeated_or_unknown(proposal[0], instance.size, "vertex")
        if flaw:
            return flaw
        chosen = {vertex - 1 for vertex in proposal[0]}
        for vertex in proposal[0]:
            clash = instance.neighbours[vertex - 1] & chosen
            if clash:
                return f"{vertex} and {min(clash) + 1} are joined."
        return ""

    @override
    def value(self, instance: Graph, proposal: Proposal) -> int:
        return len(proposal[0])

    @override
    def named(self, value: int) -> str:
        return counted(value, "vertex", "vertices")

    @override
    def thumbs(self, instance: Graph) -> Iterator[int]:
        joined = [bits(around) for around in instance.neighbours]
        yield _free(joined, range(instance.size))
        yield from (_free(joined, order) for order in orders(instance.size))
        yield _fewest_first(instance)

    @override
    def climb(self, instance: Graph, optimal: Proposal) -> Iterator[Proposal]:
        return ((chosen,) for chosen in accumulate((vertex,) for vertex in optimal[0]))

    @override
    def drawing(self) -> NDArray[np.uint8]:
        return graph_picture(self._instance, self._best)


@cache
def _pairs(size: int) -> tuple[list[Edge], list[Edge], list[float]]:
    """The pairs within groups, those across, and how likely each of these is joined."""
    pairs = list(combinations(range(size), 2))
    across = [(a, b) for a, b in pairs if a // _GROUP != b // _GROUP]
    density = (_DENSITY, _DENSITY * _EXTRA, 0.0)
    densities = [density[(a % _GROUP == 0) + (b % _GROUP == 0)] for a, b in across]
    return [(a, b) for a, b in pairs if a // _GROUP == b // _GROUP], across, densities


def _free(joined: Sequence[int], order: Iterable[int]) -> int:
    """How many can be taken in that order, each if it is not joined to those taken; `joined` as bits."""
    lost = taken = 0
    for vertex in order:
        if not lost >> vertex & 1:
            lost |= joined[vertex]
            taken += 1
    return taken


def _fewest_first(graph: Graph) -> int:
    """How many can be taken one after the other, always one with the fewest free neighbours."""
    free, taken = set(range(graph.size)), 0
    while free:
        vertex = min(free, key=lambda v: (len(graph.neighbours[v] & free), v))
        free -= graph.neighbours[vertex] | {vertex}
        taken += 1
    return taken
