"""benchmarks/evidence.py: every method can be played in its arenas, and what the table says of made-up runs."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def evidence():
    """The three modules (arenas, table, runs); scripts find one another by the folder they lie in."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield [_loaded(name) for name in ("evidence_arenas", "evidence_table", "evidence")]
    finally:
        sys.path.remove(str(BENCHMARKS))


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_method_can_be_played_in_its_arenas(evidence: list[ModuleType]):
    arenas, _, runs = evidence
    for method in arenas.METHODS.values():
        assert set(method.arenas) <= arenas.ARENAS.keys()
        for arena in arenas.ARENAS.values():
            recipe = runs.recipe_of(method, arena, 3, Path("start"))
            assert recipe.env == (arena.env,) and recipe.seed == 3 and recipe.policy.path == "start"
            assert recipe.tasks_per_step * recipe.rollout.size == arena.episodes, "as many episodes a step as the others"


def run(arena: str, method: str, seed: int, *points: tuple[int, int]) -> dict[str, object]:
    """`points` are (tokens, right of 100)."""
    marks = [{"tokens": t, "tool_calls": t // 10, "steps": t // 1000, "right": r, "tasks": 100} for t, r in points]
    return {"arena": arena, "method": method, "seed": seed, "points": marks}


def test_the_area_is_the_mean_over_the_budget(evidence: list[ModuleType]):
    _, table, _ = evidence
    assert table.area(run("a", "m", 0, (0, 0), (100, 100)), 100) == pytest.approx(0.5)
    assert table.area(run("a", "m", 0, (0, 0), (50, 50)), 100) == pytest.approx(0.375), "what it ended with holds"
    assert table.area(run("a", "m", 0, (0, 20), (60, 20), (140, 20)), 100) == pytest.approx(0.2), "and not beyond the budget"


def test_between_two_points_success_is_straight(evidence: list[ModuleType]):
    _, table, _ = evidence
    made = run("a", "m", 0, (0, 0), (100, 50), (200, 60))
    assert [table.at(made, tokens) for tokens in (0, 50, 100, 150, 300)] == pytest.approx([0.0, 0.25, 0.5, 0.55, 0.6])


def test_a_method_on_half_the_calls_is_compared_at_as_many_tokens(evidence: list[ModuleType]):
    _, table, _ = evidence
    base, half = run("lookup", "grpo", 0, (0, 0), (1000, 80)), run("lookup", "arpo_half", 0, (0, 0), (500, 60))
    (line,) = table.on_a_share([base, half])
    assert "spent 50% of" in line and "differs by 0.200, against" in line and line.endswith("budget by -0.200.")
    assert table.on_a_share([half]) == [], "nothing to compare with"


def test_intervals_are_students(evidence: list[ModuleType]):
    _, table, _ = evidence
    assert table.interval([0.5]) == "0.500"
    assert table.interval([0.4, 0.5, 0.6]) == "0.500 ± 0.248", "4.303 * 0.1 / sqrt 3"
    assert table.difference({0: 0.5, 1: 0.9}, {0: 0.4, 1: 0.7, 2: 0.0}) == "+0.150 ± 0.635", "on the seeds that both have"
    assert table.difference({0: 0.1}, {0: 0.4}) == "-0.300" and table.difference({0: 0.1}, {1: 0.4}) == "-"


def test_the_table_puts_the_baseline_first(evidence: list[ModuleType]):
    arenas, table, _ = evidence
    tokens = arenas.ARENAS["long"].tokens
    rows = [run("long", m, s, (0, 0), (tokens, right)) for s in (0, 1) for m, right in (("igpo", 40), ("grpo", 20))]
    lines = table.table("long", rows).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| `grpo`", "| `igpo`"]
    assert "| 2 | 0.400 ± 0.000 | 0.335 to 0.469 | 0.200 ± 0.000 | +0.200 ± 0.000 | +0.100 ± 0.000 | 120.0 k |" in lines[3]
