"""Children of seeds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.seeds import child

SEED = st.integers(0, 2**63 - 1)


@given(SEED, st.lists(st.one_of(st.integers(0, 2**31), st.text(max_size=5)), max_size=4))
def test_a_child_is_a_seed_and_replays(seed: int, path: list[int | str]) -> None:
    value = child(seed, *path)
    assert 0 <= value < 2**63
    assert value == child(seed, *path)
    np.random.default_rng(value)


def test_literal_values_stay() -> None:
    """Another value here would change every run and every split of it."""
    assert [child(7), child(7, "rollout", 3), child(0, 0)] == [4474668368857168768, 723430887945797290, 8069282888415640982]


def test_neighbours_do_not_meet() -> None:
    seen = {child(seed, name, i) for seed in range(30) for name in ("rollout", "batch") for i in range(30)}
    assert len(seen) == 30 * 2 * 30


def test_the_order_and_the_length_of_a_path_matter() -> None:
    values = [child(1), child(1, 0), child(1, 0, 0), child(1, 0, 1), child(1, 1, 0)]
    assert len(set(values)) == len(values)


def test_bits_are_even() -> None:
    bits = np.array([[child(s, i) >> b & 1 for b in range(63)] for s in range(10) for i in range(50)])
    assert np.abs(bits.mean(0) - 0.5).max() < 0.1


@pytest.mark.parametrize("bad", [-1, "7"])
def test_a_bad_seed_is_an_error(bad: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        child(bad)  # type: ignore[arg-type]
