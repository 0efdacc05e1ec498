"""The verifiers of turnwise/NP-*-v0 against other ones, and the holes of the published ones.

Every environment's verdict on many proposals, good ones with a few changes and wild ones, is compared with that of a second
verifier, written here from the metadata alone. Nothing that breaks a rule is taken, and nothing beats the optimum.
"""

import ast
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import turnwise.envs.np.propose
from turnwise.envs.np.proposals import written
from turnwise.envs.np.propose import ProposeAndImprove
from turnwise.types import Task

Lists = list[list[int]]
Verdict = int | None
"""The value, None if a rule is broken."""


def subset(lists: Lists, count: int) -> set[int] | None:
    """One list of different labels from 1 to `count`."""
    if len(lists) != 1 or len(lists[0]) != len(set(lists[0])) or not set(lists[0]) <= set(range(1, count + 1)):
        return None
    return set(lists[0])


def parted(lists: Lists, count: int) -> bool:
    return sorted(x for xs in lists for x in xs) == list(range(1, count + 1)) and all(lists)


def tsp(m: Any, lists: Lists) -> Verdict:
    if len(lists) != 1 or not parted(lists, len(m["cities"])):
        return None
    ends = zip(lists[0], lists[0][1:] + lists[0][:1], strict=True)
    return sum(abs(m["cities"][a - 1][i] - m["cities"][b - 1][i]) for a, b in ends for i in (0, 1))


def knapsack(m: Any, lists: Lists) -> Verdict:
    items = subset(lists, len(m["weights"]))
    if items is None or sum(m["weights"][i - 1] for i in items) > m["capacity"]:
        return None
    return sum(m["values"][i - 1] for i in items)


def subset_sum(m: Any, lists: Lists) -> Verdict:
    labels = subset(lists, len(m["values"]))
    total = None if labels is None else sum(m["values"][i - 1] for i in labels)
    return total if total is not None and total <= m["target"] else None


def set_cover(m: Any, lists: Lists) -> Verdict:
    chosen = subset(lists, len(m["sets"]))
    if chosen is None or {x for i in chosen for x in m["sets"][i - 1]} != set(range(1, m["elements"] + 1)):
        return None
    return len(chosen)


def independent_set(m: Any, lists: Lists) -> Verdict:
    chosen = subset(lists, m["vertices"])
    return None if chosen is None or any({a, b} <= chosen for a, b in m["edges"]) else len(chosen)


def colouring(m: Any, lists: Lists) -> Verdict:
    fine = parted(lists, m["vertices"]) and not any(a in xs and b in xs for xs in lists for a, b in m["edges"])
    return len(lists) if fine else None


def hamiltonian(m: Any, lists: Lists) -> Verdict:
    edges = {frozenset(edge) for edge in m["edges"]}
    if subset(lists, m["vertices"]) is None or any(frozenset(e) not in edges for e in pairwise(lists[0])):
        return None
    return len(lists[0]) + (len(lists[0]) == m["vertices"] and frozenset((lists[0][0], lists[0][-1])) in edges)


def bins(m: Any, lists: Lists) -> Verdict:
    fine = parted(lists, len(m["sizes"])) and all(sum(m["sizes"][i - 1] for i in xs) <= m["capacity"] for xs in lists)
    return len(lists) if fine else None


def max_sat(m: Any, lists: Lists) -> Verdict:
    if len(lists) != 1 or sorted(map(abs, lists[0])) != list(range(1, m["variables"] + 1)):
        return None
    return sum(not set(clause) & set(lists[0]) for clause in m["clauses"])


def job_shop(m: Any, lists: Lists) -> Verdict:
    """Start times by moving every part back until nothing is violated any more; no plan is longer than all parts together."""
    jobs = m["jobs"]
    if len(lists) != len(jobs[0]) or any(sorted(xs) != list(range(1, len(jobs) + 1)) for xs in lists):
        return None
    time = {(j, machine): t for j, job in enumerate(jobs, 1) for machine, t in job}
    before = [((j, a), (j, b)) for j, job in enumerate(jobs, 1) for (a, _), (b, _) in pairwise(job)]
    before += [((a, i), (b, i)) for i, xs in enumerate(lists, 1) for a, b in pairwise(xs)]
    start = dict.fromkeys(time, 0)
    while late := [(one, other) for one, other in before if start[other] < start[one] + time[one]]:
        for one, other in late:
            start[other] = max(start[other], start[one] + time[one])
        if max(start.values()) > sum(time.values()):
            return None
    for (j, a), (k, b) in combinations(time, 2):
        if j == k or a == b:
            assert start[j, a] + time[j, a] <= start[k, b] or start[k, b] + time[k, b] <= start[j, a]
    return max(start[part] + time[part] for part in time)


SECOND: dict[str, tuple[Callable[[Any, Lists], Verdict], bool]] = {
    "TSP": (tsp, False),
    "Knapsack": (knapsack, True),
    "SubsetSum": (subset_sum, True),
    "SetCover": (set_cover, False),
    "IndependentSet": (independent_set, True),
    "GraphColouring": (colouring, False),
    "HamiltonianCycle": (hamiltonian, True),
    "BinPacking": (bins, False),
    "MaxSAT": (max_sat, False),
    "JobShop": (job_shop, False),
}
"""Name -> (the second verifier, whether more is better)."""


def made(name: str) -> ProposeAndImprove[Any]:
    env = gymnasium.make(f"turnwise/NP-{name}-v0").unwrapped
    assert isinstance(env, ProposeAndImprove)
    return env


def changed(data: st.DataObject, lists: Lists) -> Lists:
    """A few changes to a proposal."""
    for _ in range(data.draw(st.integers(0, 4))):
        i = data.draw(st.integers(0, len(lists) - 1))
        k = data.draw(st.integers(0, len(lists) - 1))
        a = data.draw(st.integers(0, len(lists[i]) - 1))
        b = data.draw(st.integers(0, len(lists[k]) - 1))
        change = data.draw(st.sampled_from(["swap", "drop", "double", "move", "replace", "negate", "merge", "split", "turn"]))
        if change == "swap":
            lists[i][a], lists[k][b] = lists[k][b], lists[i][a]
        elif change == "drop":
            del lists[i][a]
        elif change == "double":
            lists[k].insert(b, lists[i][a])
        elif change == "move":
            lists[k].insert(min(b, len(lists[k])), lists[i].pop(a))
        elif change == "replace":
            lists[i][a] = data.draw(st.integers(-2, 30))
        elif change == "negate":
            lists[i][a] = -lists[i][a]
        elif change == "merge" and i != k:
            lists[i] += lists[k]
            del lists[k]
        elif change == "split" and a:
            lists[i : i + 1] = [lists[i][:a], lists[i][a:]]
        elif change == "turn":
            lists[i][a:] = lists[i][a:][::-1]
        lists = [xs for xs in lists if xs] or [[1]]
    return lists


@pytest.mark.parametrize("name", SECOND)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_second_verifier_agrees(name: str, data: st.DataObject) -> None:
    verify, more = SECOND[name]
    env = made(name)
    env.reset(seed=data.draw(st.integers(0, 30)), options={"difficulty": data.draw(st.integers(1, 3))})
    optimal = [list(labels) for labels in env._optimal]
    optimum, beat = env._optimum, env._beat
    assert verify(env.task.metadata, optimal) == optimum
    sign = 1 if more else -1
    best, total = 0.0, 0.0
    for _ in range(3):
        if not env._playing:
            break
        wild = data.draw(st.lists(st.lists(st.integers(-1, 12), min_size=1, max_size=12), min_size=1, max_size=4))
        lists = changed(data, [list(labels) for labels in optimal]) if data.draw(st.integers(0, 9)) else wild
        observation, reward, terminated, _, info = env.step(f"<answer>{written(lists)}</answer>")
        total += reward
        value = verify(env.task.metadata, lists)
        if value is None:
            assert (reward, terminated, info["outcome"]) == (0.0, False, best)
            assert not observation.startswith("Feasible")
            continue
        assert observation.startswith("Feasible: ") and sign * value <= sign * optimum
        share = min(max((value - beat) / (optimum - beat), 0.0), 1.0)
        assert max(best, share) - 1 / 1024 <= info["outcome"] <= max(best, share)
        assert terminated == (value == optimum) == (info["outcome"] == 1.0) == ("solved" in info["reward_terms"])
        assert reward == sum(info["reward_terms"].values())
        best = info["outcome"]
    assert total == (1.0 if best == 1.0 else best / 2)


def rewards(env: ProposeAndImprove[Any], *replies: str) -> list[float]:
    env.reset(options={"task": env.task})
    return [env.step(reply)[1] for reply in replies]


def test_hole_1_a_short_cycle_is_no_hamiltonian_cycle() -> None:
    """NP-Engine takes [0] and [0, 1, 0]: no vertex but those that are named is looked for."""
    task = Task("x", "p", "1 2 3 4", 1, {"vertices": 4, "edges": [[1, 2], [2, 3], [3, 4], [1, 4], [1, 3]], "beat": 4})
    env = made("HamiltonianCycle")
    env.reset(options={"task": task})
    assert rewards(env, "1", "1 2 1", "1 2 3", "1 2 3 1", "1 3", "2 3 4 1 2", "2 1 3 4", "2 2 2 2") == [0.0] * 8
    assert rewards(env, "2 1 4 3") == [1.0]


def test_hole_2_a_number_counts_once() -> None:
    """[0, 0, 0] is no way to make 9 of one 3."""
    task = Task("x", "p", "1 2 3", 1, {"values": [3, 2, 4, 8], "target": 9, "beat": 8})
    env = made("SubsetSum")
    env.reset(options={"task": task})
    assert rewards(env, "1 1 1", "3 3 -1", "1 2 2 2", "4 1", "4", "1 3") == [0.0] * 6
    assert rewards(env, "3 2 1") == [1.0]


def test_hole_3_nothing_is_done_or_counted_twice_and_nobody_is_in_two_places() -> None:
    """The same meeting twice, attendees in two rooms at once: here an item in two bins, a job twice on a machine or on two."""
    packing = Task("x", "p", "1 2; 3 4", 1, {"sizes": [6, 4, 7, 3], "capacity": 10, "beat": 3})
    env = made("BinPacking")
    env.reset(options={"task": packing})
    assert rewards(env, "1 2; 3 4 4", "1 2; 3", "1 2; 3 4; 1", "1; 3 4", "1 2 4; 3") == [0.0] * 5
    shop = Task("x", "p", "1 2; 2 1", 1, {"jobs": [[[1, 3], [2, 3]], [[2, 3], [1, 3]]], "beat": 9})
    env = made("JobShop")
    env.reset(options={"task": shop})
    assert rewards(env, "1 1 2; 2 1", "1; 2", "1 2", "1 2; 2 1; 1 2", "2 1; 1 2") == [0.0] * 5
    assert env.value(env._instance, ((1, 2), (2, 1))) == 6, "each job is on one machine at a time"
    assert env.value(env._instance, ((1, 2), (1, 2))) == 12


def test_hole_4_no_vertex_counts_twice_and_nothing_is_evaluated() -> None:
    task = Task("x", "p", "1 3", 1, {"vertices": 3, "edges": [[1, 2], [2, 3]], "beat": 1})
    env = made("IndependentSet")
    env.reset(options={"task": task})
    attacks = ("1 1", "1, 1, 1", "[v for v in (1, 3)]", "list({1, 3})", "[1] + [3]", "open('x', 'w')", "__import__('os').abort()")
    assert rewards(env, *attacks[:5]) == [0.0] * 5 and rewards(env, *attacks[5:]) == [0.0] * 2
    for file in Path(turnwise.envs.np.propose.__file__).parent.glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"eval", "exec", "compile", "__import__"}, file


@pytest.mark.parametrize("name", SECOND)
def test_hole_5_ratios_are_capped(name: str) -> None:
    """Whoever brings a task of his own with an answer that is not the best cannot make a better one worth more than 1."""
    env = made(name)
    for seed in range(20):
        env.reset(seed=seed)
        step = env.expert_action()
        env.step(step)
        poorer, value = env._best, env._value
        if env._playing and value is not None and value != env._optimum:
            worse = 10**6 if env._beat > env._optimum else 0
            task = Task("x", "p", written(poorer), 1, {**env.task.metadata, "beat": worse})
            best = written(env._optimal)
            env.reset(options={"task": task})
            _, reward, terminated, _, info = env.step(best)
            assert (reward, terminated, info["outcome"]) == (1.0, True, 1.0)
            return
    raise AssertionError("no task whose expert needs two turns")
