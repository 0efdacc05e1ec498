"""Problems of several parts, each of which needs the result of the one before: the tasks of MathTools."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from turnwise.envs.draws import Draws
from turnwise.envs.math import (
    problems_algebra,
    problems_calculus,
    problems_chance,
    problems_counting,
    problems_numbers,
    problems_words,
)
from turnwise.envs.math.problem import Part, Slots, Value
from turnwise.types import Task

__all__ = ["AREAS", "LETTERS", "LEVELS", "Chain", "build_chain", "build_parts", "make_problem"]

Template = Callable[[Slots], Part]

AREAS: Mapping[str, Sequence[Template]] = {
    "algebra": problems_algebra.TEMPLATES,
    "calculus": problems_calculus.TEMPLATES,
    "counting": problems_counting.TEMPLATES,
    "numbers": problems_numbers.TEMPLATES,
    "probability": problems_chance.TEMPLATES,
    "words": problems_words.TEMPLATES,
}
LEVELS: Mapping[int, int] = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Level -> parts."""
LETTERS = "BCDGHKLM"
"""Names of results; no template uses them or their small letters otherwise."""
_DIGITS = re.compile(r"[0-9]+")
_LEAST = 14
"""A final answer p/q has |p| + q of at least this: smaller ones can be guessed."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A whole problem."""

    text: str
    answer: str
    calls: tuple[str, ...]
    """Python for each part; each stands for itself and prints the result."""


def build_chain(draws: Draws, count: int, areas: Sequence[str]) -> Chain:
    """A problem of that many parts; the areas take turns in a random order."""
    order = draws.shuffled(areas)
    names = LETTERS[:count] if count > 1 else ""
    texts, calls, before = list[str](), list[str](), None
    for index in range(count):
        letter = LETTERS[index]
        templates = AREAS[order[index % len(order)]]
        last = index == count - 1
        while True:
            slots = Slots(draws, before)
            part = draws.pick(templates)(slots)
            if not last or not _guessable(part.value, [*texts, slots.text, part.text]):
                break
        texts.append(f"{letter}: {slots.text}{part.text}" if names else part.text)
        calls.append(_call(letter, before, slots, part))
        before = (letter, part.value)
    assert before is not None
    lead = f"Find {', '.join(names[:-1])} and {names[-1]}, one after the other.\n" if names else ""
    ask = f"What is {names[-1]}? " if names else ""
    text = lead + "\n".join(texts) + f"\n{ask}Answer with an integer or a fraction in lowest terms."
    return Chain(text, str(before[1]), tuple(calls))


def make_problem(rng: np.random.Generator, difficulty: int, areas: Sequence[str] = tuple(AREAS)) -> Task:
    """A random task of that level; `metadata["calls"]` holds the Python that solves it, part by part."""
    chain = build_chain(Draws(rng), LEVELS[difficulty], areas)
    name = hashlib.blake2b(chain.text.encode(), digest_size=8).hexdigest()
    return Task(f"math/{name}", chain.text, chain.answer, difficulty, {"calls": list(chain.calls)})


def build_parts(draws: Draws, template: Template, before: tuple[str, Value] | None = None) -> tuple[Part, str]:
    """(one part made from a template, Python that prints its value)."""
    slots = Slots(draws, before)
    part = template(slots)
    return part, _call("C" if before else "B", before, slots, part)


def _call(letter: str, before: tuple[str, Value] | None, slots: Slots, part: Part) -> str:
    *lines, expression = part.code.split("\n")
    first = ""
    if slots.text and before is not None:
        name, value = before
        fraction = isinstance(value, Fraction) and value.denominator > 1
        made = f"Fraction({value.numerator}, {value.denominator})" if fraction else str(value)
        first = f"from fractions import Fraction\n{name} = {made}\n" if fraction else f"{name} = {made}\n"
        first += slots.code
    return first + "\n".join([*lines, f"{letter} = {expression}", f"print({letter})"])


def _guessable(value: Value, texts: Sequence[str]) -> bool:
    """Whether a final answer is small, or stands in the problem."""
    if abs(value.numerator) + value.denominator < _LEAST:
        return True
    digits = {number for text in texts for number in _DIGITS.findall(text)}
    return value.denominator == 1 and str(abs(value.numerator)) in digits
