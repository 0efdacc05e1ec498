"""The word list of the word games (words.txt, made from SCOWL; its notices stand in the file), and the marks of a guess."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["LENGTHS", "common_words", "known_words", "letters_of", "marks", "marks_of_many"]

LENGTHS = (4, 5, 6)
"""Letters of a word."""
_FILE = Path(__file__).with_name("words.txt")
_ROWS = 128
"""Guesses compared at a time, so that the arrays stay in the cache."""


@lru_cache(maxsize=1)
def _lists() -> dict[tuple[str, int], tuple[str, ...]]:
    """("common" or "other", letters) -> words in capitals, ascending."""
    found: dict[tuple[str, int], list[str]] = {}
    words = list[str]()
    for line in _FILE.read_text(encoding="ascii").splitlines():
        if line.startswith("["):
            kind, length = line.strip("[]").split()
            words = found.setdefault((kind, int(length)), [])
        elif not line.startswith("#"):
            words += line.upper().split()
    return {key: tuple(words) for key, words in found.items()}


def common_words(letters: int) -> tuple[str, ...]:
    """Words that everybody knows, ascending; the hidden ones are of these."""
    return _lists()["common", letters]


@lru_cache(maxsize=len(LENGTHS))
def known_words(letters: int) -> frozenset[str]:
    """All words that may be guessed."""
    return frozenset(_lists()["common", letters] + _lists()["other", letters])


@lru_cache(maxsize=1 << 16)
def marks(guess: str, word: str) -> str:
    """A sign for each letter of the guess: * in its place, + elsewhere in the word, - not there, or not that often.

    Letters in their places are counted first, then the others from left to right. Cached: all episodes of a task open alike.
    """
    signs = left = ""
    for i, letter in enumerate(word):
        if letter != guess[i]:
            left += letter
    for i, letter in enumerate(guess):
        if letter == word[i]:
            signs += "*"
        elif letter in left:
            left = left.replace(letter, "", 1)
            signs += "+"
        else:
            signs += "-"
    return signs


def letters_of(words: tuple[str, ...]) -> NDArray[np.uint8]:
    """[words, letters] character codes."""
    return np.frombuffer("".join(words).encode("ascii"), np.uint8).reshape(len(words), -1)


def marks_of_many(guesses: NDArray[np.uint8], words: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Marks of guesses [G, letters] on words [N, letters] as numbers [G, N]: digit i to base 3 is 2 for *, 1 for +, 0 for -."""
    parts = [_marks_of_some(guesses[start : start + _ROWS], words) for start in range(0, len(guesses), _ROWS)]
    return np.concatenate(parts)


def _marks_of_some(guesses: NDArray[np.uint8], words: NDArray[np.uint8]) -> NDArray[np.int16]:
    places = range(words.shape[1])
    right = [guesses[:, i, None] == words[None, :, i] for i in places]
    free = [~right[i] for i in places]
    """Letters of the words that no letter of the guess has claimed."""
    found = np.zeros((len(guesses), len(words)), np.int16)
    for i in places:
        found += right[i] * np.int16(2 * 3**i)
        seeking = ~right[i]
        for j in places:
            if j != i:
                claimed = seeking & free[j] & (guesses[:, i, None] == words[None, :, j])
                found += claimed * np.int16(3**i)
                free[j] &= ~claimed
                seeking &= ~claimed
    return found
