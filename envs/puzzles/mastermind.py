"""turnwise/Mastermind-v0: find a secret code by guessing; each guess is answered with how many places and letters are right.

The answer to a guess is two numbers: letters in the right place, and right letters in a wrong place (each letter of the code
counts once, as in the board game). Letters may come several times. The letters of a task are drawn from the alphabet, so there
are enough tasks of few codes and no opening to learn by heart.

Levels are measured by the guesses of the expert, who takes of the codes that are still possible one that tells much:

    level  places  letters  codes     guesses allowed
      1      3        6         216        8
      2      4        6       1,296        9
      3      4        8       4,096       10
      4      5        8      32,768       11
      5      5       10     100,000       12
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.core import Transition
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.types import Task

__all__ = ["LEVELS", "Mastermind", "feedback"]

LEVELS: dict[int, tuple[int, int, int]] = {1: (3, 6, 8), 2: (4, 6, 9), 3: (4, 8, 10), 4: (5, 8, 11), 5: (5, 10, 12)}
"""Level -> (places, letters, guesses allowed)."""

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SAMPLE = 40
"""Possible codes that the expert compares as guesses, and as secrets behind them."""
_BETWEEN = re.compile(r"[\s,]+")
_PAPER: Colour = (226, 214, 190)
_CODE: Colour = (96, 140, 190)
_PLACED: Colour = (96, 166, 84)
_INK: Colour = (250, 250, 250)


class Mastermind(Puzzle):
    """Find the code; reward 1 for guessing it, else 0. One reply is one guess, and there are only so many."""

    levels = range(1, len(LEVELS) + 1)

    _code: str = ""
    _letters: str = ""
    _guesses: tuple[tuple[str, int, int], ...] = ()
    """(guess, letters in the right place, right letters in a wrong place)."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        places, count, _ = LEVELS[difficulty]
        letters = "".join(sorted(_ALPHABET[i] for i in rng.permutation(26)[:count].tolist()))
        code = "".join(letters[i] for i in rng.integers(0, count, places).tolist())
        prompt = f"Find the code of {places} letters, each one of {' '.join(letters)}."
        return Task(task_id("mastermind", f"{letters} {code}"), prompt, code, difficulty, {"letters": letters, "code": code})

    @override
    def turns(self, task: Task) -> int:
        """The guesses allowed; a reply that is no guess takes one too."""
        return LEVELS[task.difficulty][2]

    @override
    def rules(self) -> str:
        return (
            f"Mastermind: find the secret code of {len(self._code)} letters. Each is one of {' '.join(self._letters)}, and "
            "letters may come several times.\nA guess is answered with how many letters are in the right place, and how many "
            f"right letters are in a wrong place. You have {self._limit} guesses.\n"
            f"Reply with one guess each turn, for example <answer>{self._letters[: len(self._code)]}</answer>."
        )

    @override
    def place(self, task: Task) -> None:
        letters, code = str(task.metadata["letters"]), str(task.metadata["code"])
        if not code or not set(code) <= set(letters) <= set(_ALPHABET) or len(set(letters)) != len(letters):
            raise ValueError("letters are different capitals, the code is made of them")
        self._letters, self._code, self._guesses = letters, code, ()

    @override
    def opening(self) -> str:
        return f"Letters: {' '.join(self._letters)}. Places: {len(self._code)}. No guess yet."

    @override
    def board(self) -> str:
        return "\n".join([_line(*guess) for guess in self._guesses]) or self.opening()

    @override
    def cells(self) -> list[list[Cell]]:
        blank: Cell = ("", _PAPER, _PAPER)
        rows: list[list[Cell]] = [
            [*[(letter, _CODE, _INK) for letter in guess], blank, (str(right), _PLACED, _INK), (str(wrong), _PAPER, _CODE)]
            for guess, right, wrong in self._guesses
        ]
        empty: list[list[Cell]] = [[blank] * (len(self._code) + 3)] * (self._limit - len(rows))
        return rows + empty

    @override
    def play(self, action: str) -> Transition:
        answer = answer_in(action)
        guess = _BETWEEN.sub("", answer.upper()) if answer and len(answer) < 100 else ""
        if len(guess) != len(self._code) or not set(guess) <= set(self._letters):
            left = self._limit - self.turn
            return super(Puzzle, self).refuse(
                f"A guess is {len(self._code)} letters, each one of {' '.join(self._letters)}. {_left(left)}"
            )
        right, wrong = feedback(guess, self._code)
        self._guesses = (*self._guesses, (guess, right, wrong))
        if guess == self._code:
            return Transition(f"{guess} is the code.", 1.0, True, 1.0, {"solved": 1.0})
        return Transition(f"{_line(guess, right, wrong)} {_left(self._limit - self.turn)}")

    @override
    def expert_action(self) -> str:
        """Of some codes that agree with every answer so far, the one that on average leaves the fewest."""
        self.need_episode()
        codes = _codes(len(self._code), len(self._letters))
        if not self._guesses:
            return f"<answer>{self._written([i // 2 for i in range(len(self._code))])}</answer>"  # AABB tells more than ABCD
        for guess, right, wrong in self._guesses:
            codes = codes[_agreeing(codes, [self._letters.index(letter) for letter in guess], right, wrong)]
        few = codes[:: max(1, -(-len(codes) // _SAMPLE))]
        left = [np.square(np.bincount(np.ravel_multi_index(_answers(few, guess), (9, 9)))).sum() for guess in few]
        return f"<answer>{self._written(few[int(np.argmin(left))].tolist())}</answer>"

    def _written(self, code: list[int]) -> str:
        return "".join(self._letters[i] for i in code)


def feedback(guess: str, code: str) -> tuple[int, int]:
    """(letters in the right place, right letters in a wrong place)."""
    right = sum(a == b for a, b in zip(guess, code, strict=True))
    return right, sum(min(guess.count(letter), code.count(letter)) for letter in set(guess)) - right


def _line(guess: str, right: int, wrong: int) -> str:
    return f"{guess}: {right} in the right place, {wrong} in a wrong place."


def _left(guesses: int) -> str:
    return f"{guesses} {'guess is' if guesses == 1 else 'guesses are'} left."


@lru_cache(maxsize=8)
def _codes(places: int, letters: int) -> NDArray[np.int8]:
    """All codes, [letters ** places, places]."""
    codes = np.indices((letters,) * places, dtype=np.int8).reshape(places, -1).T.copy()
    codes.setflags(write=False)
    return codes


def _answers(codes: NDArray[np.int8], guess: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What each of the codes [N, places] as the secret answers to a guess: ([N] right places, [N] wrong places)."""
    right = (codes == guess).sum(axis=1)
    letters, counts = np.unique(guess, return_counts=True)
    both = sum(
        (np.minimum((codes == letter).sum(axis=1), count) for letter, count in zip(letters, counts, strict=True)),
        np.zeros(len(codes), np.int64),
    )
    return right, both - right


def _agreeing(codes: NDArray[np.int8], guess: list[int], right: int, wrong: int) -> NDArray[np.bool_]:
    rights, wrongs = _answers(codes, np.array(guess, np.int8))
    return (rights == right) & (wrongs == wrong)
