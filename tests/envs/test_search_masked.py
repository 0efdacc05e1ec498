"""MaskedSearch: what an answer fills in, what each mask earns, and the expert's way."""

import re
from pathlib import Path

import numpy as np
import pytest

from turnwise.envs.core import split_of
from turnwise.envs.draws import Draws
from turnwise.envs.search.cloze import cloze_of, spans_of
from turnwise.envs.search.masked_search import MaskedSearch, read_fills
from turnwise.envs.search.passages import LEVELS
from turnwise.errors import ConfigError
from turnwise.tool_servers.search.corpus import Document


@pytest.mark.parametrize(
    ("answer", "fills"),
    [
        ("[1] Greenmere [2] 1873", {1: "Greenmere", 2: "1873"}),
        ("[1]: Greenmere\n[2]: 1873", {1: "Greenmere", 2: "1873"}),
        ("[2] = 1873; [1] = Greenmere,", {1: "Greenmere", 2: "1873"}),
        ("1: Greenmere\n2. 1873", {1: "Greenmere", 2: "1873"}),
        ("1) Greenmere; 2) 1873", {1: "Greenmere", 2: "1873"}),
        ("Greenmere\n1873", {1: "Greenmere", 2: "1873"}),
        ("Greenmere; 1873", {1: "Greenmere", 2: "1873"}),
        ("Greenmere", {}),
        ("Greenmere; 1873; 5", {}),
        ("[1] Greenmere [1] Greenmere [2] x", {1: "Greenmere", 2: "x"}),
        ("[1] Greenmere [1] Blackmere [2] x", {1: "", 2: "x"}),
        ("[1]", {1: ""}),
        ("[7] x", {7: "x"}),
        ("[²] x", {}),
        ("", {}),
        ("[1] x" * 2000, {}),
    ],
)
def test_fills(answer: str, fills: dict[int, str]) -> None:
    assert read_fills(answer, 2) == fills


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_each_right_mask_is_progress_and_all_of_them_are_solving(progress: float) -> None:
    env = MaskedSearch(difficulty=4, progress=progress)
    for right in range(5):
        env.reset(seed=1)
        spans = env.task.metadata["spans"]
        answer = " ".join(f"[{i + 1}] {span if i < right else 'something'}" for i, span in enumerate(spans))
        observation, reward, terminated, _, info = env.step(env.format.final(answer))
        solved = right == 4
        assert info["reward_terms"] == {
            "answer": pytest.approx((1 - progress) * solved),
            "progress": pytest.approx(progress * right / 4),
        }
        assert reward == pytest.approx(sum(info["reward_terms"].values()))
        assert (terminated, info["outcome"]) == (True, right / 4)
        assert observation == ("Correct." if solved else f"{right} of 4 masks are right.")


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_finds_every_page(level: int) -> None:
    env = MaskedSearch(difficulty=level)
    for seed in range(20):
        env.reset(seed=seed)
        assert len(env.task.metadata["spans"]) == LEVELS[level].masks
        while True:
            action = env.expert_action()
            page = re.search(r'"page": "(\d+)"', action)
            assert page is None or page[1] in env.found
            _, reward, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        assert (reward, terminated) == (1.0, True)
        assert env.turn <= 2 * env.task.metadata["reads"] + 1 <= env.turn_limit(env.task)


def test_the_text_is_on_no_page() -> None:
    """At least one sentence of a longer passage is worded as no page words it; none of it gives a mask away."""
    env, together = MaskedSearch(difficulty=5), 0
    for seed in range(20):
        env.reset(seed=seed)
        text, metadata = env.task.prompt, env.task.metadata
        assert not [span for span in metadata["spans"] if re.search(rf"(?<!\w){re.escape(span)}(?!\w)", text)]
        passage = text.split("\n\n")[1]
        for number, span in enumerate(metadata["spans"], 1):
            passage = passage.replace(f"[{number}]", span)
        hits = env.index().search(passage, 20)
        together += any(passage in (env.index().document(hit.id) or pytest.fail("no page")).text for hit in hits)
    assert together == 0


ALPS = """Gretel Ritter founded the Alpine Radio Club in 1931. The club met in Innsbruck, and 47 members came on the first day.
Its station on the Patscherkofel was heard as far as Trondheim. In 1938 the station fell silent. It was rebuilt by Otto Lang."""
SEA = """The Pelican left Bergen on 3 May 1902 with 211 tons of coal. Captain Nils Aas kept the log.
She reached Reykjavik in 9 days. There the crew of Magnus Thor unloaded her. The owners were paid 4,500 crowns."""


def own_pages(folder: Path) -> Path:
    for number, (title, text) in enumerate([("Alpine Radio Club", ALPS), ("The Pelican", SEA)] * 4):
        (folder / f"{title.split()[1]}-{number}.md").write_text(f"# {title}\n\n{text}\n", encoding="utf-8")
    return folder


def test_spans_are_found_by_their_form() -> None:
    text = ALPS.split("\n", 1)[0]
    assert spans_of(text, "Alpine Radio Club") == ["Gretel Ritter", "Innsbruck", "1931", "47"]
    assert spans_of("He came. There Ada and Ada ran 1,204.5 km, in 1904.", "") == ["There Ada", "1,204.5", "1904"]


def test_masks_are_distinct_and_give_the_text_back() -> None:
    draws, document = Draws(np.random.default_rng(0)), Document("x", "Alpine Radio Club", ALPS)
    found = [cloze for _ in range(100) if (cloze := cloze_of(document, 3, draws)) is not None]
    assert len(found) > 20
    assert len({cloze.spans for cloze in found}) > 7
    for cloze in found:
        text = cloze.text
        for number, span in enumerate(cloze.spans, 1):
            assert text.count(f"[{number}]") == 1 and span not in text
            text = text.replace(f"[{number}]", span)
        assert text in " ".join(ALPS.split())
    assert cloze_of(Document("x", "", "nothing to mask here."), 1, draws) is None
    assert cloze_of(Document("x", "", ""), 1, draws) is None


def test_own_documents(tmp_path: Path) -> None:
    env = MaskedSearch(corpus=str(own_pages(tmp_path)), difficulty=2)
    found: dict[str, set[str]] = {"train": set(), "test": set()}
    for split, ids in found.items():
        for seed in range(10):
            observation, _ = env.reset(seed=seed, options={"split": split})
            assert split_of(env.task.id) == split
            assert "[2]" in observation and not [span for span in env.task.metadata["spans"] if f" {span} " in env.task.prompt]
            ids.add(env.task.metadata["document"])
            first = env.fork().step(env.format.final("[1] x [2] y"))
            assert first[1] == 0.0
            rewards = [env.step(env.expert_action())[1] for _ in range(3)]
            assert rewards == [0.0, 0.0, 1.0] or rewards[1] == 0.0
    assert found["train"] and found["test"] and not found["train"] & found["test"]
    again = MaskedSearch(corpus=str(tmp_path), difficulty=2)
    assert again.reset(seed=3)[0] == env.reset(seed=3)[0]


def test_documents_that_hold_too_little(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("In 1938 Otto Lang fell silent. Nothing else is known.", encoding="utf-8")
    env = MaskedSearch(corpus=str(tmp_path), difficulty=7, split=split_of(f"{tmp_path.stem}/short.txt"))
    with pytest.raises(ConfigError, match=r"no passage with 8 masks .* among its 1 \w+ documents; ask for a lower level"):
        env.reset(seed=0)
    with pytest.raises(ConfigError, match="does not exist"):
        MaskedSearch(corpus=str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="give corpus=PATH too"):
        MaskedSearch(cache=str(tmp_path))


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="progress must be from 0 to 1"):
        MaskedSearch(progress=-0.1)
    with pytest.raises(ConfigError, match="1 to 7"):
        MaskedSearch(difficulty=9)
