"""TextSpace: any string of bounded length, seeded, and known to Gymnasium's vector environments."""

import pickle
from typing import Any

import pytest
from gymnasium.error import CustomSpaceError
from gymnasium.spaces import Dict, Discrete, Text
from gymnasium.vector.utils import batch_space, create_shared_memory
from hypothesis import given
from hypothesis import strategies as st

from turnwise.envs import TextSpace


@given(st.text(alphabet=st.characters(), max_size=50))
def test_every_string_is_inside(text: str) -> None:
    assert text in TextSpace()
    assert (text in TextSpace(10)) == (len(text) <= 10)


@pytest.mark.parametrize("other", [b"bytes", 3, None, ["a"]])
def test_nothing_else_is(other: Any) -> None:
    assert other not in TextSpace()


def test_samples_are_seeded_and_inside() -> None:
    one, two, third = TextSpace(7), TextSpace(7), TextSpace(7)
    one.seed(3), two.seed(3), third.seed(4)
    samples = [one.sample() for _ in range(200)]
    assert samples == [two.sample() for _ in range(200)]
    assert samples != [third.sample() for _ in range(200)]
    assert all(sample in one for sample in samples)
    assert {len(sample) for sample in samples} == set(range(8))


@pytest.mark.parametrize("arguments", [{"mask": 1}, {"probability": 1}])
def test_masks_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="masks are not supported"):
        TextSpace().sample(**arguments)


def test_json_pickle_and_equality() -> None:
    space = TextSpace(9)
    texts = ["", "é\n", "🙂"]
    assert space.from_jsonable(space.to_jsonable(texts)) == texts
    assert pickle.loads(pickle.dumps(space)) == space == TextSpace(9) != TextSpace(8)
    assert repr(space) == "TextSpace(9)" and space != Text(9)


def test_it_nests_and_batches() -> None:
    nested = Dict(text=TextSpace(5), choice=Discrete(2), seed=1)
    assert nested.sample() in nested
    batch = batch_space(TextSpace(5), 3)
    assert len(batch.sample()) == 3


def test_shared_memory_refuses_it_instead_of_corrupting() -> None:
    assert not isinstance(TextSpace(), Text)
    with pytest.raises(CustomSpaceError, match="TextSpace"):
        create_shared_memory(TextSpace(), 2)
