"""Synthesised programs: right, said once, distinct; bugs that tests find and that mending mends."""

import ast
import itertools
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from turnwise.envs.code import steps_dynamic
from turnwise.envs.code.bugs import bugs_of, runner_of, with_bugs
from turnwise.envs.code.guest import decode, encode
from turnwise.envs.code.inputs import ARGUMENTS, inputs_of
from turnwise.envs.code.parts import PARTS, make_task
from turnwise.envs.code.plain import same, show
from turnwise.envs.code.problem import Problem
from turnwise.envs.code.programs import POOLS, draw_program, examples_for, problem_of, run_program
from turnwise.envs.code.reference import function_of
from turnwise.envs.code.repairs import BUGS, make_repair, share_passed
from turnwise.envs.code.step import IN, OUT, Kind, Params, Step, Template
from turnwise.envs.core import split_of
from turnwise.envs.draws import Draws
from turnwise.types import Task

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


def problems(task: Task) -> list[Problem]:
    """Those of all parts."""
    parts = task.metadata["parts"]
    return [problem_of(part, [earlier["source"] for earlier in parts[:i]]) for i, part in enumerate(parts)]


@pytest.mark.parametrize("level", PARTS)
def test_tasks_are_whole_and_their_solutions_pass(level: int) -> None:
    rng = np.random.default_rng(level)
    tasks = [make_task(rng, level, "test" if i % 2 else "train") for i in range(40)]
    assert len({task.id for task in tasks}) == len({task.prompt for task in tasks}) == 40
    for i, task in enumerate(tasks):
        assert split_of(task.id) == ("test" if i % 2 else "train") and json.loads(json.dumps(task.metadata)) == task.metadata
        found = problems(task)
        assert task.answer == "\n\n".join(problem.solution for problem in found) and len(found) == level
        assert len({problem.name for problem in found}) == level
        for number, problem in enumerate(found):
            assert problem.floor < 1.0 and len(problem.tests) >= 10
            for case in (*problem.examples, *problem.tests):
                assert same(encode(run_program(task.answer, problem.name, decode(case.given))[0]), case.expected)
            statement: str = task.metadata["parts"][number]["statement"]
            steps = [line for line in statement.split("\n") if line[:1].isdigit()]
            assert len(steps) == PARTS[level][number] + (number > 0)
            called = [other.name for other in found if f"`{other.name}` of part {found.index(other) + 1}." in statement]
            assert (not called) is (number == 0) and all(name in problem.solution for name in called)


def test_what_the_first_observation_shows_is_what_the_solution_gives() -> None:
    rng = np.random.default_rng(11)
    for level in PARTS:
        for _ in range(30):
            task = make_task(rng, level)
            first = problems(task)[0]
            for case in first.examples:
                call = f"{first.name}({show(case.given[0], 1000)}) == {show(case.expected, 1000)}"
                assert call in task.prompt


def test_steps_run_without_compiling_give_what_the_source_gives() -> None:
    d = draws(9)
    for count in (2, 3, 5):
        for _ in range(60):
            program = draw_program(d, count, dynamic=count == 5)
            values = [value for _, value in (*examples_for(program), *inputs_of(program.kind, d)[1])]
            quick = function_of(program.steps, {})
            assert run_program(program.source, program.name, values) == [quick(value) for value in values]


def test_literals_are_told_from_names() -> None:
    step = Step("Test.", "k2 = 'a1b2'\nOUT_ = [x2 + 10 for x2 in IN_ if x2 != 3] + [len(k2), 0]", "numbers", "made")
    assert function_of([step, step], {})([1, 3, 5]) == [21, 25, 14, 10, 4, 0]
    call = Step("Test.", "OUT_ = [first(item) for item in IN_]", "numbers", "made")
    assert function_of([call], {"first": lambda x: x * 7})([1, 2]) == [7, 14]


def test_levels_grow() -> None:
    rng = np.random.default_rng(0)
    sizes = [np.mean([sum(1 for _ in ast.walk(ast.parse(make_task(rng, lv).answer))) for _ in range(40)]) for lv in PARTS]
    assert sizes == sorted(sizes)


def test_later_parts_call_earlier_ones_in_every_way() -> None:
    rng = np.random.default_rng(2)
    sources = "\n".join(make_task(rng, 6).answer for _ in range(20))
    assert re.search(r"made = \w+\(\w+\)", sources) and re.search(r"made = \[\w+\(item\) for item in \w+\]", sources)


def test_constants_and_unchanged_arguments_stay_at_the_floor() -> None:
    rng = np.random.default_rng(5)
    for level in (1, 3, 6):
        for _ in range(6):
            for problem in problems(make_task(rng, level)):
                shown = {repr(decode(case.expected)) for case in problem.examples}
                assert len(shown) > 1  # so that no constant can ever be right
                for constant in ("[]", "0", "''", "{}", "None", "x", *shown):
                    assert share_passed(problem, f"def {problem.name}(x):\n    return {constant}\n") <= problem.floor


def test_equal_statements_have_equal_tests() -> None:
    program, again = draw_program(draws(3), 4), draw_program(draws(3), 4)
    assert problem_of(program.as_json()) == problem_of(again.as_json())


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
    d = draws(0)
    kinds = {bug.kind for _ in range(30) for bug in bugs_of(draw_program(d, 6, dynamic=True).source)}
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
    bug = next(bug for bug in bugs_of(source) if bug.kind == "comparison")
    assert with_bugs(source, [bug]) != source
    assert runner_of(source, [bug], "f")([0]) == {"error": "_Endless"}
    assert runner_of(source, [], "f")([0]) is None


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
