"""Problems on undirected graphs: the graph read from a task, checked, shown and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.drawing import COLOURS, NODE, Line, circle, network
from turnwise.envs.np.fields import number, numbers
from turnwise.envs.np.propose import ProposeAndImprove
from turnwise.types import Task

__all__ = ["Edge", "Graph", "GraphProblem", "graph_picture", "relabelled"]

Edge = tuple[int, int]
"""Two vertices, from 0."""


class Graph(NamedTuple):
    """Vertices 0 to size - 1; shown to agents as 1 to size."""

    size: int
    neighbours: tuple[frozenset[int], ...]
    """[size]"""


def relabelled(draws: Draws, size: int, edges: Iterable[Edge]) -> tuple[dict[str, Any], list[int]]:
    """Metadata of the graph under shuffled names, and each vertex's new label, from 1."""
    labels = draws.shuffled(range(1, size + 1))
    ends = [(labels[a], labels[b]) for a, b in edges]
    renamed = sorted([[a, b] if a < b else [b, a] for a, b in ends])
    return {"vertices": size, "edges": renamed}, labels


class GraphProblem(ProposeAndImprove[Graph]):
    """A problem on a graph; its tasks hold `vertices` and `edges` (pairs of labels from 1)."""

    @override
    def read(self, metadata: Mapping[str, Any]) -> Graph:
        size = number(metadata["vertices"], 1, 1000)
        edges = metadata["edges"]
        if not edges:
            raise ValueError("no vertices are joined")
        numbers([end for edge in edges for end in edge], 1, size)
        neighbours: list[set[int]] = [set() for _ in range(size)]
        for a, b in edges:
            if a == b:
                raise ValueError(f"vertex {a} is joined to itself")
            neighbours[a - 1].add(b - 1)
            neighbours[b - 1].add(a - 1)
        return Graph(size, tuple([frozenset(around) for around in neighbours]))

    @override
    def show(self, instance: Graph) -> str:
        """A line for each vertex and its neighbours, labels from 1."""
        joined = [" ".join([str(other + 1) for other in sorted(around)]) for around in instance.neighbours]
        lines = [f"{vertex}: {others}" for vertex, others in enumerate(joined, 1)]
        return "Vertex: those that it is joined to\n" + "\n".join(lines)

    @override
    def turns(self, task: Task) -> int:
        """The vertices and 4."""
        return task.metadata["vertices"] + 4


def graph_picture(graph: Graph, groups: Sequence[Sequence[int]] = (), path: Sequence[Line] = ()) -> NDArray[np.uint8]:
    """The graph on a circle, each group of labels in a colour, and a thick path; uint8 [H, W, 3]."""
    colours = [NODE] * graph.size
    for i, group in enumerate(groups):
        for label in group:
            colours[label - 1] = COLOURS[i % len(COLOURS)]
    edges = [(a, b) for a in range(graph.size) for b in graph.neighbours[a] if a < b]
    return network(circle(graph.size), edges, path, colours)
