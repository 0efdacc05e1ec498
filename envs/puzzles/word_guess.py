"""turnwise/WordGuess-v0: find hidden words by guessing; each letter of a guess is marked (a Wordle-like game).

A guess is an English word. * marks a letter in its place, + one that the word has elsewhere, - one that it does not have, or not
that often: a letter gets no more marks than the word has of it, those in their places first. Where several words are hidden,
each guess is tried on all of them.

The first guesses are made by the game, at random. So there are enough tasks of few words, and no opening to learn by heart;
`openings=0` is the game as newspapers print it. Words that are hidden in test tasks are hidden in no train task.

Levels are measured by the guesses of the expert, who looks for the guess after which least is open:

    level  hidden words  guesses made already  guesses allowed
      1         1                 3                   5
      2         1                 2                   6
      3         2                 1                   7
      4         4                 1                  10
      5         8                 1                  15

Words: 1,479, 2,046 and 3,002 common ones of 4, 5 and 6 letters, which may be hidden, and 13,870 others, which may be guessed,
from SCOWL, the lists behind free spelling checkers (its notices stand in envs/puzzles/words.txt).
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, split_of
from turnwise.envs.draws import Draws
from turnwise.envs.options import TurnOptions
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.envs.puzzles.word_guess_solver import Board, best_guess, obeys
from turnwise.envs.puzzles.word_list import LENGTHS, common_words, known_words, marks
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["LEVELS", "WordGuess"]

LEVELS = {1: (1, 3, 5), 2: (1, 2, 6), 3: (2, 1, 7), 4: (4, 1, 10), 5: (8, 1, 15)}
"""Level -> (hidden words, guesses made already, guesses allowed besides)."""
SPARE = 6
"""Replies that may be no guess before the turns run out."""

_MOST_OPENINGS = 3
_MOST_WORDS = 8
_BAND = 4
"""Words side by side in the picture."""
_TEST_SHARE = 0.25
_BETWEEN = re.compile(r"[\s,]+")
_PAPER: Colour = (236, 230, 216)
_INK: Colour = (250, 250, 250)
_COLOURS: dict[str, Colour] = {"*": (96, 166, 84), "+": (208, 170, 60), "-": (120, 124, 130)}


class WordGuess(Puzzle):
    """Find the hidden words; reward 1 when all are found, else 0. One reply is one guess; a reply that is none costs a turn only.

    letters: of each word, 4 to 6.
    hard: each guess must use the hints so far: letters in their places stay there, letters elsewhere come again. For one word.
    openings: guesses that the game makes first, 0 to 3; as the level says if None. With 0, tasks repeat after some hundred.
    """

    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        letters: int = 5,
        hard: bool = False,
        openings: int | None = None,
        instructions: bool = True,
        **options: Unpack[TurnOptions],
    ) -> None:
        super().__init__(instructions=instructions, **options)
        if letters not in LENGTHS:
            raise ConfigError(f"WordGuess: letters must be one of {', '.join(map(str, LENGTHS))}, got {letters!r}.")
        if openings is not None and openings not in range(_MOST_OPENINGS + 1):
            raise ConfigError(f"WordGuess: openings must be from 0 to {_MOST_OPENINGS}, got {openings!r}.")
        self.letters, self.hard, self.openings = letters, hard, openings
        self._words: tuple[str, ...] = ()
        self._boards: tuple[Board, ...] = ()
        """What is known of each word; a word that is found gets no more guesses."""
        self._left = 0
        """Guesses left."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        draws = Draws(rng)
        return self._random(draws, "test" if draws.uniform() < _TEST_SHARE else "train", difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return self._random(Draws(rng), split, difficulty)

    def _random(self, draws: Draws, split: Split, difficulty: int) -> Task:
        count, given, guesses = LEVELS[difficulty]
        if self.hard and count > 1:
            raise ConfigError(f"WordGuess: hard is for one hidden word, levels 1 and 2; got level {difficulty}, {count} words.")
        given = given if self.openings is None else self.openings
        guesses += (not given) + (self.letters == min(LENGTHS))  # short words have many neighbours
        hidden, known = _hidden(self.letters, split), _guessable(self.letters)
        for _ in range(10_000):
            words, openings = _several(draws, hidden, count), _several(draws, known, given)
            name = task_id("word_guess", f"{' '.join(words)} / {' '.join(openings)}")
            if split_of(name) != split or set(words) & set(openings):
                continue
            if not self.hard or _hard_guesses(words[0], openings, guesses) <= guesses:
                return _task(name, words, openings, guesses, difficulty)
        raise ConfigError(f"WordGuess: found no {split} task of level {difficulty} in 10000 tries.")

    @override
    def turns(self, task: Task) -> int:
        """The guesses allowed and 6, for replies that are no guess."""
        return int(task.metadata["guesses"]) + SPARE

    @override
    def rules(self) -> str:
        count, size = len(self._words), len(self._words[0])
        aim = (
            f"Find the hidden word of {size} letters."
            if count == 1
            else f"Find the {count} hidden words of {size} letters; each guess is tried on all of them."
        )
        hard = " Every guess must use all hints: * letters stay in their places, + letters come again." if self.hard else ""
        given = len(self.task.metadata["openings"])
        made = (
            "" if not given else " The game has made the first guess." if given == 1 else f" The game has made {_guesses(given)}."
        )
        return (
            f"{aim} A guess is an English word.{made}\n"
            "Each of its letters is marked: * in its place, + in the word but elsewhere, - not in the word (or not that often)."
            f"{hard}\nYou have {_guesses(self._left)}. Reply with a word each turn, such as <answer>{_EXAMPLES[size]}</answer>."
        )

    @override
    def place(self, task: Task) -> None:
        words, openings = tuple(task.metadata["words"]), tuple(task.metadata["openings"])
        size, guesses = len(words[0]), int(task.metadata["guesses"])
        if not set(words) <= set(common_words(size)) or not set(openings) <= known_words(size) - set(words):
            raise ValueError("words are common words of 4 to 6 letters, openings others that may be guessed")
        if len(set(words)) != len(words) or len(words) > (1 if self.hard else _MOST_WORDS) or guesses < 1:
            raise ValueError(f"there are 1 to {_MOST_WORDS} different words (1 where hard is set) and at least one guess")
        self._words, self._left = words, guesses
        self._boards = tuple(tuple((guess, marks(guess, word)) for guess in openings) for word in words)

    @override
    def board(self) -> str:
        if not any(self._boards):
            return "No guess yet."
        longest = max(self._boards, key=len)
        return "\n".join(self._marked(guess, turn) for turn, (guess, _) in enumerate(longest))

    @override
    def cells(self) -> list[list[Cell]]:
        blank: Cell = ("", _PAPER, _PAPER)
        empty = [blank] * (len(self._words[0]) + 1)
        height = len(self.task.metadata["openings"]) + int(self.task.metadata["guesses"])
        rows = list[list[Cell]]()
        for start in range(0, len(self._words), _BAND):
            boards = self._boards[start : start + _BAND]
            for turn in range(height):
                row = list[Cell]()
                for board in boards:
                    row += [*_coloured(*board[turn]), blank] if turn < len(board) else empty
                rows.append((row + empty * (min(_BAND, len(self._words)) - len(boards)))[:-1])
            if start + _BAND < len(self._words):
                rows.append([blank] * len(rows[0]))
        return rows

    @override
    def play(self, action: str) -> Transition:
        answer = answer_in(action)
        guess = _BETWEEN.sub("", answer.upper()) if answer and len(answer) < 100 else ""
        wrong = self._why_not(guess)
        if wrong:
            return super(Puzzle, self).refuse(f"{wrong} {_guesses(self._left)} left.")
        self._left -= 1
        self._boards = tuple(
            [
                board if board and board[-1][0] == word else (*board, (guess, marks(guess, word)))
                for board, word in zip(self._boards, self._words, strict=True)
            ]
        )
        shown = self._marked(guess, max(map(len, self._boards)) - 1)
        missed = [word for board, word in zip(self._boards, self._words, strict=True) if board[-1][0] != word]
        if not missed:
            return Transition(f"{shown}\nSolved.", 1.0, True, 1.0, {"solved": 1.0})
        if not self._left:
            return Transition(f"{shown}\nNo guess is left. Not found: {', '.join(missed)}.", terminated=True)
        return Transition(f"{shown}\n{_guesses(self._left)} left.")

    def _why_not(self, guess: str) -> str:
        """Why that is no guess; "" if it is one."""
        size = len(self._words[0])
        if len(guess) != size or not (guess.isascii() and guess.isalpha()):
            return f"A guess is one word of {size} letters, for example <answer>{_EXAMPLES[size]}</answer>."
        if guess not in known_words(size):
            return f"{guess} is not in the word list."
        if self.hard:
            broken = next((line for line in self._boards[0] if not obeys(guess, *line)), None)
            if broken:
                return f"{guess} does not use the hints of {broken[0]} ({broken[1]})."
        return ""

    def _marked(self, guess: str, turn: int) -> str:
        """A guess and its marks on every word, as they came in that turn."""
        spread = " ".join(guess)
        if len(self._boards) == 1:
            return f"{spread}\n{' '.join(self._boards[0][turn][1])}"
        lines = [f"Guess   {spread}"]
        for number, board in enumerate(self._boards, 1):
            signs = " ".join(board[turn][1]) if turn < len(board) else f"{board[-1][0]} found"
            lines.append(f"Word {number}  {signs}")
        return "\n".join(lines)

    @override
    def expert_action(self) -> str:
        """The guess after which least is open."""
        self.need_episode()
        known = zip(self._boards, self._words, strict=True)
        boards = [board for board, word in known if not board or board[-1][0] != word]
        return f"<answer>{best_guess(len(self._words[0]), boards, self._left, hard=self.hard)}</answer>"


_EXAMPLES = {4: "WORD", 5: "WORDS", 6: "WORDED"}


def _guesses(count: int) -> str:
    return f"{count} guess{'' if count == 1 else 'es'}"


def _coloured(guess: str, signs: str) -> list[Cell]:
    return [(letter, _COLOURS[sign], _INK) for letter, sign in zip(guess, signs, strict=True)]


def _several(draws: Draws, words: tuple[str, ...], count: int) -> list[str]:
    """So many different ones."""
    chosen = dict[str, None]()
    while len(chosen) < count:
        chosen[draws.pick(words)] = None
    return list(chosen)


@lru_cache(maxsize=2 * len(LENGTHS))
def _hidden(letters: int, split: Split) -> tuple[str, ...]:
    """The common words that tasks of a split may hide."""
    return tuple(word for word in common_words(letters) if split_of(f"word_guess/{word}") == split)


@lru_cache(maxsize=len(LENGTHS))
def _guessable(letters: int) -> tuple[str, ...]:
    return tuple(sorted(known_words(letters)))


def _hard_guesses(word: str, openings: list[str], most: int) -> int:
    """Guesses the expert takes when each must use all hints; `most` + 1 if more than `most`."""
    board: Board = tuple((guess, marks(guess, word)) for guess in openings)
    for turn in range(1, most + 1):
        guess = best_guess(len(word), [board], most + 1 - turn, hard=True)
        if guess == word:
            return turn
        board = (*board, (guess, marks(guess, word)))
    return most + 1


def _task(name: str, words: list[str], openings: list[str], guesses: int, difficulty: int) -> Task:
    """`answer`: the hidden words."""
    size = len(words[0])
    aim = (
        f"Find the hidden word of {size} letters" if len(words) == 1 else f"Find the {len(words)} hidden words of {size} letters"
    )
    tried = [f"{guess} is marked {', '.join(marks(guess, word) for word in words)}." for guess in openings]
    metadata = {"words": words, "openings": openings, "guesses": guesses}
    return Task(name, " ".join([f"{aim} with {_guesses(guesses)}.", *tried]), " ".join(words), difficulty, metadata)
