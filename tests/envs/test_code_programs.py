"""Synthesised programs: right, said once, distinct; bugs that tests find and that mending mends."""

import ast
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from turnwise.envs.code import steps_dynamic
from turnwise.envs.code.bugs import edits, results_of, with_bugs
from turnwise.envs.code.guest import decode, encode
from turnwise.envs.code.inputs import ARGUMENTS, inputs_of
from turnwise.envs.code.plain import same
from turnwise.envs.code.problem import Problem
from turnwise.envs.code.programs import LEVELS, POOLS, draw_program, make_task, problem_of, run_program
from turnwise.envs.code.repairs import BUGS, make_repair, share_passed
from turnwise.envs.code.step import IN, OUT, Kind, Params, Template
from turnwise.envs.core import split_of
from turnwise.envs.draws import Draws

KINDS: tuple[Kind, ...] = ("numbers", "text", "words", "table", "grid", "graph")
TYPES = {"numbers": list, "number": int, "text": str, "words": list, "table": dict, "grid": list, "graph": list}


def draws(seed: int) -> Draws:
    return Draws(np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_works_on_every_input(kind: Kind) -> None:
    """Also on what other steps may hand it; its result has the kind it says, and its input is left alone."""
    for template, seed in itertools.product(POOLS[kind], range(4)):
        step = template(Params(draws(seed)))
        assert IN in step.code and OUT in step.code and step.text.endswith(".") and IN not in step.text
        code = step.code.replace(IN, "given").replace(OUT, "made")
        source = "def f(given):\n" + "\n".join(f"    {line}" for line in code.split("\n")) + "\n    return made\n"
        examples, hidden = inputs_of(kind, draws(seed + 100))
        for _, value in (*examples, *hidden):
            before = repr(value)
            (made,) = run_program(source, "f", [value])
            assert type(made) is TYPES[step.out] and repr(value) == before, (template, value)
            assert same(encode(decode(encode(made))), encode(made))


def test_inputs_have_edges_and_are_distinct_from_the_examples() -> None:
    for kind in KINDS:
        examples, hidden = inputs_of(kind, draws(0))
        assert len(examples) == 3 and 10 <= len(hidden) <= 15
        assert any(not value for _, value in hidden) and len({label for label, _ in hidden}) > 5
        assert all(value not in [v for _, v in examples] for _, value in hidden)
        assert kind in ARGUMENTS


@pytest.mark.parametrize("level", LEVELS)
def test_tasks_are_whole_and_their_solutions_pass(level: int) -> None:
    rng = np.random.default_rng(level)
    tasks = [make_task(rng, level, "test" if i % 2 else "train") for i in range(60)]
    assert len({task.id for task in tasks}) == len({task.prompt for task in tasks}) == 60
    for i, task in enumerate(tasks):
        problem = Problem.of_json(task.metadata["problem"])
        assert split_of(task.id) == ("test" if i % 2 else "train")
        assert task.answer == problem.solution and problem.floor < 1.0 and len(problem.tests) >= 10
        assert share_passed(problem, problem.solution) == 1.0
        assert len([line for line in task.prompt.split("\n") if line[:1].isdigit()]) == LEVELS[level]
        for case in problem.examples:
            assert case.expected == encode(run_program(task.answer, problem.name, decode(case.given))[0])


def test_levels_grow() -> None:
    rng = np.random.default_rng(0)
    sizes = [np.mean([sum(1 for _ in ast.walk(ast.parse(make_task(rng, lv).answer))) for _ in range(40)]) for lv in LEVELS]
    assert sizes == sorted(sizes)


def test_constants_and_unchanged_arguments_stay_at_the_floor() -> None:
    rng = np.random.default_rng(5)
    for level in (1, 3, 6):
        for _ in range(10):
            problem = Problem.of_json(make_task(rng, level).metadata["problem"])
            for constant in ("[]", "0", "''", "{}", "None", "x", *(repr(decode(case.expected)) for case in problem.examples)):
                assert share_passed(problem, f"def {problem.name}(x):\n    return {constant}\n") <= problem.floor


def test_equal_statements_have_equal_tests() -> None:
    program = draw_program(draws(3), 4)
    assert problem_of(program) == problem_of(draw_program(draws(3), 4))


@pytest.mark.parametrize("level", BUGS)
def test_bugs_are_found_by_tests_and_mended_by_the_solution(level: int) -> None:
    rng = np.random.default_rng(level)
    for split in ("train", "test", "train", "test"):
        task = make_repair(rng, level, split)  # pyright: ignore[reportArgumentType]
        problem = Problem.of_json(task.metadata["problem"])
        sources: Sequence[str] = task.metadata["sources"]
        assert split_of(task.id) == split and len(sources) == BUGS[level] + 1 and len(set(sources)) == len(sources)
        shares = [share_passed(problem, source) for source in sources]
        assert all(share < 1.0 for share in shares[:-1]) and shares[-1] == 1.0 and sources[-1] == task.answer
        assert problem.floor >= shares[0] and sources[0] in task.prompt


def test_many_kinds_of_bugs_are_made() -> None:
    rng = np.random.default_rng(0)
    kinds = {edit.kind for _ in range(30) for edit in edits(ast.parse(make_task(rng, 5).answer))}
    assert kinds >= {"comparison", "operator", "off by one", "missing branch", "default argument", "wrong order", "min for max"}
    assert kinds >= {"stops after one round", "ends too early", "not reversed", "missing else", "and for or"}


def test_repairs_are_made_in_many_threads() -> None:
    """CPython 3.11's parser fails where several threads parse at the same time."""

    def made(seed: int) -> str:
        return make_repair(np.random.default_rng(seed), 3).id

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(made, range(24))) == [made(seed) for seed in range(24)]


def test_a_bug_that_does_not_end_is_stopped() -> None:
    source = (
        "def f(x):\n    queue, seen = [1], {1}\n    for i in queue:\n        if i not in seen:\n            queue.append(i)\n"
    )
    place = next(i for i, edit in enumerate(edits(ast.parse(source))) if edit.kind == "comparison")
    assert results_of(with_bugs(source, [place]), "f", [[0]]) == [{"error": "_Endless"}]
    assert results_of(source, "f", [[0]]) == [None]


# --- dynamic programming against trying everything --------------------------------------------------------------------


def every_choice(xs: Sequence[int]) -> list[list[int]]:
    return [[i for i in range(len(xs)) if mask >> i & 1] for mask in range(2 ** len(xs))]


def best_blocks(p: Params, xs: list[int]) -> int:
    add, at_least = p(-6, 6), p.pick((True, False))
    found = [sum(x + add for x in xs[i:j]) for i in range(len(xs)) for j in range(i + 1, len(xs) + 1)]
    return max(found or [0]) if at_least else max([0, *found])


def longest_rising(p: Params, xs: list[int]) -> Any:
    gap, ends = p(0, 12), p.pick((True, False))
    chosen = [c for c in every_choice(xs) if c and all(xs[i] + gap < xs[j] for i, j in itertools.pairwise(c))]
    if ends:
        return [max(len(c) for c in chosen if c[-1] == i) for i in range(len(xs))]
    return max((len(c) for c in chosen), default=0)


def most_apart(p: Params, xs: list[int]) -> int:
    gap, cost = p(1, 3), p(0, 9)
    return max(sum(xs[i] - cost for i in c) for c in every_choice(xs) if all(j - i > gap for i, j in itertools.pairwise(c)))


def cheapest_jumps(p: Params, xs: list[int]) -> int:
    far, extra = p(2, 4), p(1, 20)
    ways = [c for c in every_choice(xs) if c and c[0] == 0 and c[-1] == len(xs) - 1]
    ways = [c for c in ways if all(j - i <= far for i, j in itertools.pairwise(c))]
    costs = [sum(abs(xs[i]) for i in c) + sum(extra for i, j in itertools.pairwise(c) if j - i > 1) for c in ways]
    return min(costs, default=0)


def fullest(p: Params, xs: list[int]) -> int:
    size, m = p(20, 70), p(3, 9)
    fitting = [c for c in every_choice(xs) if sum(abs(xs[i]) % 20 + 1 for i in c) <= size]
    return max(sum(xs[i] % m + 1 for i in c) for c in fitting)


def best_trades(p: Params, xs: list[int]) -> int:
    fee, pause = p(1, 12), p.pick((True, False))
    chosen = [c for c in every_choice(xs) if len(c) % 2 == 0]
    if pause:
        chosen = [c for c in chosen if all(c[k + 1] - c[k] >= 2 for k in range(1, len(c) - 1, 2))]
    return max(sum(xs[c[k + 1]] - xs[c[k]] - fee for k in range(0, len(c), 2)) for c in chosen)


@pytest.mark.parametrize(
    ("template", "oracle"),
    [
        (steps_dynamic.best_block, best_blocks),
        (steps_dynamic.rising, longest_rising),
        (steps_dynamic.apart, most_apart),
        (steps_dynamic.jumps, cheapest_jumps),
        (steps_dynamic.filling, fullest),
        (steps_dynamic.trades, best_trades),
    ],
)
def test_dynamic_programs_agree_with_trying_everything(template: Template, oracle: Callable[[Params, list[int]], Any]) -> None:
    for seed in range(12):
        code = template(Params(draws(seed))).code.replace(IN, "given").replace(OUT, "made")
        source = "def f(given):\n" + "\n".join(f"    {line}" for line in code.split("\n")) + "\n    return made\n"
        numbers = np.random.default_rng(seed)
        for size in (0, 1, 2, 5, 8):
            xs = [int(x) for x in numbers.integers(-20, 30, size)]
            assert run_program(source, "f", [xs]) == [oracle(Params(draws(seed)), xs)], (seed, xs)
