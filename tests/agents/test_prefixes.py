"""What texts have in common at their beginnings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from turnwise.agents.prefixes import walk

TEXTS = st.lists(st.lists(st.integers(0, 2) | st.sampled_from([255, 256, 2**31]), max_size=6), max_size=8)


def test_a_walk_through_a_small_forest():
    assert list(walk([[1, 2, 9], [3], [1, 2], [1, 2, 4, 4]])) == [(2, 0), (3, 2), (0, 2), (1, 0)]
    assert list(walk([])) == []
    assert list(walk([[], [7], []])) == [(0, 0), (2, 0), (1, 0)], "equal texts in the order of their numbers"
    assert list(walk([np.array([256]), [255, 1]])) == [(1, 0), (0, 0)], "by value, not by byte"


@given(TEXTS)
def test_each_shares_most_with_the_one_before_it(texts: list[list[int]]):
    order = list(walk(texts))
    assert [texts[number] for number, _ in order] == sorted(texts)
    for at, (number, shared) in enumerate(order):
        before = [texts[earlier] for earlier, _ in order[:at]]
        most = max((_shared(texts[number], other) for other in before), default=0)
        assert shared == most, "so every common beginning is found"


def _shared(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
