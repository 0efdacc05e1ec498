"""turnwise/NP-TSP-v0: the shortest round trip through all cities of a map (travelling salesman).

The way between two cities is as long as along a grid of streets: the difference of x and the difference of y, added. So every
length is a whole number that one can work out without a root.

Tours of random cities; the optimum is found by the dynamic programme of Bellman, Held and Karp, which compares all tours. The
value to beat is the shortest of: the cities in the order of their numbers, and going on to the nearest city, from each start.
Levels are measured by the cities:

    level  cities  different tours
      1       7              360
      2       8            2,520
      3       9           20,160
      4      10          181,440
      5      11        1,814,400

The expert starts from the order of the numbers and turns round one stretch after the other until the tour is the optimal one.

Sources: Held and Karp, A dynamic programming approach to sequencing problems, 1962. Distances as TSPLIB's MAN_2D.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.drawing import network
from turnwise.envs.np.fields import numbers
from turnwise.envs.np.proposals import Proposal, not_once_each
from turnwise.envs.np.propose import Draft, ProposeAndImprove
from turnwise.types import Task

__all__ = ["CITIES", "TSP", "shortest_tour"]

CITIES = {1: 7, 2: 8, 3: 9, 4: 10, 5: 11}
"""Level -> how many cities."""
SIDE = 40
"""Coordinates are 0 to SIDE - 1."""

Map = tuple[tuple[int, int], ...]
"""(x, y) of each city."""
_FAR = 15_000
"""Longer than any tour on the map, and twice that fits 16 bits."""


class TSP(ProposeAndImprove[Map]):
    """The shortest tour. quality = (V - length) / (V - optimum), from 0 to 1; V is the value to beat.

    Reward: half of what a proposal adds to the best quality so far (`progress`), and half for the optimum (`solved`), so only
    the optimum earns 1. What breaks a constraint earns nothing.
    """

    name, aim = "tsp", "Travelling salesman: find the shortest round trip that visits every city once and returns to its start."
    form = "Reply with all cities in the order of the visit, the start only once, for example <answer>3 1 2 ...</answer>."

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        places = dict[tuple[int, int], None]()
        while len(places) < CITIES[level]:
            places[draws.below(SIDE), draws.below(SIDE)] = None
        cities = tuple(places)
        return {"cities": [list(place) for place in cities]}, lambda: (shortest_tour(cities),)

    @override
    def read(self, metadata: Mapping[str, Any]) -> Map:
        cities = [numbers(place, 0, 10_000) for place in metadata["cities"]]
        return tuple([(x, y) for x, y in cities])

    @override
    def turns(self, task: Task) -> int:
        """The cities and 4."""
        return len(task.metadata["cities"]) + 4

    @override
    def show(self, instance: Map) -> str:
        places = "\n".join(f"{i}: ({x}, {y})" for i, (x, y) in enumerate(instance, 1))
        return f"The way between two cities is |x1 - x2| + |y1 - y2|. City: (x, y)\n{places}"

    @override
    def flaw(self, instance: Map, proposal: Proposal) -> str:
        return not_once_each(proposal[0], len(instance), "city")

    @override
    def value(self, instance: Map, proposal: Proposal) -> int:
        tour = proposal[0]
        x, y = instance[tour[-1] - 1]
        length = 0
        for city in tour:
            to_x, to_y = instance[city - 1]
            length += abs(to_x - x) + abs(to_y - y)
            x, y = to_x, to_y
        return length

    @override
    def named(self, value: int) -> str:
        return f"length {value}"

    @override
    def thumbs(self, instance: Map) -> Iterator[int]:
        yield self.value(instance, (tuple(range(1, len(instance) + 1)),))
        yield _nearest_neighbour(instance)

    @override
    def climb(self, instance: Map, optimal: Proposal) -> Iterator[Proposal]:
        tour = list(range(1, len(instance) + 1))
        start = optimal[0].index(1)
        goal = optimal[0][start:] + optimal[0][:start]
        for i, city in enumerate(goal):
            j = tour.index(city)
            tour[i : j + 1] = reversed(tour[i : j + 1])
            yield (tuple(tour),)

    @override
    def drawing(self) -> NDArray[np.uint8]:
        size = max(max(place) for place in self._instance) or 1
        points = [(x / size, 1 - y / size) for x, y in self._instance]
        tour = [city - 1 for city in self._best[0]] if self._best else []
        return network(points, [], [(a, b) for a, b in zip(tour, tour[1:] + tour[:1], strict=True)])


def _distances(cities: Map) -> NDArray[np.int16]:
    """[n, n]"""
    places = np.array(cities, np.int16)
    return np.abs(places[:, None] - places[None]).sum(2, dtype=np.int16)


def _nearest_neighbour(cities: Map) -> int:
    """The shortest of the tours that go on to the nearest city, one from each start."""
    ways = _distances(cities)
    starts = here = np.arange(len(cities))
    lengths = np.zeros(len(cities), np.int32)
    left = np.repeat(ways[None], len(cities), 0)  # of each start's walk: the ways to what is not visited, else far
    for _ in range(len(cities) - 1):
        left[starts, :, here] = _FAR
        to = left[starts, here].argmin(1)
        lengths += ways[here, to]
        here = to
    return int((lengths + ways[here, starts]).min())


def shortest_tour(cities: Map) -> tuple[int, ...]:
    """An optimal tour, by comparing all: best[last, set] is the shortest way from city 1 through a set to its last."""
    ways, count = _distances(cities), len(cities) - 1
    between, back = ways[1:, 1:], ways[0, 1:]
    best = np.full((count, 1 << count), _FAR, np.int16)
    best[range(count), [1 << i for i in range(count)]] = back
    for last, with_last, without_last in _layers(count):
        best[last, with_last] = (best.take(without_last, 1) + between.take(last, 1)).min(0)
    left = (1 << count) - 1
    last = int((best[:, left] + back).argmin())
    tour = [last]
    while left != 1 << last:
        left ^= 1 << last
        last = int((best[:, left] + between[:, last]).argmin())
        tour.append(last)
    return (1, *(city + 2 for city in tour))


@lru_cache(maxsize=16)
def _layers(count: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]:
    """For sets of 2, 3, ... cities: (last, set, set without last) of each set and each city in it."""
    sets = np.arange(1 << count)
    inside = (sets[:, None] >> np.arange(count)) & 1
    sizes = inside.sum(1)
    layers = list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]]()
    for size in range(2, count + 1):
        which, last = np.nonzero(inside * (sizes == size)[:, None])
        layers.append((last, which, which ^ (1 << last)))
    return layers
