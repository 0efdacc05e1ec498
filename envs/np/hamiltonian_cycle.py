"""turnwise/NP-HamiltonianCycle-v0: a round trip along the edges of a graph that visits every vertex once (Hamiltonian cycle).

A decision problem: there is such a cycle, for the graph was drawn round it, with other edges added. A proposal may be any path,
which is answered with its length, but there is no reward for less than the whole cycle. Going on from vertex 1 to the lowest
number not yet visited, or to the vertex with fewest unvisited neighbours (Warnsdorff), never closes the cycle, nor does the order
of the numbers. Levels are measured by the vertices:

    level  vertices  edges
      1        9       15
      2       11       18
      3       13       21
      4       16       26
      5       20       32

The expert goes along the cycle a vertex further each turn.

Sources: Karp, Reducibility among combinatorial problems, 1972.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.graph import Graph, GraphProblem, graph_picture, relabelled
from turnwise.envs.np.proposals import Proposal, counted, repeated_or_unknown
from turnwise.envs.np.propose import Draft

__all__ = ["SIZES", "HamiltonianCycle"]

SIZES = {1: (9, 15), 2: (11, 18), 3: (13, 21), 4: (16, 26), 5: (20, 32)}
"""Level -> vertices and edges."""


class HamiltonianCycle(GraphProblem):
    """A cycle through all vertices: reward 1 (`progress` and `solved`, a half each) for the whole cycle, else 0."""

    name = "hamiltonian-cycle"
    aim = "Hamiltonian cycle: go round the graph along its edges, through every vertex once, back to the start."
    form = "Reply with the vertices in the order of the visit, the start only once, for example <answer>3 1 2 ...</answer>."
    pays = "Only a whole cycle earns anything"
    most = True

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        size, count = SIZES[level]
        edges = {(i, i + 1) for i in range(size - 1)} | {(0, size - 1)}
        while len(edges) < count:
            a, b = draws.below(size), draws.below(size)
            if a < b:
                edges.add((a, b))
        metadata, labels = relabelled(draws, size, edges)
        cycle = (tuple(labels),)
        return metadata, lambda: cycle

    @override
    def flaw(self, instance: Graph, proposal: Proposal) -> str:
        path = proposal[0]
        flaw = repeated_or_unknown(path, instance.size, "vertex")
        if flaw:
            return flaw
        for a, b in pairwise(path):
            if b - 1 not in instance.neighbours[a - 1]:
                return f"{a} and {b} are not joined."
        return ""

    @override
    def value(self, instance: Graph, proposal: Proposal) -> int:
        """The vertices on the path, and one more where it is the whole cycle."""
        path = proposal[0]
        return len(path) + (len(path) == instance.size > 2 and path[0] - 1 in instance.neighbours[path[-1] - 1])

    @override
    def named(self, value: int) -> str:
        return f"a path of {counted(value, 'vertex', 'vertices')}"

    @override
    def report(self, instance: Graph, proposal: Proposal, value: int) -> str:
        if value > instance.size:
            return "the whole cycle"
        ends = f", but {proposal[0][-1]} and {proposal[0][0]} are not joined" if value == instance.size else ""
        return f"a path of {value} of {instance.size} vertices{ends}"

    @override
    def wanted(self, beat: int) -> str:
        return f"Wanted: a cycle through all {beat} vertices."

    @override
    def thumbs(self, instance: Graph) -> Iterator[int]:
        """The number of vertices, so that nothing but the cycle counts; one more where a rule of thumb finds it."""
        walks = (tuple(range(1, instance.size + 1)), _walk(instance, fewest=False), _walk(instance, fewest=True))
        yield instance.size
        yield from (self.value(instance, (walk,)) for walk in walks if not self.flaw(instance, (walk,)))

    @override
    def climb(self, instance: Graph, optimal: Proposal) -> Iterator[Proposal]:
        return ((path,) for path in accumulate((vertex,) for vertex in optimal[0]))

    @override
    def drawing(self) -> NDArray[np.uint8]:
        path = [vertex - 1 for vertex in self._best[0]] if self._best else []
        return graph_picture(self._instance, path=[*pairwise(path), *([(path[-1], path[0])] if self._quality == 1.0 else [])])


def _walk(graph: Graph, *, fewest: bool) -> tuple[int, ...]:
    """The path from vertex 1, always to the lowest number, or to the vertex with `fewest` unvisited neighbours."""
    path, left = [0], set(range(1, graph.size))
    while ways := graph.neighbours[path[-1]] & left:
        path.append(min(ways, key=lambda v: (len(graph.neighbours[v] & left), v)) if fewest else min(ways))
        left.discard(path[-1])
    return tuple([vertex + 1 for vertex in path])
