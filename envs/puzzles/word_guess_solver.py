"""The guess that tells most, by the marks of every common word on every other.

A board is what is known of one hidden word: the guesses on it, each with its marks as a string.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from turnwise.envs.puzzles.word_list import common_words, letters_of, marks_of_many

__all__ = ["Board", "best_guess", "obeys", "possible"]

Board = tuple[tuple[str, str], ...]
"""(guess, its marks) in the order of play."""
_DIGITS = {"-": 0, "+": 1, "*": 2}


def possible(letters: int, board: Board) -> NDArray[np.int64]:
    """Indices in `common_words(letters)` of the words that agree with all marks."""
    agree = np.ones(len(common_words(letters)), bool)
    for guess, signs in board:
        agree &= _marks_on_all(guess) == sum(_DIGITS[sign] * 3**i for i, sign in enumerate(signs))
    return np.flatnonzero(agree)


def best_guess(letters: int, boards: Sequence[Board], guesses: int, *, hard: bool = False) -> str:
    """The next guess for the boards (those not solved yet), with so many guesses left.

    A word that is certain, else the one after which least is open: the mean over the possible words of log2 of how many remain,
    plus 1 for the guess that it takes then, summed over the boards. Where every guess must hit, only possible words count.
    """
    words, left = common_words(letters), [possible(letters, board) for board in boards]
    certain = next((indices[0] for indices in left if len(indices) == 1), None)
    if certain is not None:
        return words[certain]
    pool = np.arange(len(words))
    if hard:
        pool = np.array([i for i in pool if all(obeys(words[i], *line) for board in boards for line in board)])
    if guesses <= len(boards) or max(len(indices) for indices in left) <= 2:
        pool = np.unique(np.concatenate(left))
    table = _table(letters)[pool]
    open_after = sum((_open_after(table[:, indices], np.isin(pool, indices), 3**letters) for indices in left), np.zeros(1))
    return words[pool[int(open_after.argmin())]]


def obeys(guess: str, before: str, signs: str) -> bool:
    """Whether a guess uses the hints of an earlier one: * letters stay in their places, + letters are used again."""
    hinted = [letter for letter, sign in zip(before, signs, strict=True) if sign != "-"]
    stay = all(a == b for a, b, sign in zip(guess, before, signs, strict=True) if sign == "*")
    return stay and all(guess.count(letter) >= hinted.count(letter) for letter in set(hinted))


def _open_after(marks: NDArray[np.int16], hits: NDArray[np.bool_], kinds: int) -> NDArray[np.float64]:
    """[guesses] how much is open on one board after each guess, of its marks [guesses, possible words]."""
    rows, count = marks.shape
    bins = marks + np.arange(rows)[:, None] * kinds
    counts = np.bincount(bins.ravel(), minlength=rows * kinds).reshape(rows, kinds)
    return _weights(count)[counts].sum(axis=1) / count - hits / count


@lru_cache(maxsize=4096)
def _weights(count: int) -> NDArray[np.float64]:
    """[0 .. count] c (log2 c + 1): what c words that stay possible together add."""
    numbers = np.arange(count + 1, dtype=float)
    return numbers * (np.log2(np.maximum(numbers, 1)) + 1)


@lru_cache(maxsize=3)
def _table(letters: int) -> NDArray[np.int16]:
    """[common words, common words] marks of each as a guess on each."""
    words = letters_of(common_words(letters))
    table = marks_of_many(words, words)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=4096)
def _marks_on_all(guess: str) -> NDArray[np.int16]:
    """[common words] marks of one guess, which need not be common, on each."""
    return marks_of_many(letters_of((guess,)), letters_of(common_words(len(guess))))[0]
