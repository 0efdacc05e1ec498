"""turnwise/NP-BinPacking-v0: all items into as few bins as possible (bin packing).

Full bins are cut into two to four items each, so the sum of all sizes is that many capacities: fewer bins cannot be enough, and
no other solution leaves a gap anywhere. The value to beat is the best of first fit and best fit, in the order of the numbers and
from the largest down; none of them finds the optimum. Mostly it is one bin more, so that there is no progress short of the
optimum. Levels are measured by the bins of the optimum:

    level  bins  items
      1      3    6 to 12
      2      4    8 to 16
      3      5   10 to 20
      4      6   12 to 24
      5      7   14 to 28

The expert starts with a bin for each item and empties one bin after the other into its place.

Sources: Falkenauer, A hybrid grouping genetic algorithm for bin packing, 1996 (instances without waste).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.drawing import bars
from turnwise.envs.np.fields import number, numbers
from turnwise.envs.np.proposals import Proposal, counted, merged, not_once_each
from turnwise.envs.np.propose import Draft, ProposeAndImprove
from turnwise.types import Task

__all__ = ["BINS", "BinPacking", "Parcels"]

BINS = {1: 3, 2: 4, 3: 5, 4: 6, 5: 7}
"""Level -> bins of the optimum."""
_CAPACITIES = (40, 60)
_LEAST = 5
"""No item is smaller."""


class Parcels(NamedTuple):
    """The items' sizes and what a bin holds."""

    sizes: tuple[int, ...]
    capacity: int


class BinPacking(ProposeAndImprove[Parcels]):
    """The fewest bins. quality = (V - bins) / (V - optimum), from 0 to 1; V is the value to beat.

    Reward: half of what a proposal adds to the best quality so far (`progress`), and half for the optimum (`solved`), so only
    the optimum earns 1. What breaks a constraint earns nothing.
    """

    name, aim = "bin-packing", "Bin packing: put every item into a bin, no bin above its capacity, in as few bins as possible."
    form = "Reply with the items of each bin, the bins separated by semicolons, for example <answer>1 4; 2; 3 5; ...</answer>."
    several = True

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        capacity = _CAPACITIES[0] + draws.below(_CAPACITIES[1] - _CAPACITIES[0] + 1)
        cut = [(size, i) for i in range(BINS[level]) for size in _cut(draws, capacity)]
        mixed = draws.shuffled(cut)
        packed = tuple([tuple([label for label, (_, i) in enumerate(mixed, 1) if i == j]) for j in range(BINS[level])])
        return {"sizes": [size for size, _ in mixed], "capacity": capacity}, lambda: packed

    @override
    def read(self, metadata: Mapping[str, Any]) -> Parcels:
        capacity = number(metadata["capacity"])
        return Parcels(numbers(metadata["sizes"], 1, capacity), capacity)

    @override
    def turns(self, task: Task) -> int:
        """The items and 4."""
        return len(task.metadata["sizes"]) + 4

    @override
    def show(self, instance: Parcels) -> str:
        return f"Capacity: {instance.capacity}. Item: size\n" + "\n".join(f"{i}: {s}" for i, s in enumerate(instance.sizes, 1))

    @override
    def flaw(self, instance: Parcels, proposal: Proposal) -> str:
        flaw = not_once_each([item for items in proposal for item in items], len(instance.sizes), "item")
        if flaw:
            return flaw
        for i, items in enumerate(proposal, 1):
            size = sum([instance.sizes[item - 1] for item in items])
            if size > instance.capacity:
                return f"bin {i} holds {' '.join(map(str, items))}, in all {size}; the capacity is {instance.capacity}."
        return ""

    @override
    def value(self, instance: Parcels, proposal: Proposal) -> int:
        return len(proposal)

    @override
    def named(self, value: int) -> str:
        return counted(value, "bin")

    @override
    def thumbs(self, instance: Parcels) -> Iterator[int]:
        orders = (instance.sizes, sorted(instance.sizes, reverse=True))
        return (_fitted(order, instance.capacity, tight) for order in orders for tight in (False, True))

    @override
    def climb(self, instance: Parcels, optimal: Proposal) -> Iterator[Proposal]:
        return merged(optimal)

    @override
    def drawing(self) -> NDArray[np.uint8]:
        sizes, capacity = self._instance
        rows = [
            [(item, sum(sizes[other - 1] for other in items[:i]), sizes[item - 1]) for i, item in enumerate(items)]
            for items in self._best
        ]
        return bars(rows or [[]], capacity)


def _cut(draws: Draws, capacity: int) -> list[int]:
    """Two to four sizes that fill a bin."""
    parts = 2 + draws.below(3)
    while True:
        cuts = sorted(1 + draws.below(capacity - 1) for _ in range(parts - 1))
        sizes = [end - start for start, end in zip([0, *cuts], [*cuts, capacity], strict=True)]
        if min(sizes) >= _LEAST:
            return sizes


def _fitted(sizes: Iterable[int], capacity: int, tight: bool) -> int:
    """Bins of first fit, or of best fit where `tight`: each item goes to the first, or the fullest, bin that still has room."""
    room = list[int]()
    for size in sizes:
        fits = [i for i, left in enumerate(room) if left >= size]
        if fits:
            room[min(fits, key=room.__getitem__) if tight else fits[0]] -= size
        else:
            room.append(capacity - size)
    return len(room)
