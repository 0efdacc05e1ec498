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
from functools import lru_cache
from itertools import combinations, product
from typing import Any, NamedTuple

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


class Formula(NamedTuple):
    """Clauses of literals: 3 is variable 3, -3 is not variable 3."""

    variables: int
    clauses: tuple[tuple[int, ...], ...]


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
        clauses = dict[tuple[int, ...], None]()
        while len(clauses) < count:
            clauses[draws.pick(_all_clauses(variables))] = None
        formula = Formula(variables, tuple(clauses))
        return {"variables": variables, "clauses": [list(clause) for clause in clauses]}, lambda: (best_assignment(formula),)

    @override
    def read(self, metadata: Mapping[str, Any]) -> Formula:
        variables = number(metadata["variables"], 1, 1000)
        clauses = tuple([numbers(clause, -variables, variables) for clause in metadata["clauses"]])
        if not clauses or any(0 in clause for clause in clauses):
            raise ValueError("there are clauses, and no literal is 0")
        return Formula(variables, clauses)

    @override
    def turns(self, task: Task) -> int:
        """Half the variables and 4."""
        return task.metadata["variables"] // 2 + 4

    @override
    def show(self, instance: Formula) -> str:
        return f"Variables: 1 to {instance.variables}. Clauses:\n" + "\n".join(_shown(clause) for clause in instance.clauses)

    @override
    def flaw(self, instance: Formula, proposal: Proposal) -> str:
        return not_once_each([abs(literal) for literal in proposal[0]], instance.variables, "variable")

    @override
    def value(self, instance: Formula, proposal: Proposal) -> int:
        return len(self._broken(instance, proposal))

    def _broken(self, instance: Formula, proposal: Proposal) -> list[tuple[int, ...]]:
        breaks = frozenset(proposal[0]).isdisjoint
        return [clause for clause in instance.clauses if breaks(clause)]

    @override
    def named(self, value: int) -> str:
        return f"{value} unsatisfied"

    @override
    def report(self, instance: Formula, proposal: Proposal, value: int) -> str:
        left = [_shown(clause) for clause in self._broken(instance, proposal)[:_SHOWN]]
        return f"{value} unsatisfied: {', '.join(left)}{', ...' if value > _SHOWN else ''}" if left else "all satisfied"

    @override
    def thumbs(self, instance: Formula) -> Iterator[int]:
        variables, clauses = instance
        names = range(1, variables + 1)
        written = [literal for clause in clauses for literal in clause]
        majority = tuple([v if written.count(v) >= written.count(-v) else -v for v in names])
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

    Bit a of each large number is about assignment a, whose bit v - 1 is variable v. `counts` is how many clauses are
    unsatisfied, in binary, a large number for each binary digit.
    """
    true, everything = _columns(formula.variables), (1 << (1 << formula.variables)) - 1
    counts = [0] * len(formula.clauses).bit_length()
    for clause in formula.clauses:
        broken = everything
        for literal in clause:
            broken &= ~true[literal - 1] if literal > 0 else true[-literal - 1]
        for digit, ones in enumerate(counts):
            if not broken:
                break
            counts[digit], broken = ones ^ broken, ones & broken
    best = everything
    for ones in reversed(counts):
        best = best & ~ones or best
    assignment = (best & -best).bit_length() - 1
    return tuple([v + 1 if assignment >> v & 1 else -v - 1 for v in range(formula.variables)])


@lru_cache(maxsize=16)
def _columns(variables: int) -> tuple[int, ...]:
    """For each variable the assignments in which it is true: runs of 2^v zeros and ones."""
    total = 1 << variables
    return tuple([((1 << total) - 1) // ((1 << (1 << v)) + 1) << (1 << v) for v in range(variables)])


def _johnson(formula: Formula) -> tuple[int, ...]:
    """Each variable in turn as most of what is open speaks for it, a clause by 1/2 for each variable it has left."""
    left = [list(clause) for clause in formula.clauses]
    chosen = list[int]()
    for v in range(1, formula.variables + 1):
        favour = sum([(v in clause) * 0.5 ** len(clause) - (-v in clause) * 0.5 ** len(clause) for clause in left])
        literal = v if favour >= 0 else -v
        chosen.append(literal)
        left = [[other for other in clause if other != -literal] for clause in left if literal not in clause]
    return tuple(chosen)


@lru_cache(maxsize=16)
def _all_clauses(variables: int) -> list[tuple[int, ...]]:
    """Every clause of three different variables."""
    names = combinations(range(1, variables + 1), 3)
    return [
        tuple([v * sign for v, sign in zip(three, signs, strict=True)]) for three in names for signs in product((1, -1), repeat=3)
    ]


def _shown(clause: tuple[int, ...]) -> str:
    return f"({' '.join(map(str, clause))})"
