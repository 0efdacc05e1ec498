"""turnwise/WordGuess-v0: the marks against their definition, the word list, hard mode, and a solver within the limit."""

from collections import Counter

import numpy as np
import pytest

from turnwise.envs.core import split_of
from turnwise.envs.puzzles.word_guess import LEVELS, WordGuess
from turnwise.envs.puzzles.word_guess_solver import best_guess, obeys, possible
from turnwise.envs.puzzles.word_list import LENGTHS, common_words, known_words, letters_of, marks, marks_of_many
from turnwise.errors import ConfigError
from turnwise.types import Task

TASK = Task("word_guess/x", "Find.", "SHADY", 2, {"words": ["SHADY"], "openings": ["OCTET"], "guesses": 6})


def by_definition(guess: str, word: str) -> str:
    """Per letter: places first, then as many + as the word has more of it, from left to right."""
    signs = ["*" if a == b else "-" for a, b in zip(guess, word, strict=True)]
    for letter in set(guess):
        more = word.count(letter) - sum(a == b == letter for a, b in zip(guess, word, strict=True))
        elsewhere = [i for i, a in enumerate(guess) if a == letter and signs[i] == "-"]
        for i in elsewhere[: max(0, more)]:
            signs[i] = "+"
    return "".join(signs)


@pytest.mark.parametrize(
    ("guess", "word", "signs"),
    [
        ("SPEED", "ABIDE", "--+-+"),
        ("SPEED", "ERASE", "+-++-"),
        ("SPEED", "STEAL", "*-*--"),
        ("SPEED", "CREPE", "-+*+-"),
        ("ALLOY", "LLAMA", "+*+--"),
        ("GEESE", "THESE", "--***"),
        ("ABBEY", "KEBAB", "++*+-"),
        ("WORDS", "WORDS", "*****"),
        ("WORDS", "PITHY", "-----"),
    ],
)
def test_marks_by_hand(guess: str, word: str, signs: str) -> None:
    assert marks(guess, word) == by_definition(guess, word) == signs


@pytest.mark.parametrize("letters", LENGTHS)
def test_marks_are_their_definition(letters: int) -> None:
    rng = np.random.default_rng(letters)
    known = sorted(known_words(letters))
    guesses = tuple(known[i] for i in rng.integers(0, len(known), 200))
    words = common_words(letters)[::40]
    table = marks_of_many(letters_of(guesses), letters_of(words))
    for row, guess in zip(table.tolist(), guesses, strict=True):
        for number, word in zip(row, words, strict=True):
            signs = "".join("-+*"[number // 3**i % 3] for i in range(letters))
            assert marks(guess, word) == by_definition(guess, word) == signs


def test_words_with_few_letters_try_the_marks_most() -> None:
    """All words over two letters: every way in which letters can come twice."""
    words = [f"{i:05b}".translate({48: "A", 49: "B"}) for i in range(32)]
    for guess in words:
        for word in words:
            assert marks(guess, word) == by_definition(guess, word)


@pytest.mark.parametrize("letters", LENGTHS)
def test_the_word_list(letters: int) -> None:
    common, known = common_words(letters), known_words(letters)
    assert list(common) == sorted(set(common)) and set(common) < known and len(common) > 1400 and len(known) > 3000
    assert all(len(word) == letters and word.isascii() and word.isalpha() and word.isupper() for word in known)
    assert {"WORD", "HOUSE", "WORDED", "SPEED", "TARES", "ADIEU"} & known == {
        word for word in ("WORD", "HOUSE", "WORDED", "SPEED", "TARES", "ADIEU") if len(word) == letters
    }


def test_an_episode() -> None:
    env = WordGuess(difficulty=2)
    first, _ = env.reset(options={"task": TASK})
    assert first.endswith("\n\nO C T E T\n- - - - -") and "You have 6 guesses." in first and "SHADY" not in first
    observation, reward, terminated, _, info = env.step("I try <answer>hello</answer>")
    assert observation == "H E L L O\n+ - - - -\n5 guesses left."
    assert (reward, terminated, info["valid_action"]) == (0.0, False, True)
    for wrong, answer in (
        ("zzzzz", "ZZZZZ is not in the word list. 5 guesses left."),
        ("two words", "A guess is one word of 5 letters, for example <answer>WORDS</answer>. 5 guesses left."),
        ("٣٣٣٣٣", "A guess is one word of 5 letters, for example <answer>WORDS</answer>. 5 guesses left."),
    ):
        observation, _, terminated, _, info = env.step(wrong)
        assert observation == answer and not info["valid_action"] and not terminated
    assert env.step("c r a n e")[0] == "C R A N E\n- - * - -\n4 guesses left."
    assert env.render() == "O C T E T\n- - - - -\nH E L L O\n+ - - - -\nC R A N E\n- - * - -"
    observation, reward, terminated, _, info = env.step("SHADY")
    assert (observation, reward, terminated, info["outcome"]) == ("S H A D Y\n* * * * *\nSolved.", 1.0, True, 1.0)


def test_guesses_and_turns_run_out() -> None:
    env = WordGuess(difficulty=2)
    env.reset(options={"task": TASK})
    for _ in range(5):
        assert not env.step("HELLO")[2]
    observation, reward, terminated, truncated, info = env.step("HELLO")
    assert observation.endswith("No guess is left. Not found: SHADY.")
    assert (reward, terminated, truncated, info["outcome"]) == (0.0, True, False, 0.0)
    env.reset(options={"task": TASK})
    ends = [env.step("no guess")[2:4] for _ in range(12)]
    assert ends == [(False, False)] * 11 + [(False, True)]


def test_several_words() -> None:
    env = WordGuess()
    metadata = {"words": ["RELAX", "LIVID"], "openings": ["SAMES"], "guesses": 6}
    first, _ = env.reset(options={"task": Task("word_guess/y", "Find.", "", 3, metadata)})
    assert first.endswith("Guess   S A M E S\nWord 1  - + - + -\nWord 2  - - - - -")
    assert env.step("relax")[0] == "Guess   R E L A X\nWord 1  * * * * *\nWord 2  - - + - -\n5 guesses left."
    assert env.step("lucid")[0] == "Guess   L U C I D\nWord 1  RELAX found\nWord 2  * - - * *\n4 guesses left."
    assert env.step("livid")[1] == 1.0


def test_hard_mode() -> None:
    env = WordGuess(difficulty=2, hard=True)
    env.reset(options={"task": TASK})
    assert env.step("CRANE")[4]["valid_action"]
    observation, _, _, _, info = env.step("HELLO")
    assert observation == "HELLO does not use the hints of CRANE (--*--). 5 guesses left." and not info["valid_action"]
    assert env.step("SHAKY")[1:3] == (0.0, False) and env.step("SHADY")[1] == 1.0
    assert obeys("LLAMA", "ALLOY", "+*+--") and obeys("ALLAY", "SALON", "-+*--")
    assert not obeys("PLAZA", "ALLOY", "+*+--")
    with pytest.raises(ConfigError, match="hard is for one hidden word"):
        env.reset(options={"difficulty": 3})


@pytest.mark.parametrize(
    "options", [{"difficulty": 1}, {"difficulty": 2, "hard": True}, {"difficulty": 2, "letters": 4}, {"difficulty": 3}]
)
def test_the_expert_plays_by_what_is_shown(options: dict) -> None:
    """Every guess of the expert in hard mode uses all hints, and what it thinks possible always holds the hidden word."""
    env = WordGuess(**options)
    for seed in range(6):
        env.reset(seed=seed, options={"split": "test" if seed % 2 else "train"})
        while env._playing:
            for board, word in zip(env._boards, env._words, strict=True):
                assert word in [common_words(env.letters)[i] for i in possible(env.letters, board)]
            info = env.step(env.expert_action())[4]
            assert info["valid_action"]
        assert info["outcome"] == 1.0 and env.turn <= env.task.metadata["guesses"]


def test_the_last_guess_is_one_that_may_be_right() -> None:
    board = (("HATCH", marks("HATCH", "LATCH")),)
    left = {common_words(5)[i] for i in possible(5, board)}
    assert {"LATCH", "WATCH", "BATCH", "CATCH", "MATCH", "PATCH"} == left
    assert best_guess(5, [board], 1) in left and best_guess(5, [board], 3) not in left


def test_hidden_words_of_the_splits_differ() -> None:
    env, found = WordGuess(difficulty=5), {"train": Counter[str](), "test": Counter[str]()}
    for seed in range(150):
        for split, words in found.items():
            env.reset(seed=seed, options={"split": split})
            words.update(env.task.metadata["words"])
            assert split_of(env.task.id) == split
    assert len(found["train"]) > 500 and len(found["test"]) > 300 and not set(found["train"]) & set(found["test"])


@pytest.mark.parametrize(("openings", "level"), [(0, 2), (3, 1)])
def test_openings(openings: int, level: int) -> None:
    env = WordGuess(openings=openings, difficulty=level)
    first, _ = env.reset(seed=3)
    assert len(env._boards[0]) == openings and env._left == LEVELS[level][2] + (openings == 0)
    assert ("No guess yet." in first) == (openings == 0)
    while env._playing:
        reward = env.step(env.expert_action())[1]
    assert reward == 1.0


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="letters must be one of 4, 5, 6, got 7"):
        WordGuess(letters=7)
    with pytest.raises(ConfigError, match="openings must be from 0 to 3"):
        WordGuess(openings=4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"words": ["ZZZZZ"]},
        {"words": []},
        {"words": ["SHADY", "SHADY"]},
        {"openings": ["SHADY"]},
        {"openings": ["HI"]},
        {"guesses": 0},
    ],
)
def test_foreign_tasks_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="WordGuess: task"):
        WordGuess().reset(options={"task": Task("word_guess/z", "p", "", 2, {**TASK.metadata, **wrong})})


@pytest.mark.parametrize(("level", "rows", "columns"), [(2, 8, 5), (3, 8, 11), (5, 33, 23)])
def test_the_picture(level: int, rows: int, columns: int) -> None:
    env = WordGuess(render_mode="rgb_array", difficulty=level)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (rows * 32, columns * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
