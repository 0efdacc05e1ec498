"""turnwise/NP-SetCover-v0: as few of the sets as possible that together hold every element (set cover).

The elements are parted among as many sets as the optimum has, with a few elements more in each. Every one of these sets holds an
element that no other of them does, and any other set holds at most one of those elements: each takes a set of its own, so fewer
sets cannot be enough. The value to beat is the best of taking the set with most new elements, and of taking the sets in the order
of their numbers and in 128 random orders, then leaving out what is not needed. So who does not read the sets earns nothing, and
who leaves out what is not needed in a new random order each turn, which is a search, about 0.07. Mostly it is one set more, so
that there is little progress short of the optimum. The orders are tried when a task is drawn, until one is found that they do not
solve: some 300 to 500 resets a CPU second. Levels are measured by the sets:

    level  sets  elements  in the optimum
      1     32      25           5
      2     34      30           6
      3     36      35           7
      4     38      40           8
      5     40      45           9

The expert starts with all sets and leaves out one after the other.

Sources: Feige, A threshold of ln n for approximating set cover, 1998 (what greedy choices cost).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from operator import or_
from typing import Any, NamedTuple

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.fields import number, numbers
from turnwise.envs.np.proposals import Proposal, counted, repeated_or_unknown
from turnwise.envs.np.propose import Draft, ProposeAndImprove
from turnwise.envs.np.restarts import bits, orders
from turnwise.types import Task

__all__ = ["SIZES", "Family", "SetCover"]

SIZES = {1: (32, 25, 5), 2: (34, 30, 6), 3: (36, 35, 7), 4: (38, 40, 8), 5: (40, 45, 9)}
"""Level -> sets, elements, sets of the optimum."""
_EXTRA = 0.03
"""How likely a set of the optimum holds an element of another's."""


class Family(NamedTuple):
    """Sets of elements; each of 1 to `elements` is in some set."""

    elements: int
    sets: tuple[frozenset[int], ...]


class SetCover(ProposeAndImprove[Family]):
    """The fewest sets that hold every element. quality = (V - sets) / (V - optimum), from 0 to 1; V is the value to beat.

    Reward: half of what a proposal adds to the best quality so far (`progress`), and half for the optimum (`solved`), so only
    the optimum earns 1. What breaks a constraint earns nothing.
    """

    name, aim = "set-cover", "Set cover: choose as few sets as possible so that every element is in at least one of them."
    form = "Reply with the numbers of the chosen sets, separated by spaces, for example <answer>2 3 ...</answer>."

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        count, elements, least = SIZES[level]
        names = draws.shuffled(range(1, elements + 1))
        own, others = names[:least], names[least:]
        sets = [
            {own[i]} | {name for j, name in enumerate(others) if j % least == i or draws.uniform() < _EXTRA} for i in range(least)
        ]
        size = elements // least
        sets += [{*draws.shuffled(others)[: size - draws.below(2)], draws.pick(own)} for _ in range(count - least)]
        order = draws.shuffled(range(count))
        chosen = (tuple([label for label, i in enumerate(order, 1) if i < least]),)
        return {"elements": elements, "sets": [sorted(sets[i]) for i in order]}, lambda: chosen

    @override
    def read(self, metadata: Mapping[str, Any]) -> Family:
        elements = number(metadata["elements"], 1, 1000)
        sets = tuple([frozenset(numbers(members, 1, elements)) for members in metadata["sets"]])
        if len(frozenset[int]().union(*sets)) != elements:
            raise ValueError("an element is in no set")
        return Family(elements, sets)

    @override
    def turns(self, task: Task) -> int:
        """Half the sets and 2."""
        return len(task.metadata["sets"]) // 2 + 2

    @override
    def show(self, instance: Family) -> str:
        lines = [f"{i}: {' '.join(map(str, sorted(members)))}" for i, members in enumerate(instance.sets, 1)]
        return f"Elements: 1 to {instance.elements}. Set: its elements\n" + "\n".join(lines)

    @override
    def flaw(self, instance: Family, proposal: Proposal) -> str:
        flaw = repeated_or_unknown(proposal[0], len(instance.sets), "set")
        if flaw:
            return flaw
        covered = frozenset[int]().union(*[instance.sets[i - 1] for i in proposal[0]])
        if len(covered) == instance.elements:
            return ""
        missing = [str(element) for element in range(1, instance.elements + 1) if element not in covered]
        return f"in none of these sets: {' '.join(missing)}."

    @override
    def value(self, instance: Family, proposal: Proposal) -> int:
        return len(proposal[0])

    @override
    def named(self, value: int) -> str:
        return counted(value, "set")

    @override
    def thumbs(self, instance: Family) -> Iterator[int]:
        sets = [bits(members) for members in instance.sets]
        yield _needed(sets, range(len(sets)))
        yield from (_needed(sets, order) for order in orders(len(sets)))
        yield _needed(sets, _largest_first(instance))

    @override
    def climb(self, instance: Family, optimal: Proposal) -> Iterator[Proposal]:
        others = [i for i in range(1, len(instance.sets) + 1) if i not in optimal[0]]
        return ((tuple(sorted((*optimal[0], *others[gone:]))),) for gone in range(1, len(others) + 1))


def _largest_first(family: Family) -> list[int]:
    """Sets, from 0, each the one with most elements that those before it lack, until all are there."""
    chosen, missing = list[int](), set(range(1, family.elements + 1))
    while missing:
        chosen.append(max(range(len(family.sets)), key=lambda i: (len(family.sets[i] & missing), -i)))
        missing -= family.sets[chosen[-1]]
    return chosen


def _needed(sets: Sequence[int], chosen: Sequence[int]) -> int:
    """How many are left when those of a cover that the others make up for are left out, the last first; sets as bits."""
    before = list(accumulate([sets[i] for i in chosen], or_, initial=0))
    kept = left = 0
    for i, others in zip(reversed(chosen), reversed(before[:-1]), strict=True):
        if sets[i] & ~(others | kept):
            kept |= sets[i]
            left += 1
    return left
