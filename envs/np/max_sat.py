"""turnwise/NP-MaxSAT-v0: true or false for each variable, so that as few clauses as possible are left unsatisfied (MAX-3-SAT).

Random clauses of three different variables, no two alike, five and a half for each variable, so that mostly not all can be
satisfied. The optimum is found by going through all assignments, many at a time in the bits of large numbers. The value to beat
is the best of: all true, all false, each variable as it stands in more clauses, and each in turn as it promises most (Johnson's
rule: an open clause counts 1/2, 1/4, 1/8 by the variables it has left). Levels are measured by the variables:

    level  variables  clauses  assignments
      1       11         60          2,048
      2       12         66          4,096
      3       13         71          8,192
      4       14         77         16,384
      5       15         82         32,768

The expert starts with all false and turns one variable after the other to its value in the optimum, the most helpful first.

Sources: Johnson, Approximation algorithms for combinatorial problems, 1974. Literals as in the DIMACS format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, combinations, product
from typing import Any

from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.fields import number, numbers
from turnwise.envs.np.proposals import Proposal, not_once_each
from turnwise.envs.np.propose import Draft, ProposeAndImprove
from turnwise.types import Task

__all__ = ["SIZES", "Formula", "MaxSAT", "best_assignment"]

SIZES = {1: (11, 60), 2: (12, 66), 3: (13, 71), 4: (14, 77), 5: (15, 82)}
"""Level -> variables and clauses."""
_SHOWN = 8


@dataclass(frozen=True)
class Formula:
    """Clauses of literals: 3 is variable 3, -3 is not variable 3."""

    variables: int
    clauses: tuple[tuple[int, ...], ...]

    @cached_property
    def satisfied_by(self) -> dict[int, int]:
        """Literal -> the clauses that hold it, as bits."""
        found = dict.fromkeys(range(-self.variables, self.variables + 1), 0)
        for i, clause in enumerate(self.clauses):
            for literal in clause:
                found[literal] |= 1 << i
        return found


class MaxSAT(ProposeAndImprove[Formula]):
    """The fewest unsatisfied clauses. quality = (V - unsatisfied) / (V - optimum), from 0 to 1; V is the value to beat.

    Reward: half of what a proposal adds to the best quality so far (`progress`), and half for the optimum (`solved`), so only
    the optimum earns 1. What breaks a constraint earns nothing.
    """

    name = "max-sat"
    aim = (
        "MAX-SAT: make each variable true or false so that as few clauses as possible are unsatisfied. 3 stands for variable 3, "
        "-3 for its negation; any one of them that is true satisfies a clause."
    )
    form = "Reply with every variable once, bare for true and with a minus for false, for example <answer>1 -2 3 ...</answer>."

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        variables, count = SIZES[level]
        every, clauses = _all_clauses(variables), dict[tuple[int, ...], None]()
        while len(clauses) < count:
            clauses[draws.pick(every)] = None
        formula = Formula(variables, tuple(clauses))
        return {"variables": variables, "clauses": [list(clause) for clause in clauses]}, lambda: (best_assignment(formula),)

    @override
    def read(self, metadata: Mapping[str, Any]) -> Formula:
        variables = number(metadata["variables"], 1, 1000)
        clauses = tuple([numbers(clause, -variables, variables) for clause in metadata["clauses"]])
        if not clauses or 0 in chain(*clauses):
            raise ValueError("there are clauses, and no literal is 0")
        return Formula(variables, clauses)

    @override
    def turns(self, task: Task) -> int:
        """Half the variables and 4."""
        return task.metadata["variables"] // 2 + 4

    @override
    def show(self, instance: Formula) -> str:
        return f"Variables: 1 to {instance.variables}. Clauses:\n" + "\n".join(map(_shown, instance.clauses))

    @override
    def flaw(self, instance: Formula, proposal: Proposal) -> str:
        return not_once_each([abs(literal) for literal in proposal[0]], instance.variables, "variable")

    @override
    def value(self, instance: Formula, proposal: Proposal) -> int:
        return self._broken(instance, proposal).bit_count()

    def _broken(self, instance: Formula, proposal: Proposal) -> int:
        """The unsatisfied clauses, as bits."""
        satisfied_by, satisfied = instance.satisfied_by, 0
        for literal in proposal[0]:
            satisfied |= satisfied_by[literal]
        return (1 << len(instance.clauses)) - 1 & ~satisfied

    @override
    def named(self, value: int) -> str:
        return f"{value} unsatisfied"

    @override
    def report(self, instance: Formula, proposal: Proposal, value: int) -> str:
        broken, left = self._broken(instance, proposal), list[str]()
        while broken and len(left) < _SHOWN:
            first = broken & -broken
            left.append(_shown(instance.clauses[first.bit_length() - 1]))
            broken ^= first
        return f"{value} unsatisfied: {', '.join(left)}{', ...' if value > _SHOWN else ''}" if left else "all satisfied"

    @override
    def thumbs(self, instance: Formula) -> Iterator[int]:
        names, count = range(1, instance.variables + 1), {v: held.bit_count() for v, held in instance.satisfied_by.items()}
        majority = tuple([v if count[v] >= count[-v] else -v for v in names])
        rules = (tuple(names), tuple([-v for v in names]), majority, _johnson(instance))
        return (self.value(instance, (rule,)) for rule in rules)

    @override
    def climb(self, instance: Formula, optimal: Proposal) -> Iterator[Proposal]:
        now, goal = [-v for v in range(1, instance.variables + 1)], sorted(optimal[0], key=abs)
        wrong = [i for i, literal in enumerate(goal) if literal > 0]
        yield (tuple(now),)
        while wrong:
            tried = {i: self.value(instance, ((*now[:i], goal[i], *now[i + 1 :]),)) for i in wrong}
            best = min(wrong, key=tried.__getitem__)
            now[best] = goal[best]
            wrong.remove(best)
            yield (tuple(now),)


def best_assignment(formula: Formula) -> tuple[int, ...]:
    """An assignment with fewest unsatisfied clauses, of all 2^n.

    Bit a of each large number is about assignment a, whose bit v - 1 is variable v. How many clauses are unsatisfied is added up
    in binary, a large number for each binary digit, three of them at a time into a sum and a carry.
    """
    false, everything = _false(formula.variables), (1 << (1 << formula.variables)) - 1
    layer, counts = list[int](), list[int]()
    for clause in formula.clauses:
        broken = everything
        for literal in clause:
            broken &= false[literal]
        layer.append(broken)
    while layer:
        carries = list[int]()
        while len(layer) > 1:
            a, b, c = layer.pop(), layer.pop(), layer.pop() if layer else 0
            odd = a ^ b
            layer.append(odd ^ c)
            carries.append(a & b | odd & c)
        counts += layer
        layer = carries
    best = everything
    for ones in reversed(counts):
        best = best & ~ones or best
    assignment = (best & -best).bit_length() - 1
    return tuple([v + 1 if assignment >> v & 1 else -v - 1 for v in range(formula.variables)])


@lru_cache(maxsize=16)
def _false(variables: int) -> dict[int, int]:
    """For each literal the assignments in which it is false: runs of 2^v ones and zeros, for a negation of zeros and ones."""
    everything = (1 << (1 << variables)) - 1
    runs = [everything // ((1 << (1 << v)) + 1) for v in range(variables)]
    return {v: run for v, run in enumerate(runs, 1)} | {-v: everything ^ run for v, run in enumerate(runs, 1)}


def _johnson(formula: Formula) -> tuple[int, ...]:
    """Each variable in turn as most of what is open speaks for it, a clause by 1/2 for each variable it has left."""
    satisfied_by, chosen = formula.satisfied_by, list[int]()
    left = [0] * (1 + max(map(len, formula.clauses)))  # number of variables left -> the open clauses with so many, as bits
    for i, clause in enumerate(formula.clauses):
        left[len(clause)] |= 1 << i
    for v in range(1, formula.variables + 1):
        with_v, without = satisfied_by[v], satisfied_by[-v]
        favour = sum([((a & with_v).bit_count() - (a & without).bit_count()) * 0.5**size for size, a in enumerate(left)])
        chosen.append(v if favour >= 0 else -v)
        fewer = satisfied_by[-chosen[-1]]
        left = [some & ~(with_v | without) | more & fewer for some, more in zip(left, [*left[1:], 0], strict=True)]
    return tuple(chosen)


@lru_cache(maxsize=16)
def _all_clauses(variables: int) -> list[tuple[int, ...]]:
    """Every clause of three different variables."""
    names = combinations(range(1, variables + 1), 3)
    return [
        tuple([v * sign for v, sign in zip(three, signs, strict=True)]) for three in names for signs in product((1, -1), repeat=3)
    ]


@lru_cache(maxsize=16_384)
def _shown(clause: tuple[int, ...]) -> str:
    return f"({' '.join(map(str, clause))})"
