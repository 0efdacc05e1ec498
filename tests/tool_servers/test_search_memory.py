"""The index in memory: the formula by hand, the same ranks as tantivy, ties, any text as a query."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.errors import ConfigError
from turnwise.tool_servers.search.corpus import Document
from turnwise.tool_servers.search.index import open_index
from turnwise.tool_servers.search.memory import MemoryIndex

PAGES = (
    Document("a", "Heron", "the heron eats the fish"),
    Document("b", "Fish", "fish fish fish"),
    Document("c", "Boat", "a boat on the lake, without anything to eat"),
)


def test_the_formula_by_hand() -> None:
    """Two of three documents hold "fish": 1 of 6 words, and 4 of 4; the third has 10 words."""
    rarity = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = (6 + 4 + 10) / 3
    scores = {name: rarity * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * size / mean)) for name, f, size in (("a", 1, 6), ("b", 4, 4))}
    hits = MemoryIndex(PAGES).search("fish", 5)
    assert [hit.id for hit in hits] == ["b", "a"]
    assert [hit.score for hit in hits] == pytest.approx([scores["b"], scores["a"]], rel=1e-5)


def test_titles_count_case_and_punctuation_do_not() -> None:
    index = MemoryIndex(PAGES)
    assert [hit.id for hit in index.search("HERON!", 5)] == ["a"]
    assert [hit.id for hit in index.search("lake-boat", 5)] == ["c"]
    assert index.search("fish fish", 5) == index.search("fish", 5)
    assert index.search("nothing here", 5) == ()
    assert [hit.id for hit in index.search("the", 1)] == ["a"]


def test_accents_and_chinese() -> None:
    index = MemoryIndex([Document("1", "Röntgen", "café"), Document("2", "", "北京大学"), Document("3", "", "cafes")])
    assert [hit.id for hit in index.search("rontgen CAFE", 5)] == ["1"]
    assert [hit.id for hit in index.search("大学", 5)] == ["2"]


def test_equal_documents_tie_and_stand_in_the_order_of_their_ids() -> None:
    pages = [Document(f"{number}", "", "one two three four five six seven") for number in (3, 1, 2, 0)]
    hits = MemoryIndex(pages).search("seven three one", 4)
    assert [hit.id for hit in hits] == ["0", "1", "2", "3"]
    assert len({hit.score for hit in hits}) == 1
    assert [hit.id for hit in MemoryIndex(pages).search("three one seven", 2)] == ["0", "1"]


def test_the_same_documents_rank_as_tantivy_ranks_them(tmp_path: Path) -> None:
    """tantivy rounds the lengths of documents, so scores and close calls differ a little; the best does not."""
    rng = np.random.default_rng(0)
    words = [f"w{word}" for word in np.minimum(rng.zipf(1.4, 30_000), 2_000)]
    pages = [Document(f"{number:03}", "", " ".join(words[100 * number : 100 * number + 100])) for number in range(300)]
    ours, theirs = MemoryIndex(pages), open_index(pages, tmp_path, engine="tantivy")
    same = 0
    for _ in range(100):
        query = " ".join(f"w{word}" for word in rng.integers(5, 300, 4))
        left, right = ours.search(query, 10), theirs.search(query, 10)
        assert {hit.id for hit in left[:1]} <= {hit.id for hit in right[:3]}
        same += len({hit.id for hit in left} & {hit.id for hit in right}) == len(left)
        by_id = {hit.id: hit for hit in right}
        for hit in left:
            if hit.id in by_id:
                assert hit.score == pytest.approx(by_id[hit.id].score, rel=0.1)
                assert hit.snippet == by_id[hit.id].snippet
    assert same > 80
    assert ours.digest == theirs.digest
    theirs.close()


@settings(max_examples=100, deadline=None)
@given(query=st.text(max_size=80), k=st.integers(-3, 300))
def test_any_text_is_a_query(query: str, k: int) -> None:
    index = MemoryIndex(PAGES)
    hits = index.search(query, k)
    assert len(hits) <= max(0, k)
    assert list(hits) == sorted(hits, key=lambda hit: (-hit.score, hit.id))


def test_documents_by_id() -> None:
    index = MemoryIndex(iter(PAGES))
    assert (len(index), index.document("b"), index.document("z")) == (3, PAGES[1], None)
    assert copy.deepcopy(index) is index
    index.close()
    assert len(index.search("fish", 5)) == 2


def test_wrong_documents() -> None:
    with pytest.raises(ConfigError, match="at least one document"):
        MemoryIndex([])
    with pytest.raises(ConfigError, match="stands there twice"):
        MemoryIndex([PAGES[0], PAGES[0]])
