"""turnwise/NP-Knapsack-v0: the most valuable items that one can carry (0-1 knapsack).

An item's value is its weight and up to 20 more, so that no item is plainly better than another; the knapsack takes half of all
the weight. The optimum is found by dynamic programming over weights. The value to beat is the best of filling the knapsack,
whatever still fits, by value per weight, by value, by lightness, and in the order of the numbers. Levels are measured by the
items:

    level  items
      1      12
      2      14
      3      16
      4      19
      5      23

The expert packs the items of the optimum one after the other.

Sources: Pisinger, Where are the hard knapsack problems?, 2005 (weakly correlated instances).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.fields import number, numbers
from turnwise.envs.np.proposals import Proposal, repeated_or_unknown
from turnwise.envs.np.propose import Draft, ProposeAndImprove
from turnwise.types import Task

__all__ = ["ITEMS", "Items", "Knapsack", "best_items"]

ITEMS = {1: 12, 2: 14, 3: 16, 4: 19, 5: 23}
"""Level -> how many items."""
_WEIGHTS = (10, 60)
_BONUS = 20


class Items(NamedTuple):
    """What there is to carry, and how much can be."""

    weights: tuple[int, ...]
    values: tuple[int, ...]
    capacity: int


class Knapsack(ProposeAndImprove[Items]):
    """The most valuable items that fit. quality = (value - V) / (optimum - V), from 0 to 1; V is the value to beat.

    Reward: half of what a proposal adds to the best quality so far (`progress`), and half for the optimum (`solved`), so only
    the optimum earns 1. What breaks a constraint earns nothing.
    """

    name, aim = "knapsack", "Knapsack: choose items of the greatest total value whose total weight is within the capacity."
    form = "Reply with the numbers of the items, separated by spaces, for example <answer>2 3 ...</answer>."
    most = True

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        least, most = _WEIGHTS
        weights = [least + draws.below(most - least + 1) for _ in range(ITEMS[level])]
        values = [weight + 1 + draws.below(_BONUS) for weight in weights]
        items = Items(tuple(weights), tuple(values), sum(weights) // 2)
        return {"weights": weights, "values": values, "capacity": items.capacity}, lambda: (best_items(items),)

    @override
    def read(self, metadata: Mapping[str, Any]) -> Items:
        weights, values = numbers(metadata["weights"]), numbers(metadata["values"])
        if len(weights) != len(values):
            raise ValueError("each item has a weight and a value")
        return Items(weights, values, number(metadata["capacity"]))

    @override
    def turns(self, task: Task) -> int:
        """Half the items and 4."""
        return len(task.metadata["weights"]) // 2 + 4

    @override
    def show(self, instance: Items) -> str:
        lines = [f"{i}: {w}, {v}" for i, (w, v) in enumerate(zip(instance.weights, instance.values, strict=True), 1)]
        return f"Capacity: {instance.capacity}. Item: weight, value\n" + "\n".join(lines)

    @override
    def flaw(self, instance: Items, proposal: Proposal) -> str:
        flaw = repeated_or_unknown(proposal[0], len(instance.weights), "item")
        if flaw:
            return flaw
        weight = sum([instance.weights[item - 1] for item in proposal[0]])
        return f"the items weigh {weight}, the capacity is {instance.capacity}." if weight > instance.capacity else ""

    @override
    def value(self, instance: Items, proposal: Proposal) -> int:
        return sum([instance.values[item - 1] for item in proposal[0]])

    @override
    def named(self, value: int) -> str:
        return f"value {value}"

    @override
    def report(self, instance: Items, proposal: Proposal, value: int) -> str:
        return f"value {value}, weight {sum(instance.weights[item - 1] for item in proposal[0])} of {instance.capacity}"

    @override
    def thumbs(self, instance: Items) -> Iterator[int]:
        weights, values, _ = instance
        items = range(len(weights))
        orders = (
            sorted(items, key=lambda i: (-values[i] / weights[i], i)),
            sorted(items, key=lambda i: -values[i]),
            sorted(items, key=lambda i: weights[i]),
            items,
        )
        return (_filled(instance, order) for order in orders)

    @override
    def climb(self, instance: Items, optimal: Proposal) -> Iterator[Proposal]:
        return ((packed,) for packed in accumulate((item,) for item in optimal[0]))


def _filled(items: Items, order: Iterable[int]) -> int:
    """The value of taking items in that order, each that still fits."""
    left, value = items.capacity, 0
    for i in order:
        if items.weights[i] <= left:
            left -= items.weights[i]
            value += items.values[i]
    return value


def best_items(items: Items) -> tuple[int, ...]:
    """Items of the greatest value that fit, from 1; best[i][c] is the greatest value of the first i items within capacity c."""
    best: list[NDArray[np.int64]] = [np.zeros(items.capacity + 1, np.int64)]
    for weight, value in zip(items.weights, items.values, strict=True):
        row = best[-1].copy()
        if weight <= items.capacity:
            np.maximum(row[weight:], best[-1][: items.capacity + 1 - weight] + value, out=row[weight:])
        best.append(row)
    taken, left = list[int](), items.capacity
    for item in range(len(items.weights), 0, -1):
        if best[item][left] != best[item - 1][left]:
            taken.append(item)
            left -= items.weights[item - 1]
    return tuple(reversed(taken))
