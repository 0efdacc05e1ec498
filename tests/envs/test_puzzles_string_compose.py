"""turnwise/StringCompose-v0: the functions against literal values, unseen pairs in the test split, what a turn may do."""

import re
from itertools import pairwise

import numpy as np
import pytest

from turnwise.envs.core import split_of
from turnwise.envs.puzzles.string_compose import ASKED, StringCompose, pair_split
from turnwise.envs.puzzles.string_functions import FUNCTIONS
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

VALUES = {
    "blick": ("dcba", "iedcba"),
    "crund": ("bcda", "bcdeia"),
    "dasp": ("dabc", "iabcde"),
    "fenk": ("dabc", "deiabc"),
    "glomp": ("dbca", "ibcdea"),
    "hisk": ("badc", "badcie"),
    "jorv": ("cdab", "deiabc"),
    "kelm": ("abcd", "abcdei"),
    "lunt": ("bdac", "bdiace"),
    "morp": ("acbd", "adbeci"),
    "nash": ("abcd", "aeibcd"),
    "oxel": ("abcd", "ibcdea"),
    "pluv": ("ebcd", "ebcdio"),
    "quib": ("bcde", "bcdefj"),
    "rask": ("xyza", "xyzabf"),
    "sploe": ("zyxw", "zyxwvr"),
    "tarn": ("aceg", "acegin"),
    "ulvo": ("efgh", "ghijko"),
    "vemp": ("bacd", "cbadei"),
    "wixt": ("abdc", "abcied"),
    "yorf": ("aabcd", "aabcdei"),
    "zemba": ("abcdka", "abcdeika"),
    "brill": ("abcd", "acdei"),
    "chond": ("abca", "abcdea"),
}
"""Name -> values of abcd and abcdei, worked out by hand."""


def test_functions_by_hand() -> None:
    assert {name: (f("abcd"), f("abcdei")) for name, f in FUNCTIONS.items()} == VALUES
    assert (
        FUNCTIONS["blick"]("monat") == "tanom" and FUNCTIONS["tarn"]("zzzz") == "zabc" and FUNCTIONS["hisk"]("monat") == "omant"
    )
    assert (
        FUNCTIONS["jorv"]("monat") == "natmo"
        and FUNCTIONS["morp"]("monat") == "maotn"
        and FUNCTIONS["oxel"]("moneta") == "maneto"
    )


def test_functions_differ_and_stay_among_letters() -> None:
    words = ["bomefidu", "kelopari", "zuzowaxe", "aeioubcd"]
    assert len({tuple(f(word) for word in words) for f in FUNCTIONS.values()}) == len(FUNCTIONS) == 24
    for f in FUNCTIONS.values():
        for word in (*words, "abcd", "eeee", "zyxwv"):
            value = f(word)
            assert value.isascii() and value.isalpha() and value.islower() and len(value) >= 4


def test_short_words_tell_the_functions_from_what_they_are_like() -> None:
    """A rule that was understood on words that may be asked about holds for longer ones: no other simple rule agrees on them."""
    others = {
        **FUNCTIONS,
        "swap the last two": lambda text: text[:-2] + text[:-3:-1],
        "swap the first two": lambda text: text[1::-1] + text[2:],
        **{f"turn by {k}": lambda text, k=k: text[k:] + text[:k] for k in range(-4, 5)},
        **{f"move on by {k}": lambda text, k=k: "".join(chr((ord(c) - 97 + k) % 26 + 97) for c in text) for k in range(26)},
    }
    asked, long = [w[:n] for w in ("bomefid", "aepkulr", "zaxxuoi") for n in ASKED], ["bomefidulo", "kelopariz", "uzowaxemirat"]
    for f in FUNCTIONS.values():
        for g in others.values():
            if all(f(word) == g(word) for word in asked):
                assert all(f(word) == g(word) for word in long)


def solved_by_hand(task: Task) -> str:
    """From the prompt alone, with nothing but VALUES' functions: the expression is read from the inside out."""
    expression = task.prompt.rpartition("What is ")[2].rstrip("?")
    names = expression.rstrip(")").split("(")
    word = names.pop()
    while names:
        word = FUNCTIONS[task.metadata["rules"][names.pop()]](word)
    return word


@pytest.mark.parametrize("names", ["fixed", "fresh"])
def test_tasks_are_what_they_say(names: str) -> None:
    env = StringCompose(names=names)  # type: ignore[arg-type]
    seen = {"train": set[tuple[str, str]](), "test": set[tuple[str, str]]()}
    for level in env.levels:
        for split, pairs in seen.items():
            for seed in range(25):
                env.reset(seed=seed, options={"split": split, "difficulty": level})
                task = env.task
                chain = [task.metadata["rules"][name] for name in task.metadata["calls"]]
                assert len(chain) == len(set(chain)) == level and split_of(task.id) == split
                assert solved_by_hand(task) == task.answer and task.answer not in re.findall(r"[a-z]+", task.prompt)
                assert all(pair_split(*pair) == split for pair in pairwise(chain))
                assert (names == "fixed") == (chain == list(task.metadata["calls"]))
                pairs.update(pairwise(chain))
    assert len(seen["train"]) > 150 and len(seen["test"]) > 80 and not seen["train"] & seen["test"]


def test_a_quarter_of_the_pairs_is_kept_for_testing() -> None:
    kept = sum(pair_split(a, b) == "test" for a in FUNCTIONS for b in FUNCTIONS if a != b)
    assert 110 <= kept <= 165
    assert all(any(pair_split(a, b) == "test" for b in FUNCTIONS if a != b) for a in FUNCTIONS)


def task_of(word: str, calls: list[str]) -> Task:
    value = word
    for name in calls:
        value = FUNCTIONS[name](value)
    metadata = {"word": word, "calls": calls, "rules": {name: name for name in calls}, "examples": {calls[0]: ["monat"]}}
    return Task("string_compose/y", "What?", value, 2, metadata)


def test_an_episode() -> None:
    env = StringCompose()
    first, _ = env.reset(options={"task": task_of("bomefidu", ["hisk", "blick"])})
    assert first.endswith("\n\nhisk(monat) = omant\nExpression: blick(hisk(bomefidu))") and "; 4 times\n" in first
    assert env.step("Let me see.\nask blick: monat")[0] == "blick(monat) = tanom\n3 questions left."
    assert env.step("ASK Hisk(abcd)")[0] == "hisk(abcd) = badc\n2 questions left."
    for wrong, answer in (
        ("ask hisk: bomefidu", "Only words of 4 to 7 letters can be asked about."),
        ("ask hisk: abc", "Only words of 4 to 7 letters can be asked about."),
        ("ask tarn: abcd", "tarn is not a function here; hisk, blick are."),
        ("what?", "End the reply with 'ask NAME: WORD', 'step WORD' or <answer>WORD</answer>."),
    ):
        observation, reward, terminated, _, info = env.step(wrong)
        assert (observation, reward, terminated, info["valid_action"]) == (answer, 0.0, False, False)
    assert env.step("step bomefidu")[0] == "bomefidu is not hisk(bomefidu)."
    assert env.expert_action() == "step obemifud"
    assert env.step("step obemifud")[0] == "Right.\nExpression: blick(obemifud)"
    assert env.render().endswith("\nExpression: blick(obemifud)") and env.render().startswith(
        "hisk(monat) = omant\nblick(monat) = tanom\n"
    )
    assert env.step("step abc")[0] == "One call is left: reply <answer>WORD</answer> with its value."
    observation, reward, terminated, _, info = env.step(f"So <answer>'{env.task.answer.upper()}'.</answer>")
    assert (observation, reward, terminated, info["outcome"]) == ("Right.", 1.0, True, 1.0)


def test_a_wrong_answer_ends_it_and_questions_run_out() -> None:
    env = StringCompose()
    task = task_of("bomefidu", ["hisk", "blick"])
    env.reset(options={"task": task})
    assert env.step("<answer>bomefidu</answer>")[1:3] == (0.0, True)
    env.reset(options={"task": task})
    for _ in range(4):
        assert env.step("ask hisk: abcd")[4]["valid_action"]
    assert env.step("ask hisk: abcd")[0] == "No question is left."
    ends = [env.step("step abcdef")[3] for _ in range(7)]
    assert ends == [False] * 6 + [True]


def test_names_and_examples() -> None:
    env = StringCompose(names="fresh", examples=4, difficulty=3)
    one, _ = env.reset(seed=0)
    assert not any(f"{name}(" in one for name in FUNCTIONS) and one.count(" = ") == 12
    none, _ = StringCompose(examples=0).reset(seed=0)
    assert " = " not in none
    with pytest.raises(UnknownName, match="names"):
        StringCompose(names="new")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="examples must be from 0 to 5"):
        StringCompose(examples=6)
    assert max(ASKED) < 8


@pytest.mark.parametrize(
    "wrong",
    [{"word": "Äpfel"}, {"calls": []}, {"calls": ["nope"]}, {"rules": {"hisk": "nope", "blick": "blick"}}, {"word": "bomefida"}],
)
def test_foreign_tasks_are_refused(wrong: dict) -> None:
    task = task_of("bomefidu", ["hisk", "blick"])
    with pytest.raises(ConfigError, match="StringCompose: task"):
        StringCompose().reset(options={"task": Task("string_compose/z", "p", task.answer, 2, {**task.metadata, **wrong})})


def test_the_picture() -> None:
    env = StringCompose(render_mode="rgb_array", difficulty=3)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (4 * 32, 15 * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
