"""The optima of turnwise/NP-*-v0 against an independent exact solver: HiGHS, through scipy's mixed-integer programmes."""

from collections.abc import Sequence
from itertools import combinations, pairwise, permutations
from typing import Any

import gymnasium
import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from turnwise.envs.np.job_shop import bound
from turnwise.envs.np.max_sat import Formula, best_assignment
from turnwise.envs.np.propose import ProposeAndImprove
from turnwise.envs.np.tsp import shortest_tour


class Programme:
    """A mixed-integer programme, written down variable by variable and row by row."""

    def __init__(self) -> None:
        self.costs, self.most, self.whole, self.rows = (
            list[float](),
            list[float](),
            list[int](),
            list[tuple[dict[int, float], float]](),
        )

    def new(self, cost: float = 0, most: float = 1, whole: bool = True) -> int:
        """A variable from 0 to `most`."""
        self.costs.append(cost)
        self.most.append(most)
        self.whole.append(int(whole))
        return len(self.costs) - 1

    def at_least(self, row: dict[int, float], low: float) -> None:
        self.rows.append((row, low))

    def at_most(self, row: dict[int, float], high: float) -> None:
        self.at_least({i: -x for i, x in row.items()}, -high)

    def exactly(self, row: dict[int, float], value: float) -> None:
        self.at_least(row, value)
        self.at_most(row, value)

    def least(self) -> int | None:
        """The least cost; None if nothing is feasible."""
        matrix = np.zeros((len(self.rows), len(self.costs)))
        for i, (row, _) in enumerate(self.rows):
            for j, x in row.items():
                matrix[i, j] = x
        done = milp(
            self.costs,
            integrality=self.whole,
            bounds=Bounds(0, self.most),
            constraints=LinearConstraint(matrix, [low for _, low in self.rows]),
        )
        assert done.status in (0, 2), done.message
        return round(done.fun) if done.status == 0 else None


def each(variables: Sequence[int], factor: float = 1) -> dict[int, float]:
    return dict.fromkeys(variables, factor)


def tsp(m: Any) -> int | None:
    """Miller, Tucker and Zemlin."""
    p, cities = Programme(), m["cities"]
    n = len(cities)
    go = {(a, b): p.new(sum(abs(x - y) for x, y in zip(cities[a], cities[b], strict=True))) for a, b in permutations(range(n), 2)}
    place = [p.new(0, n - 1, whole=False) for _ in range(n)]
    for a in range(n):
        p.exactly(each([go[a, b] for b in range(n) if b != a]), 1)
        p.exactly(each([go[b, a] for b in range(n) if b != a]), 1)
    for a, b in permutations(range(1, n), 2):
        p.at_most({place[a]: 1, place[b]: -1, go[a, b]: n}, n - 1)
    return p.least()


def knapsack(m: Any) -> int | None:
    p = Programme()
    items = [p.new(-value) for value in m["values"]]
    p.at_most(dict(zip(items, m["weights"], strict=True)), m["capacity"])
    least = p.least()
    return None if least is None else -least


def set_cover(m: Any) -> int | None:
    p = Programme()
    sets = [p.new(1) for _ in m["sets"]]
    for element in range(1, m["elements"] + 1):
        p.at_least(each([sets[i] for i, members in enumerate(m["sets"]) if element in members]), 1)
    return p.least()


def independent_set(m: Any) -> int | None:
    p = Programme()
    vertices = [p.new(-1) for _ in range(m["vertices"])]
    for a, b in m["edges"]:
        p.at_most(each([vertices[a - 1], vertices[b - 1]]), 1)
    least = p.least()
    return None if least is None else -least


def colouring(m: Any, colours: int) -> int | None:
    """0 if so many colours are enough."""
    p = Programme()
    has = [[p.new() for _ in range(colours)] for _ in range(m["vertices"])]
    for of in has:
        p.exactly(each(of), 1)
    for a, b in m["edges"]:
        for colour in range(colours):
            p.at_most(each([has[a - 1][colour], has[b - 1][colour]]), 1)
    return p.least()


def packing(m: Any, bins: int) -> int | None:
    """0 if so many bins are enough."""
    p = Programme()
    into = [[p.new() for _ in range(bins)] for _ in m["sizes"]]
    for of in into:
        p.exactly(each(of), 1)
    for b in range(bins):
        p.at_most({of[b]: size for of, size in zip(into, m["sizes"], strict=True)}, m["capacity"])
    return p.least()


def max_sat(m: Any) -> int | None:
    p = Programme()
    true = [p.new() for _ in range(m["variables"])]
    for clause in m["clauses"]:
        row = {true[abs(literal) - 1]: float(np.sign(literal)) for literal in clause}
        p.at_least({**row, p.new(1): 1}, 1 - sum(literal < 0 for literal in clause))
    return p.least()


def job_shop(m: Any) -> int | None:
    p, jobs = Programme(), m["jobs"]
    late = sum(time for job in jobs for _, time in job)
    end = p.new(1, late, whole=False)
    start = [{machine: p.new(0, late, whole=False) for machine, _ in job} for job in jobs]
    for times, job in zip(start, jobs, strict=True):
        for (a, time), (b, _) in pairwise(job):
            p.at_least({times[b]: 1, times[a]: -1}, time)
        p.at_least({end: 1, times[job[-1][0]]: -1}, job[-1][1])
    for machine in start[0]:
        for (one, job), (other, rival) in combinations(zip(start, jobs, strict=True), 2):
            first = p.new()
            p.at_least({other[machine]: 1, one[machine]: -1, first: -late}, dict(job)[machine] - late)
            p.at_least({one[machine]: 1, other[machine]: -1, first: late}, dict(rival)[machine])
    return p.least()


def posed(name: str, level: int, seeds: int) -> list[tuple[dict[str, Any], int, ProposeAndImprove[Any]]]:
    """(metadata, optimum, environment) of some tasks."""
    env = gymnasium.make(f"turnwise/NP-{name}-v0").unwrapped
    assert isinstance(env, ProposeAndImprove)
    found = []
    for seed in range(seeds):
        env.reset(seed=seed, options={"difficulty": level})
        found.append((dict(env.task.metadata), env._optimum, env))
    return found


@pytest.mark.parametrize(
    ("name", "solve", "level", "seeds"),
    [
        ("TSP", tsp, 1, 3),
        ("TSP", tsp, 2, 1),
        ("Knapsack", knapsack, 1, 5),
        ("Knapsack", knapsack, 5, 2),
        ("SetCover", set_cover, 1, 5),
        ("SetCover", set_cover, 5, 2),
        ("IndependentSet", independent_set, 1, 5),
        ("IndependentSet", independent_set, 5, 2),
        ("MaxSAT", max_sat, 1, 2),
        ("JobShop", job_shop, 1, 4),
        ("JobShop", job_shop, 2, 2),
    ],
)
def test_optimum(name: str, solve: Any, level: int, seeds: int) -> None:
    for metadata, optimum, _ in posed(name, level, seeds):
        assert solve(metadata) == optimum


@pytest.mark.parametrize(("name", "enough"), [("GraphColouring", colouring), ("BinPacking", packing)])
@pytest.mark.parametrize(("level", "seeds"), [(1, 3), (2, 2)])
def test_one_less_is_not_enough(name: str, enough: Any, level: int, seeds: int) -> None:
    for metadata, optimum, _ in posed(name, level, seeds):
        assert enough(metadata, optimum) == 0
        assert enough(metadata, optimum - 1) is None


@pytest.mark.parametrize("name", ["SubsetSum", "HamiltonianCycle"])
def test_decision_problems_can_be_solved_and_only_exactly(name: str) -> None:
    for metadata, optimum, env in posed(name, 3, 5):
        assert optimum == metadata["beat"] + 1 == (metadata.get("target") or metadata["vertices"] + 1)
        assert max(env.thumbs(env.read(metadata))) == optimum - 1


def test_a_job_shop_is_drawn_round_a_plan_that_ends_at_the_bound() -> None:
    for level in range(1, 6):
        for metadata, optimum, env in posed("JobShop", level, 5):
            assert optimum == bound(env.read(metadata))


def test_held_and_karp_find_what_trying_all_tours_finds() -> None:
    rng = np.random.default_rng(0)
    for count in (4, 6, 7):
        cities = tuple((int(x), int(y)) for x, y in rng.integers(0, 40, (count, 2)))

        def length(tour: tuple[int, ...], cities: Any = cities) -> int:
            ends = zip(tour, tour[1:] + tour[:1], strict=True)
            return sum(abs(cities[a - 1][i] - cities[b - 1][i]) for a, b in ends for i in (0, 1))

        tour = shortest_tour(cities)
        assert sorted(tour) == list(range(1, count + 1))
        assert length(tour) == min(length((1, *rest)) for rest in permutations(range(2, count + 1)))


def test_the_bits_of_large_numbers_find_what_trying_all_assignments_finds() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 5, 30, 80):
        clauses = tuple(tuple(int(v) for v in (rng.permutation(6)[:3] + 1) * rng.choice([-1, 1], 3)) for _ in range(count))
        signs = [[v if bits >> v - 1 & 1 else -v for v in range(1, 7)] for bits in range(64)]
        broken = [sum(not set(clause) & set(literals) for clause in clauses) for literals in signs]
        found = best_assignment(Formula(6, clauses))
        assert sum(not set(clause) & set(found) for clause in clauses) == min(broken)


def test_the_bound_of_a_job_shop_by_hand() -> None:
    """Machine 3 has 1 + 6 to do, and no job is there before 7. With a third job it is machine 2: 2, then 5 + 4 + 9, then 1."""
    shop = (((0, 2), (1, 5), (2, 1)), ((0, 3), (1, 4), (2, 6)))
    assert bound(shop) == 7 + 1 + 6
    assert bound((*shop, ((0, 3), (1, 9), (2, 1)))) == 2 + 5 + 4 + 9 + 1
