"""The page as a browser's parser reads it, and the summary as the console shows it."""

import io
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

from rich.console import Console

from turnwise.agents.evaluate import summarize
from turnwise.agents.report import page
from turnwise.agents.summary import summary
from turnwise.types import Failure, Group, Stop, Task, Trajectory, Turn

VOID = {"meta", "input"}


class Reader(HTMLParser):
    """Checks that tags nest, and collects what the tests look at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.shades: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.classes += (given.get("class") or "").split()
        if tag == "i":
            self.shades.append((given["style"] or "", given["title"] or ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def turn(parent: Turn | None = None, **changes: Any) -> Turn:
    fields: dict[str, Any] = {
        "observation": "Where?",
        "context_ids": (1,),
        "action": "ab",
        "action_ids": (7, 8),
        "logprobs": (-2.0, -9.0),
        "entropies": (0.5, 1.0),
        "reward": 0.25,
        "reward_terms": {"answer": 0.25},
        "outcome": 0.0,
        "valid": True,
        "tool_calls": 0,
        "stop_reason": "stop",
        "version": 3,
        "duration_s": 0.0,
        "parent": parent,
    }
    return Turn(**{**fields, **changes})


def trajectory(leaf: Turn | None, failure: Failure | None = None, prompt: str = "Find it.") -> Trajectory:
    stop = Stop.FAILED if failure else Stop.TERMINATED
    return Trajectory(Task("t", prompt, "42", 2), "turnwise/X-v0", 5, leaf, stop, failure)


def letter(token: int) -> str:
    return {7: "<a>", 8: "b"}[token]


def test_turns_outcomes_and_failures_are_on_the_page() -> None:
    first = turn(tool_calls=1)
    played = [
        trajectory(turn(first, outcome=1.0, reward=1.0)),
        trajectory(turn(valid=False, stop_reason="length")),
        trajectory(None, Failure("sandbox", "fell over")),
    ]
    read = Reader(page(played, title="A run", notes={"agent": "hf:x"}))
    assert read.tags.count("details") == 3 and {"solved", "unsolved", "failed"} <= set(read.classes)
    for text in ("A run", "hf:x", "return 1.25", "2 turns", "1 tool call ", "invalid reply", "cut at the token cap", "fell over"):
        assert text in read.text, text
    assert "answer 0.25" in read.text and "answer 42" in read.text
    assert read.shades == [] and "shade tokens by" not in read.text


def test_the_last_word_of_the_environment_is_shown() -> None:
    ended = replace(trajectory(turn()), final="Correct & done.")
    assert "Correct & done." in Reader(page([ended], title="t")).text


def test_tokens_are_shaded_by_what_is_known_of_them() -> None:
    html = page([trajectory(turn())], title="t", decode=letter, advantages=[[-1.0, 0.5]])
    read = Reader(html)
    assert "<a>b" in read.text and ' id="by-advantage"' in html
    assert ' id="by-advantage"' not in page([trajectory(turn())], title="t", decode=letter)
    assert read.shades == [
        ("--p:50%;--e:25%;--g:0%;--r:100%", "id 7 · log-probability -2.000 · entropy 0.500 · advantage -1.000 of the largest"),
        ("--p:100%;--e:50%;--g:50%;--r:0%", "id 8 · log-probability -9.000 · entropy 1.000 · advantage +0.500 of the largest"),
    ]


def test_advantages_go_to_the_turns_in_order() -> None:
    played = [trajectory(turn(turn()))]
    read = Reader(page(played, title="t", decode=letter, advantages=[[1.0, 2.0, 3.0, 4.0]]))
    assert [style.split("--g:")[1].split(";")[0] for style, _ in read.shades] == ["25%", "50%", "75%", "100%"]


def test_what_is_unknown_or_no_number_breaks_nothing() -> None:
    odd = turn(logprobs=(float("nan"), float("-inf")), entropies=())
    read = Reader(page([trajectory(odd)], title="t", decode=letter))
    assert [style for style, _ in read.shades] == ["--p:100%", "--p:100%"]


def test_hostile_text_stays_text() -> None:
    nasty = '</pre><script>alert("x")</script>\ud800&'
    html = page([trajectory(turn(observation=nasty, action=nasty), prompt=nasty)], title=nasty, notes={nasty: nasty})
    read = Reader(html)
    assert "script" not in read.tags and read.text.count('<script>alert("x")</script>') == 7
    html.encode("utf-8")


def test_the_page_needs_nothing_from_outside_and_says_what_it_leaves_out() -> None:
    html = page([trajectory(turn())] * 5, title="t", limit=2)
    assert html.count("<details") == 2 and "5, the first 2 shown" in html
    assert "http" not in html and "src=" not in html and "url(" not in html and "<script" not in html


def shown(evaluation: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(summary(evaluation, "[bold]agent"))
    return out.getvalue()


def test_the_summary_says_what_failed_and_leaves_out_what_there_is_not() -> None:
    def group(*trajectories: Trajectory) -> Group:
        return Group(trajectories[0].task, trajectories)

    good, bad = trajectory(turn(outcome=1.0)), trajectory(turn(outcome=0.5))
    broken = trajectory(None, Failure("timeout", "slow"))
    text = shown(summarize([group(good, bad), group(good, broken)], env_id="e", samples=2, split="test", difficulty=2, seed=0))
    for expected in ("[bold]agent", "2 test tasks x 2 samples, difficulty 2", "66.7 %", "pass@2", "mean@2", "75.0 %", "outcome"):
        assert expected in text, expected
    assert "1 of 4 episodes failed (timeout 1); no number above counts them." in text
    nothing = shown(summarize([group(broken)], env_id="e", samples=1, split="test", difficulty=None, seed=0))
    assert "1 of 1 episodes failed" in nothing and "pass@" not in nothing and "tokens" not in nothing
