"""turnwise/NP-JobShop-v0: the order of the jobs on each machine, so that all are done as early as possible (job shop).

Every job goes over every machine once, in an order of its own. A proposal names for each machine the order of the jobs; each part
is done as soon as its machine and its job are free, and the value is the time at which the last one ends.

The parts are drawn round a plan in which one machine never waits. No plan can end before the shortest time that a job needs to
get to a machine, all that the machine has to do, and the shortest time that a job needs afterwards; the drawn plan ends at this
bound, so it is optimal. The value to beat is the best of the jobs in the order of their numbers on every machine, and of doing
next, of what can start before another part could end, the part that is shortest, that has most work after it, or whose job comes
first (active plans of Giffler and Thompson). Levels are measured by the jobs and machines:

    level  jobs  machines  parts
      1      4       3       12
      2      5       3       15
      3      6       3       18
      4      6       4       24
      5      7       4       28

The expert starts with the jobs one after the other and takes one part after the other to its place in the optimal plan.
A step works out when each part of the proposal starts: some 40,000 steps a CPU second at level 5.

Sources: Giffler and Thompson, Algorithms for solving production-scheduling problems, 1960; Carlier, The one-machine sequencing
problem, 1982 (the bound).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.draws import Draws
from turnwise.envs.np.drawing import bars
from turnwise.envs.np.fields import numbers
from turnwise.envs.np.proposals import Proposal, not_once_each
from turnwise.envs.np.propose import Draft, ProposeAndImprove
from turnwise.types import Task

__all__ = ["SIZES", "JobShop", "Shop", "bound"]

SIZES = {1: (4, 3), 2: (5, 3), 3: (6, 3), 4: (6, 4), 5: (7, 4)}
"""Level -> jobs and machines."""
_LONGEST = 9
"""Time of a part."""
_BUSY = 4
"""Least time of a part on the machine that never waits."""

Shop = tuple[tuple[tuple[int, int], ...], ...]
"""For each job its parts in order: (machine from 0, time)."""


class JobShop(ProposeAndImprove[Shop]):
    """The plan that ends earliest. quality = (V - end) / (V - optimum), from 0 to 1; V is the value to beat.

    Reward: half of what a proposal adds to the best quality so far (`progress`), and half for the optimum (`solved`), so only
    the optimum earns 1. What breaks a constraint earns nothing.
    """

    name, aim = "job-shop", "Job shop: order the jobs on each machine so that all jobs are done as early as possible."
    form = (
        "Reply with the order of the jobs on machine 1, then on machine 2 and so on, separated by semicolons, for example "
        "<answer>2 1 3; 1 3 2; ...</answer>."
    )
    several = True

    @override
    def draw(self, draws: Draws, level: int) -> Draft:
        jobs, machines = SIZES[level]
        while (drawn := _planted(draws, jobs, machines)) is None:
            pass
        shop, plan = drawn
        return {"jobs": [[[machine + 1, time] for machine, time in job] for job in shop]}, lambda: plan

    @override
    def read(self, metadata: Mapping[str, Any]) -> Shop:
        jobs = [[numbers(part) for part in job] for job in metadata["jobs"]]
        shop = tuple([tuple([(machine - 1, time) for machine, time in job]) for job in jobs])
        if not shop or any(sorted(machine for machine, _ in job) != list(range(len(shop[0]))) for job in shop):
            raise ValueError("every job goes over every machine once")
        return shop

    @override
    def turns(self, task: Task) -> int:
        """The parts and 4."""
        return sum(map(len, task.metadata["jobs"])) + 4

    @override
    def show(self, instance: Shop) -> str:
        lines = [f"{j}: {', '.join([f'{machine + 1} for {time}' for machine, time in job])}" for j, job in enumerate(instance, 1)]
        return "Job: its machines in order, and for how long\n" + "\n".join(lines)

    @override
    def flaw(self, instance: Shop, proposal: Proposal) -> str:
        machines = len(instance[0])
        if len(proposal) != machines:
            return f"there are {machines} machines, and {len(proposal)} lists."
        for machine, jobs in enumerate(proposal, 1):
            flaw = not_once_each(jobs, len(instance), "job")
            if flaw:
                return f"machine {machine}: {flaw}"
        starts = _starts(instance, proposal)
        stuck = [j for j, times in enumerate(starts) if len(times) < machines]
        if not stuck:
            return ""
        waits = [f"job {j + 1} for machine {instance[j][len(starts[j])][0] + 1}" for j in stuck]
        return f"nothing can go on: {', '.join(waits)} must wait for each other."

    @override
    def value(self, instance: Shop, proposal: Proposal) -> int:
        ends = [times[-1] + job[-1][1] for job, times in zip(instance, _starts(instance, proposal), strict=True)]
        return max(ends)

    @override
    def named(self, value: int) -> str:
        return f"done at time {value}"

    @override
    def thumbs(self, instance: Shop) -> Iterator[int]:
        work = [[sum(time for _, time in job[k:]) for k in range(len(job))] for job in instance]
        yield self.value(instance, (tuple(range(1, len(instance) + 1)),) * len(instance[0]))
        yield _active_end(instance, [[time for _, time in job] for job in instance])
        yield _active_end(instance, [[-left for left in lefts] for lefts in work])
        yield _active_end(instance, [[0] * len(job) for job in instance])

    @override
    def climb(self, instance: Shop, optimal: Proposal) -> Iterator[Proposal]:
        starts = _starts(instance, optimal)
        parts = [(j, k) for j, job in enumerate(instance) for k in range(len(job))]
        sooner = sorted(parts, key=lambda part: (starts[part[0]][part[1]], part))
        for done in range(len(sooner) + 1):
            settled = set(sooner[:done])
            yield _orders(instance, sooner[:done] + [part for part in parts if part not in settled])

    @override
    def drawing(self) -> NDArray[np.uint8]:
        if not self._best:
            return bars([[]] * len(self._instance[0]), self._beat)
        starts = _starts(self._instance, self._best)
        rows = [list[tuple[int, int, int]]() for _ in self._best]
        for label, (job, times) in enumerate(zip(self._instance, starts, strict=True), 1):
            for (machine, time), start in zip(job, times, strict=True):
                rows[machine].append((label, start, time))
        return bars(rows, max(self.value(self._instance, self._best), self._beat))


def bound(shop: Shop) -> int:
    """No plan ends earlier: the longest job, or what a machine must do with the least time before and after it."""
    before, after = [[[0] * len(shop) for _ in shop[0]] for _ in range(2)]
    load = [0] * len(shop[0])
    for j, job in enumerate(shop):
        left, gone = sum([time for _, time in job]), 0
        for machine, time in job:
            left -= time
            before[machine][j], after[machine][j] = gone, left
            load[machine] += time
            gone += time
    machines = [min(b) + total + min(a) for b, total, a in zip(before, load, after, strict=True)]
    return max(*machines, *[sum([time for _, time in job]) for job in shop])


def _planted(draws: Draws, jobs: int, machines: int) -> tuple[Shop, Proposal] | None:
    """A shop and a plan for it that ends at the bound. None if what was drawn did not fit.

    First the machine that never waits: who comes first there has least to do before, who comes last least to do after. Then what
    comes before, and then what comes after, each as soon as it can, in that order of the jobs, no longer than there is room for.
    """
    busy = draws.below(machines)
    routes = [draws.shuffled(range(machines)) for _ in range(jobs)]
    before = [route.index(busy) for route in routes]
    turn = draws.shuffled(range(jobs))
    turn.sort(key=lambda j: before[j] == 0, reverse=True)
    turn.append(turn.pop(max(range(1, jobs), key=lambda i: before[turn[i]])))
    shop = [list[tuple[int, int]]() for _ in range(jobs)]
    machine_free, job_free, clock, orders = [0] * machines, [0] * jobs, 0, [list[int]() for _ in range(machines)]

    def fits(j: int, limit: int) -> bool:
        """Do the next part of a job as soon as it can be, and for so long that it ends by a time."""
        job = shop[j]
        machine = routes[j][len(job)]
        start = job_free[j] if job_free[j] > machine_free[machine] else machine_free[machine]
        least, room = _BUSY if machine == busy else 1, limit - start
        if room < least:
            return False
        time = least + draws.below((room if room < _LONGEST else _LONGEST) - least + 1)
        orders[machine].append(j + 1)
        job.append((machine, time))
        machine_free[machine] = job_free[j] = start + time
        return True

    for i, j in enumerate(turn):
        for left in range(before[j] - 1, -1, -1):
            if not fits(j, clock - left if i else _LONGEST * before[j]):
                return None
        fits(j, clock + _LONGEST if i else job_free[j] + _LONGEST)
        clock = machine_free[busy]
    for i, j in enumerate(turn):
        after = machines - len(shop[j])
        for left in range(after - 1, -1, -1):
            if not fits(j, clock - left if i < jobs - 1 else clock + _LONGEST * after):
                return None
    made = tuple([tuple(job) for job in shop])
    return (made, tuple([tuple(order) for order in orders])) if max(job_free) == bound(made) else None


def _active_end(shop: Shop, keys: Sequence[Sequence[int]]) -> int:
    """When all is done: part after part, on the machine of the one that can end first, the least by its key of those before it.

    keys: for each job those of its parts; of equals the first job comes first.
    """
    machine_free, done, last = [0] * len(shop[0]), [0] * len(shop), 0
    due = {j: (job[0][1], job[0][0], 0) for j, job in enumerate(shop)}  # when the job's next part can end, where, and start
    while due:
        end, machine, _ = min(due.values())
        _, j = min([(keys[j][done[j]], j) for j, (_, where, start) in due.items() if where == machine and start < end])
        clock = machine_free[machine] = due.pop(j)[0]
        for other, (end, where, start) in due.items():
            if where == machine and start < clock:
                due[other] = (end - start + clock, machine, clock)
        last = max(last, clock)
        done[j] += 1
        if done[j] < len(shop[j]):
            machine, time = shop[j][done[j]]
            start = max(clock, machine_free[machine])
            due[j] = (start + time, machine, start)
    return last


def _orders(shop: Shop, sequence: Sequence[tuple[int, int]]) -> Proposal:
    """The order of the jobs on each machine when parts (job, which) go in that sequence."""
    orders = [list[int]() for _ in shop[0]]
    for j, k in sequence:
        orders[shop[j][k][0]].append(j + 1)
    return tuple([tuple(jobs) for jobs in orders])


@lru_cache(maxsize=8)  # feasibility, value and picture ask for the same plan in turn
def _starts(shop: Shop, orders: Proposal) -> Sequence[Sequence[int]]:
    """For each job when its parts start, as many as can when each waits for its machine's order."""
    starts, job_free, machine_free = [list[int]() for _ in shop], [0] * len(shop), [0] * len(orders)
    queues = [iter(jobs) for jobs in orders]
    heads, going = [next(queue) for queue in queues], True
    while going:
        going = False
        for machine, label in enumerate(heads):
            while label:
                j = label - 1
                where, time = shop[j][len(starts[j])]
                if where != machine:
                    break
                start = job_free[j] if job_free[j] > machine_free[machine] else machine_free[machine]
                starts[j].append(start)
                job_free[j] = machine_free[machine] = start + time
                heads[machine] = label = next(queues[machine], 0)
                going = True
    return starts
