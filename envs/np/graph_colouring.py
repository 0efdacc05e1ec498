"""turnwise/NP-GraphColouring-v0: colour a graph with as few colours as possible.

The vertices are parted into as many classes as the optimum has colours, and only vertices of different classes are joined. One
vertex of each class is joined to one of every other: these need a colour each, so fewer colours cannot be enough. The value to
beat is the best of giving each vertex the first colour that is free, in the order of the numbers and from the vertex with most
neighbours down (Welsh and Powell). Mostly it is one colour more, so that there is no progress short of the optimum. Levels are
measured by the vertices:

    level  vertices  colours
      1       12        4
      2       15        4
      3       18        5
      4       21        5
      5       24        5

The expert starts with a colour for each vertex and takes one vertex after the other into its class.

Sources: Turner, Almost all k-colorable graphs are easy to color, 1988 (planted colourings).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.graph import Graph, GraphProblem, graph_picture, relabelled
from turnwise.envs.np.proposals import Proposal, counted, merged, not_once_each
from turnwise.envs.np.propose import Draft

__all__ = ["SIZES", "GraphColouring"]

SIZES = {1: (12, 4), 2: (15, 4), 3: (18, 5), 4: (21, 5), 5: (24, 5)}
"""Level -> vertices and colours of the optimum."""
_DENSITY = 0.6
"""Of the pairs of different classes, how many are joined."""


class GraphColouring(GraphProblem):
    """The fewest colours. quality = (V - colours) / (V - optimum), from 0 to 1; V is the value to beat.

    Reward: half of what a proposal adds to the best quality so far (`progress`), and half for the optimum (`solved`), so only
    the optimum earns 1. What breaks a constraint earns nothing.
    """

    name = "graph-colouring"
    aim = "Graph colouring: colour every vertex, with as few colours as possible, joined vertices differently."
    form = (
        "Reply with the vertices of each colour, colours separated by semicolons, for example <answer>1 4; 2; 3 5; ...</answer>."
    )
    several = True

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        size, colours = SIZES[level]
        edges = [
            (a, b) for a, b in combinations(range(size), 2) if (a - b) % colours and (b < colours or draws.uniform() < _DENSITY)
        ]
        metadata, labels = relabelled(draws, size, edges)
        planted = tuple([tuple(sorted(labels[colour::colours])) for colour in range(colours)])
        return metadata, lambda: planted

    @override
    def flaw(self, instance: Graph, proposal: Proposal) -> str:
        flaw = not_once_each([vertex for group in proposal for vertex in group], instance.size, "vertex")
        if flaw:
            return flaw
        for group in proposal:
            members = {vertex - 1 for vertex in group}
            for vertex in group:
                clash = instance.neighbours[vertex - 1] & members
                if clash:
                    return f"{vertex} and {min(clash) + 1} are joined and have the same colour."
        return ""

    @override
    def value(self, instance: Graph, proposal: Proposal) -> int:
        return len(proposal)

    @override
    def named(self, value: int) -> str:
        return counted(value, "colour")

    @override
    def thumbs(self, instance: Graph) -> Iterator[int]:
        yield _first_free(instance, range(instance.size))
        yield _first_free(instance, sorted(range(instance.size), key=lambda v: -len(instance.neighbours[v])))

    @override
    def climb(self, instance: Graph, optimal: Proposal) -> Iterator[Proposal]:
        return merged(optimal)

    @override
    def drawing(self) -> NDArray[np.uint8]:
        return graph_picture(self._instance, self._best)


def _first_free(graph: Graph, order: Iterable[int]) -> int:
    """Colours that are used when each vertex, in that order, gets the first one that none of its neighbours has."""
    groups = list[set[int]]()
    for vertex in order:
        around = graph.neighbours[vertex]
        free = next((group for group in groups if around.isdisjoint(group)), None)
        if free is None:
            groups.append({vertex})
        else:
            free.add(vertex)
    return len(groups)
