"""turnwise/StringCompose-v0: functions on words, known from examples and by asking, composed in ways never seen in training.

There are 24 functions from words to words, with names without meaning and rules that nobody tells: reverse, swap halves, move
each letter on by its place. A task shows some examples of those that it needs and asks for the value of an expression such as
`tarn(blick(hisk(bomefidu)))`. One turn does one of

    ask hisk: monat        the value of a function for a short word; only so often
    step obemifud          your value of the innermost call; if right, it takes the call's place
    <answer>obkiupha</answer>    your value of the whole; right or wrong, it ends the game

Asking takes words of 4 to 7 letters and the values of a task are longer, so a rule must be understood to be applied.

Functions keep their names from task to task: skills can be learned in training, and the first level is each alone. Of all ordered
pairs of functions a quarter is kept for testing: in test tasks every call inside another is such a pair, in train tasks none is.
With `names="fresh"` every task has names of its own, and nothing is left but to learn in context.

Levels are measured by the functions in the expression, which is the turns of an expert who knows all rules:

    level  functions
      1        1
      2        2
      3        3
      4        4
      5        5
      6        6

Idea: skills f(x) and g(x) that reinforcement learning composes to f(g(x)), arXiv 2509.25123; here over turns.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.actions import final_answer
from turnwise.envs.core import Split, Transition, split_of
from turnwise.envs.draws import Draws
from turnwise.envs.options import TurnOptions
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, task_id
from turnwise.envs.puzzles.string_functions import FUNCTIONS
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

__all__ = ["ASKED", "StringCompose", "pair_split"]

LEVELS = range(1, 7)
ASKED = range(4, 8)
"""Letters of a word that may be asked about: enough to tell all rules apart. Every value of a task has more."""

_LENGTHS = range(8, 15)
"""Letters of the values of a task."""
_ASKS = 2
"""Questions for each function."""
_SPARE = 6
"""Turns more than the questions, the steps and the answer."""
_MOST_EXAMPLES = 5
_TEST_SHARE = 0.25
_CONSONANTS, _VOWELS = "bcdfghjklmnpqrstvwxyz", "aeiou"
_COMMAND = re.compile(r"(?:ask\s+([a-z]+)\s*[:(]\s*([a-z]+)\s*\)?|step\s+([a-z]+))\s*\.?", re.IGNORECASE)
_PAPER: Colour = (236, 230, 216)
_TILE: Colour = (96, 140, 190)
_NAME: Colour = (226, 214, 190)
_INK: Colour = (250, 250, 250)
_DARK: Colour = (70, 66, 60)


class StringCompose(Puzzle):
    """Find the value of an expression; reward 1 for it, else 0. One reply asks, makes a step, or answers.

    names: "fixed": a function is called the same in all tasks; "fresh": every task makes up names.
    examples: shown of each function, 0 to 5.
    """

    levels = LEVELS

    def __init__(
        self,
        *,
        names: Literal["fixed", "fresh"] = "fixed",
        examples: int = 2,
        instructions: bool = True,
        **options: Unpack[TurnOptions],
    ) -> None:
        super().__init__(instructions=instructions, **options)
        if names not in ("fixed", "fresh"):
            raise UnknownName("names", str(names), ("fixed", "fresh"))
        if examples not in range(_MOST_EXAMPLES + 1):
            raise ConfigError(f"StringCompose: examples must be from 0 to {_MOST_EXAMPLES}, got {examples!r}.")
        self.names, self.examples = names, examples
        self._given: tuple[str, ...] = ()
        """The examples."""
        self._rules: dict[str, str] = {}
        """Name in the task -> name in FUNCTIONS."""
        self._calls: tuple[str, ...] = ()
        """Names of the calls left, innermost first."""
        self._values: tuple[str, ...] = ()
        """The word, and the values found so far."""
        self._asked: tuple[str, ...] = ()
        """Questions with their answers."""
        self._asks = 0
        """Questions allowed."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        draws = Draws(rng)
        return self._random(draws, "test" if draws.uniform() < _TEST_SHARE else "train", difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return self._random(Draws(rng), split, difficulty)

    def _random(self, draws: Draws, split: Split, difficulty: int) -> Task:
        for _ in range(10_000):
            chain = _random_chain(draws, split, difficulty)
            name = task_id("string_compose", f"{' '.join(chain)} {word}") if (word := _tried(draws, chain)) else ""
            if name and split_of(name) == split:
                called = {key: key if self.names == "fixed" else _random_word(draws, 6) for key in chain}
                shown = {key: [_random_word(draws, ASKED[-1] - i % 2) for i in range(self.examples)] for key in chain}
                return _task(name, word, chain, called, shown, difficulty)
        raise ConfigError(f"StringCompose: found no {split} task of level {difficulty} in 10000 tries.")

    @override
    def turns(self, task: Task) -> int:
        """The steps and the answer, the questions allowed, and 6."""
        return (1 + _ASKS) * len(task.metadata["calls"]) + _SPARE

    @override
    def rules(self) -> str:
        name = self._calls[0]
        return (
            "Functions on words: each is a fixed rule that makes a word of a word. Find the value of the expression, from the "
            "inside out.\nEach turn, end your reply with one of these lines:\n"
            f"ask {name}: word - the value of a function for a word of {ASKED[0]} to {ASKED[-1]} letters; {self._asks} times\n"
            "step word - your value of the innermost call; if it is right, it takes the place of the call\n"
            "<answer>word</answer> - your value of the whole expression, once only"
        )

    @override
    def place(self, task: Task) -> None:
        self._rules = {str(name): str(key) for name, key in task.metadata["rules"].items()}
        self._calls, word = tuple(task.metadata["calls"]), task.metadata["word"]
        examples = [(name, example) for name, words in task.metadata["examples"].items() for example in words]
        if not all(_is_word(text) for text in (word, *(example for _, example in examples), *self._rules)) or not self._calls:
            raise ValueError("names and words are lower-case letters, and there is a call")
        self._values, self._asked, self._asks = (word,), (), _ASKS * len(self._calls)
        self._given = tuple(f"{name}({example}) = {self._value(name, example)}" for name, example in examples)
        if self._whole() != task.answer:
            raise ValueError("the answer is another one")

    def _value(self, name: str, text: str) -> str:
        return FUNCTIONS[self._rules[name]](text)

    def _whole(self) -> str:
        """The value of the expression as it stands."""
        text = self._values[-1]
        for name in self._calls:
            text = self._value(name, text)
        return text

    def _expression(self) -> str:
        return f"{''.join(f'{name}(' for name in reversed(self._calls))}{self._values[-1]}{')' * len(self._calls)}"

    @override
    def opening(self) -> str:
        return "\n".join([*self._given, f"Expression: {self._expression()}"])

    @override
    def board(self) -> str:
        return "\n".join([*self._given, *self._asked, f"Expression: {self._expression()}"])

    @override
    def cells(self) -> list[list[Cell]]:
        calls: tuple[str, ...] = tuple(self.task.metadata["calls"])
        rows = list[list[Cell]]()
        for number in range(len(calls) + 1):
            found = self._values[number] if number < len(self._values) else ""
            called = calls[number - 1] if number else ""
            row: list[Cell] = [(called[:4], _NAME, _DARK), *[(letter, _TILE, _INK) for letter in found]]
            rows.append(row + [("", _PAPER, _PAPER)] * (_LENGTHS[-1] + 1 - len(row)))
        return rows

    @override
    def play(self, action: str) -> Transition:
        answer = final_answer(action)
        if answer is not None:
            return self._answer(answer)
        command = _COMMAND.fullmatch(action.strip().rpartition("\n")[2].strip()) if len(action) < 100_000 else None
        if command is None:
            return super(Puzzle, self).refuse("End the reply with 'ask NAME: WORD', 'step WORD' or <answer>WORD</answer>.")
        name, asked, step = (text.lower() if text else "" for text in command.groups())
        return self._step(step) if step else self._ask(name, asked)

    def _ask(self, name: str, word: str) -> Transition:
        if name not in self._rules:
            return super(Puzzle, self).refuse(f"{name[:20]} is not a function here; {', '.join(self._rules)} are.")
        if len(word) not in ASKED:
            return super(Puzzle, self).refuse(f"Only words of {ASKED[0]} to {ASKED[-1]} letters can be asked about.")
        if len(self._asked) == self._asks:
            return super(Puzzle, self).refuse("No question is left.")
        self._asked = (*self._asked, f"{name}({word}) = {self._value(name, word)}")
        left = self._asks - len(self._asked)
        return Transition(f"{self._asked[-1]}\n{left} question{'' if left == 1 else 's'} left.")

    def _step(self, value: str) -> Transition:
        if len(self._calls) == 1:
            return super(Puzzle, self).refuse("One call is left: reply <answer>WORD</answer> with its value.")
        if value != self._value(self._calls[0], self._values[-1]):
            return Transition(f"{value[:40]} is not {self._calls[0]}({self._values[-1]}).")
        self._calls, self._values = self._calls[1:], (*self._values, value)
        return Transition(f"Right.\nExpression: {self._expression()}")

    def _answer(self, answer: str) -> Transition:
        if answer.lower().strip("\"' .") == self.task.answer:
            self._values = (*self._values, self.task.answer)
            return Transition("Right.", 1.0, True, 1.0, {"solved": 1.0})
        return Transition(f"Wrong: {self._expression()} is another word.", terminated=True)

    @override
    def expert_action(self) -> str:
        """The value of the innermost call, of an oracle that knows the rules."""
        self.need_episode()
        value = self._value(self._calls[0], self._values[-1])
        return f"step {value}" if len(self._calls) > 1 else f"<answer>{value}</answer>"


def pair_split(inner: str, outer: str) -> Split:
    """The split in whose tasks `outer(inner(...))` may stand."""
    return split_of(f"string_compose/{inner} {outer}")


@lru_cache(maxsize=2)
def _followers(split: Split) -> dict[str, tuple[str, ...]]:
    """Function -> those that may be called on its value."""
    return {
        inner: tuple(outer for outer in FUNCTIONS if outer != inner and pair_split(inner, outer) == split) for inner in FUNCTIONS
    }


def _random_chain(draws: Draws, split: Split, length: int) -> list[str]:
    """Different functions, innermost first, all neighbours of the split."""
    while True:
        chain, left = [draws.pick(tuple(FUNCTIONS))], length - 1
        while left and (after := [name for name in _followers(split)[chain[-1]] if name not in chain]):
            chain.append(draws.pick(after))
            left -= 1
        if not left:
            return chain


def _tried(draws: Draws, chain: list[str]) -> str:
    """A word on which every function of the chain does something and their order matters; "" if the drawn one is not."""
    word = _random_word(draws, 10)
    values = [word]
    for name in chain:
        values.append(FUNCTIONS[name](values[-1]))
    backwards = word
    for name in reversed(chain):
        backwards = FUNCTIONS[name](backwards)
    right = len(set(values)) == len(values) and all(len(value) in _LENGTHS for value in values)
    return word if right and (len(chain) == 1 or backwards != values[-1]) else ""


def _random_word(draws: Draws, letters: int) -> str:
    """Consonants and vowels in no order: where they came in turn, rules about vowels would look like rules about places."""
    return "".join(draws.pick(_VOWELS if draws.uniform() < 0.4 else _CONSONANTS) for _ in range(letters))


def _is_word(text: str) -> bool:
    return text.isascii() and text.isalpha() and text.islower()


def _task(name: str, word: str, chain: list[str], called: dict[str, str], shown: dict[str, list[str]], difficulty: int) -> Task:
    """`answer`: the value of the expression. Examples stand in the order of the alphabet, which tells nothing about the calls."""
    value = word
    for key in chain:
        value = FUNCTIONS[key](value)
    calls = [called[key] for key in chain]
    examples = {called[key]: shown[key] for key in sorted(chain, key=called.__getitem__)}
    lines = [f"{call}({text}) = {FUNCTIONS[key](text)}" for key, call in called.items() for text in shown[key]]
    expression = f"{''.join(f'{call}(' for call in reversed(calls))}{word}{')' * len(calls)}"
    prompt = "\n".join([*sorted(lines), f"What is {expression}?"])
    metadata = {"word": word, "calls": calls, "rules": {called[key]: key for key in chain}, "examples": examples}
    return Task(name, prompt, value, difficulty, metadata)
