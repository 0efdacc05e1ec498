"""Comparing results: worked examples, all orders of small tables by brute force, and tables made to be slow."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.tool_servers.sql import compare
from turnwise.tool_servers.sql.compare import Table, difference


def table(rows: Sequence[Sequence[Any]], width: int | None = None) -> Table:
    count = len(rows[0]) if width is None else width
    return Table(tuple(f"c{i}" for i in range(count)), tuple(tuple(row) for row in rows))


@pytest.mark.parametrize(
    ("gold", "other", "same"),
    [
        ([[1, "a"], [2, "b"]], [[2, "b"], [1, "a"]], True),
        ([[1, "a"], [2, "b"]], [["b", 2], ["a", 1]], True),
        ([[1, "a"], [2, "b"]], [[1, "b"], [2, "a"]], False),
        ([[1], [1], [2]], [[1], [2], [2]], False),
        ([[1], [1]], [[1]], False),
        ([[1]], [[1, 1]], False),
        ([[1, 2]], [[1, 2, 3]], False),
        ([[None]], [[None]], True),
        ([[None]], [[0]], False),
        ([[None]], [[""]], False),
        ([[1]], [[1.0]], True),
        ([[1]], [[True]], True),
        ([[1]], [["1"]], False),
        ([["a"]], [[b"a"]], False),
        ([["a"]], [["A"]], False),
        ([[0.1 + 0.2]], [[0.3]], True),
        ([[0.3]], [[0.3001]], False),
        ([[1e9]], [[1e9 + 0.5]], True),
        ([[10**9]], [[10**9 + 1]], False),
        ([[2**63 - 1]], [[2**63 - 2]], False),
        ([[float("inf")]], [[float("inf")]], True),
        ([[float("inf")]], [[1e308]], False),
        ([[0.0]], [[-0.0]], True),
        ([[10**400]], [[1.5]], False),
        ([], [], True),
    ],
)
def test_values_and_shapes(gold: list[Any], other: list[Any], same: bool) -> None:
    width = 1 if not gold else None
    assert (difference(table(gold, width), table(other, width)) == "") is same


def test_an_empty_result_still_has_columns() -> None:
    assert difference(table([], 2), table([], 2)) == ""
    assert difference(table([], 2), table([], 3)) == "3 columns instead of 2"


def test_json_cells() -> None:
    cells = [{"blob": "00"}, {"float": "inf"}, {"float": "nan"}, {"decimal": "1.50"}, {"decimal": "3"}, [1, [None]], None]
    made = Table.of({"columns": ["a"] * 7, "rows": [cells]})
    assert made.rows == ((("blob", "00"), float("inf"), ("float", "nan"), 1.5, 3, (1, (None,)), None),)
    assert difference(made, made) == ""


def test_a_prediction_cannot_bridge_gold_values() -> None:
    gold = table([[1.0], [1.0 + 3e-9]])
    assert difference(gold, table([[1.0 + 1.5e-9], [1.0 + 1.5e-9]])) != ""
    assert difference(gold, table([[1.0 + 5e-10], [1.0 + 3.5e-9]])) == ""


def test_rows_move_only_within_their_place() -> None:
    gold, places = table([[3, "x"], [2, "a"], [2, "b"], [1, "y"]]), (0, 1, 1, 2)
    assert difference(gold, table([[3, "x"], [2, "b"], [2, "a"], [1, "y"]]), places) == ""
    assert difference(gold, table([["x", 3], ["b", 2], ["a", 2], ["y", 1]]), places) == ""
    assert difference(gold, table([[2, "a"], [3, "x"], [2, "b"], [1, "y"]]), places) != ""
    assert difference(gold, table([[1, "y"], [2, "b"], [2, "a"], [3, "x"]]), places) != ""


def test_columns_stay_without_permute() -> None:
    assert difference(table([[1, 2]]), table([[2, 1]]), permute=False) == "the rows differ"


small = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.integers(0, 2), min_size=n, max_size=n), min_size=1, max_size=5),
        st.permutations(range(n)),
        st.randoms(use_true_random=False),
        st.booleans(),
    )
)


@settings(deadline=None, max_examples=300)
@given(small)
def test_as_brute_force_over_all_orders(case: Any) -> None:
    rows, order, random, spoil = case
    other = [[row[j] for j in order] for row in rows]
    random.shuffle(other)
    if spoil:
        other[0][0] = (other[0][0] + 1) % 3
    count = Counter(map(tuple, rows))
    truth = any(count == Counter(tuple(row[j] for j in p) for row in other) for p in permutations(range(len(rows[0]))))
    assert (difference(table(rows), table(other)) == "") is truth


def _shuffled(rows: Any, rng: np.random.Generator) -> list[list[Any]]:
    array = np.array(rows)
    return array[rng.permutation(len(array))][:, rng.permutation(array.shape[1])].tolist()


HARD: dict[str, Callable[[np.random.Generator], Any]] = {
    "bits": lambda rng: rng.integers(0, 2, (300, 20)),
    "equal columns": lambda rng: np.repeat(rng.integers(0, 9, (300, 1)), 20, axis=1),
    "one histogram": lambda rng: np.stack([rng.permutation(300) for _ in range(20)], axis=1),
    "latin square": lambda rng: (np.arange(20)[:, None] + np.arange(20)) % 20,
    "identity": lambda rng: np.eye(20, dtype=int),
    "all alike": lambda rng: np.zeros((300, 20), int),
    "floats": lambda rng: rng.random((300, 20)),
}


@pytest.mark.parametrize("name", HARD)
def test_twenty_columns_made_to_be_slow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = HARD[name](rng)
    monkeypatch.setattr(compare, "TRIES", 2 * 20)
    assert difference(table(rows.tolist()), table(_shuffled(rows, rng))) == ""
    spoiled = _shuffled(rows, rng)
    spoiled[0][3] = 77
    assert difference(table(rows.tolist()), table(spoiled)) == "the rows differ", "decided, not given up"


def test_bounded_where_columns_cannot_be_told_apart() -> None:
    """Two graphs that refinement never tells apart: the verdict comes, and it is no."""
    cycle = [[int(j in ((i + 1) % 12, (i - 1) % 12)) for j in range(12)] for i in range(12)]
    halves = [[int(i // 6 == j // 6 and (j - i) % 6 in (1, 5)) for j in range(12)] for i in range(12)]
    assert difference(table(cycle), table(halves)) != ""
    assert difference(table(cycle), table(cycle[::-1])) == ""
