"""MaskedSearch: what an answer fills in, what each mask earns, and the expert's way."""

import re

import pytest

from turnwise.envs.search.masked_search import MaskedSearch, read_fills
from turnwise.envs.search.passages import LEVELS
from turnwise.errors import ConfigError


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


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="progress must be from 0 to 1"):
        MaskedSearch(progress=-0.1)
    with pytest.raises(ConfigError, match="1 to 7"):
        MaskedSearch(difficulty=9)
