"""turnwise/Mastermind-v0: the answers to guesses, and how soon the expert knows."""

import numpy as np
import pytest

from turnwise.envs.puzzles.mastermind import LEVELS, Mastermind, _answers, _codes, feedback
from turnwise.errors import ConfigError
from turnwise.types import Task

TASK = Task("mastermind/test", "Find.", "CAAB", 2, {"letters": "ABCDEF", "code": "CAAB"})


@pytest.mark.parametrize(
    ("guess", "code", "answer"),
    [
        ("ABCD", "ABCD", (4, 0)),
        ("AABB", "BBAA", (0, 4)),
        ("AAAA", "CAAB", (2, 0)),
        ("AACC", "CAAB", (1, 2)),
        ("BCAD", "CAAB", (1, 2)),
        ("DDEE", "CAAB", (0, 0)),
        ("ABBB", "BAAA", (0, 2)),
    ],
)
def test_feedback_by_hand(guess: str, code: str, answer: tuple[int, int]) -> None:
    assert feedback(guess, code) == answer
    assert feedback(code, guess) == answer


def test_many_answers_at_once_are_the_single_ones() -> None:
    codes = _codes(4, 6)
    assert codes.shape == (1296, 4) and len({bytes(code) for code in codes}) == 1296
    for guess in codes[::97]:
        right, wrong = _answers(codes, guess)
        text = ["".join("ABCDEF"[i] for i in code) for code in codes[::13].tolist()]
        one = [feedback("".join("ABCDEF"[i] for i in guess.tolist()), code) for code in text]
        assert one == list(zip(right[::13].tolist(), wrong[::13].tolist(), strict=True))


def test_an_episode() -> None:
    env = Mastermind()
    first, _ = env.reset(options={"task": TASK})
    assert "code of 4 letters. Each is one of A B C D E F" in first and "CAAB" not in first
    observation, reward, terminated, _, info = env.step("<answer>a, a c c</answer>")
    assert observation == "AACC: 1 in the right place, 2 in a wrong place. 8 guesses are left."
    assert (reward, terminated, info["valid_action"]) == (0.0, False, True)
    observation, _, _, _, info = env.step("AAG B")
    assert observation == "A guess is 4 letters, each one of A B C D E F. 7 guesses are left." and not info["valid_action"]
    assert env.render() == "AACC: 1 in the right place, 2 in a wrong place."
    observation, reward, terminated, _, info = env.step("CAAB")
    assert (observation, reward, terminated, info["outcome"]) == ("CAAB is the code.", 1.0, True, 1.0)


def test_guesses_run_out() -> None:
    env = Mastermind()
    env.reset(options={"task": TASK})
    ends = [env.step("DDDD")[2:4] for _ in range(9)]
    assert ends == [(False, False)] * 8 + [(False, True)]


@pytest.mark.parametrize("level", LEVELS)
def test_every_guess_of_the_expert_could_be_the_code(level: int) -> None:
    env = Mastermind(difficulty=level)
    for seed in range(6):
        env.reset(seed=seed)
        while env._playing:
            before = env._guesses
            env.step(env.expert_action())
            guess = env._guesses[-1][0]
            assert all(feedback(old, guess) == (right, wrong) for old, right, wrong in before)
        assert env._guesses[-1][0] == env.task.answer


@pytest.mark.parametrize("wrong", [{"code": "XYZ"}, {"code": ""}, {"letters": "AAB"}, {"letters": "abc"}])
def test_foreign_tasks_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="Mastermind: task"):
        Mastermind().reset(options={"task": Task("mastermind/x", "p", "", 2, {**TASK.metadata, **wrong})})


def test_the_picture() -> None:
    env = Mastermind(render_mode="rgb_array", difficulty=1)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (8 * 32, 6 * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
