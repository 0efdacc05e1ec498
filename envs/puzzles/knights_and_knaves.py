"""turnwise/KnightsAndKnaves-v0: who tells the truth and who lies, found out by thinking and by asking.

Every islander is a knight, who always tells the truth, or a knave, who always lies; there is at least one of each. Some of
them make a statement first. That leaves several possibilities open: questions to the islanders, answered yes or no by the same
rule, close them. There are only so many questions, and one answer: naming the knights rightly earns 1, anything else ends with 0.

    ask Ann: Bob is a knight        is Bob a knight, Ann?
    ask Ann: Bob is a knave
    ask Ann: Bob and Cid are alike  are both knights, or both knaves?
    <answer>Ann, Cid</answer>       the knights, all of them

Levels: more islanders, more that the statements leave open, and statements of more parts. The expert keeps all possibilities that
agree with what was said, and asks what divides them most evenly.

    level  islanders  possibilities left by the statements  questions allowed
      1        5             2                                     3
      2        6             3 and 4                               4
      3        7             5 to 8                                6
      4        8             9 to 16                               7
      5        9            17 to 32                               8

Idea: R. Smullyan's puzzles, and the data sets of them that are asked in one turn (arXiv 2410.23123); here asking is part of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.actions import final_answer
from turnwise.envs.core import Transition
from turnwise.envs.draws import Draws
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, task_id
from turnwise.types import Task

__all__ = ["LEVELS", "Claim", "KnightsAndKnaves", "holds", "worlds"]

LEVELS: dict[int, tuple[int, int, int, int]] = {
    1: (5, 2, 2, 3),
    2: (6, 3, 4, 4),
    3: (7, 5, 8, 6),
    4: (8, 9, 16, 7),
    5: (9, 17, 32, 8),
}
"""Level -> (islanders, least and most possibilities after the statements, questions allowed)."""

Claim = list[Any]
"""["knight", i], ["knave", i], ["alike", i, j], ["unlike", i, j], ["and", claim, claim] or ["or", claim, claim]."""

_NAMES: str = (
    "Ann Bob Cid Dora Emil Fay Gus Hana Ivo Jill Karl Lea Milo Nora Otto Pia Quinn Rosa Sven Tess Uma Vito Wanda Xaver "
    "Yara Zeno Abel Bella Carlo Dina Egon Frida Gino Heidi Igor Jonas Kira Lars Mona Nils Olga Paul Rita Saul Tina Urs Vera Willi"
)
_QUESTION = re.compile(
    r"ask\s+(\w+)\s*:\s*(\w+)\s+(?:is\s+an?\s+(knight|knave)|and\s+(\w+)\s+are\s+alike)\s*[.?]?", re.IGNORECASE
)
_HOW = "Ask as in 'ask {0}: {1} is a knight' or 'ask {0}: {1} and {2} are alike', or reply <answer>...</answer> with the knights."
_PAPER: Colour = (236, 230, 216)
_YES: Colour = (96, 166, 84)
_NO: Colour = (190, 70, 60)
_INK: Colour = (40, 40, 40)


class KnightsAndKnaves(Puzzle):
    """Find the knights; reward 1 for naming exactly them, else 0. One reply is one question or the answer."""

    levels = range(1, len(LEVELS) + 1)

    _people: tuple[str, ...] = ()
    _statements: tuple[tuple[int, Claim], ...] = ()
    """(who, claim)."""
    _knights: tuple[bool, ...] = ()
    _asked: tuple[tuple[int, Claim, bool], ...] = ()
    """(who, claim, whether the answer was yes)."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        count, low, high, _ = LEVELS[difficulty]
        draws = Draws(rng)
        while True:
            knights = [draws.below(2) == 1 for _ in range(count)]
            if len(set(knights)) == 1:
                continue
            speakers = sorted(draws.shuffled(range(count))[: count - difficulty])  # each halves what is possible
            statements = [(who, _random_statement(draws, knights, who, difficulty)) for who in speakers]
            if low <= int(_agreeing(count, statements).sum()) <= high:
                return _task(draws.shuffled(_NAMES.split())[:count], statements, knights, difficulty)

    @override
    def turns(self, task: Task) -> int:
        """The questions allowed, and one for the answer; a reply that is neither takes one too."""
        return LEVELS[task.difficulty][3] + 1

    @override
    def rules(self) -> str:
        how = _HOW.format(*self._people)
        return (
            "Knights and knaves: every islander is a knight, who always tells the truth, or a knave, who always lies. There is "
            "at least one of each. Find out who the knights are.\n"
            f"You may ask {self._limit - 1} questions, one a turn, answered yes or no. {how} A wrong answer ends the game."
        )

    @override
    def place(self, task: Task) -> None:
        people, knights = tuple(task.metadata["people"]), tuple(task.metadata["knights"])
        statements = tuple((int(who), list(claim)) for who, claim in task.metadata["statements"])
        if len(people) != len(knights) or len(people) < 3 or set(knights) != {True, False}:
            raise ValueError("three people or more are knights (true) and knaves (false), at least one of each")
        if any(holds(claim, knights) != knights[who] for who, claim in statements):
            raise ValueError("a knight lies or a knave tells the truth")
        self._people, self._knights, self._statements, self._asked = people, knights, statements, ()

    @override
    def opening(self) -> str:
        return _shown(self._people, self._statements)

    @override
    def board(self) -> str:
        asked = [f"{self._people[who]}: {_said(claim, self._people)}? {_yes(yes)}" for who, claim, yes in self._asked]
        return "\n".join([self.opening(), *asked])

    @override
    def cells(self) -> list[list[Cell]]:
        blank: Cell = ("", _PAPER, _PAPER)
        rows: list[list[Cell]] = [[(name[:4], _PAPER, _INK), *[blank] * (self._limit - 1)] for name in self._people]
        for turn, (who, _, yes) in enumerate(self._asked, 1):
            rows[who][turn] = ("Y", _YES, _INK) if yes else ("N", _NO, _INK)
        return rows

    @override
    def play(self, action: str) -> Transition:
        answer = final_answer(action)
        if answer is not None:
            return self._answer(answer)
        question = _QUESTION.fullmatch(action.strip())
        if question is None:
            return super(Puzzle, self).refuse(f"That is no question. {_HOW.format(*self._people)}")
        places = {name.lower(): index for index, name in enumerate(self._people)}
        who, one, kind, other = question.groups()
        stranger = next((name for name in (who, one, other) if name and name.lower() not in places), None)
        if stranger is not None:
            return super(Puzzle, self).refuse(f"{stranger[:20]!r} does not live here; {', '.join(self._people)} do.")
        speaker, about = places[who.lower()], places[one.lower()]
        claim: Claim = ["alike", about, places[other.lower()]] if other else [kind.lower(), about]
        yes = holds(claim, self._knights) == self._knights[speaker]
        self._asked = (*self._asked, (speaker, claim, yes))
        return Transition(f"{self._people[speaker]}: {_yes(yes)}.")

    def _answer(self, answer: str) -> Transition:
        named = [name for name in re.split(r"[\s,;]+|\band\b", answer.lower()) if name]
        knights = [name.lower() for name, knight in zip(self._people, self._knights, strict=True) if knight]
        if sorted(named) == sorted(knights):
            return Transition("Right.", 1.0, True, 1.0, {"solved": 1.0})
        return Transition("Wrong: these are not the knights.", terminated=True)

    @override
    def expert_action(self) -> str:
        """The question that divides the possibilities most evenly, or the answer where one is left (or no question)."""
        self.need_episode()
        everyone = worlds(len(self._people))
        left = everyone[_agreeing(len(self._people), self._statements)]
        for who, claim, yes in self._asked:
            left = left[(_truths(claim, left) == left[:, who]) == yes]
        if len(left) == 1 or self.turn >= self._limit - 1:
            knights = (name for name, knight in zip(self._people, left[0], strict=True) if knight)
            return f"<answer>{', '.join(knights)}</answer>"
        who, claim = _best_question(left)
        return f"ask {self._people[who]}: {_said(claim, self._people)}"


def _best_question(left: NDArray[np.bool_]) -> tuple[int, Claim]:
    """(who, claim) whose answer divides the worlds [N, islanders] most evenly.

    With +1 for knights and -1 for knaves, a says of b "is a knight" with the product of both, and of b and c "are alike" with the
    product of all three. So the sum over the worlds is 0 where the answer divides them in half, and +-N where it says nothing.
    """
    signs = np.where(left, 1, -1)
    pairs = np.abs(np.einsum("na,nb->ab", signs, signs)) + 0.25  # of two as good, a question about three says which is which
    triples = np.abs(np.einsum("na,nb,nc->abc", signs, signs, signs)).astype(float)
    same = np.eye(left.shape[1], dtype=bool)
    pairs[same] = np.inf
    triples[same[:, :, None] | same[:, None, :] | same[None, :, :]] = np.inf
    if pairs.min() < triples.min():
        who, one = (int(i) for i in np.unravel_index(pairs.argmin(), pairs.shape))
        return who, ["knight", one]
    who, one, other = (int(i) for i in np.unravel_index(triples.argmin(), triples.shape))
    return who, ["alike", one, other]


def holds(claim: Claim, knights: tuple[bool, ...]) -> bool:
    """Whether a claim is true where these are the knights."""
    return bool(_truths(claim, np.array([knights]))[0])


@lru_cache(maxsize=16)
def worlds(count: int) -> NDArray[np.bool_]:
    """[2 ** count - 2, count] every way to have knights (True) and knaves, at least one of each."""
    numbers = np.arange(1, 2**count - 1)
    found = (numbers[:, None] >> np.arange(count) & 1).astype(bool)
    found.setflags(write=False)
    return found


def _truths(claim: Claim, left: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[N] whether the claim is true in each of the worlds [N, islanders]."""
    kind, one = claim[0], claim[1]
    if kind in ("knight", "knave"):
        return left[:, one] == (kind == "knight")
    if kind in ("alike", "unlike"):
        return (left[:, one] == left[:, claim[2]]) == (kind == "alike")
    if kind in ("and", "or"):
        first, second = _truths(one, left), _truths(claim[2], left)
        return first & second if kind == "and" else first | second
    raise ValueError(f"{str(kind)[:20]!r} is no claim")


def _agreeing(count: int, statements: Sequence[tuple[int, Claim]]) -> NDArray[np.bool_]:
    """[worlds] where every knight's statement is true and every knave's false."""
    every = worlds(count)
    agree = np.ones(len(every), bool)
    for who, claim in statements:
        agree &= _truths(claim, every) == every[:, who]
    return agree


def _random_statement(draws: Draws, knights: list[bool], who: int, difficulty: int) -> Claim:
    """A statement about others that `who` could make: true of a knight, false of a knave."""
    while True:
        claim = _random_claim(draws, len(knights), who, deep=draws.uniform() < 0.15 * difficulty)
        if holds(claim, tuple(knights)) == knights[who]:
            return claim


def _random_claim(draws: Draws, count: int, who: int, deep: bool) -> Claim:
    if deep:
        return [draws.pick(("and", "or")), *(_random_claim(draws, count, who, deep=False) for _ in range(2))]
    one, other = draws.shuffled([person for person in range(count) if person != who])[:2]
    kind = draws.pick(("knight", "knave", "alike", "unlike"))
    return [kind, one] if kind in ("knight", "knave") else [kind, one, other]


def _said(claim: Claim, people: Sequence[str]) -> str:
    kind, one = claim[0], claim[1]
    if kind in ("knight", "knave"):
        return f"{people[one]} is a {kind}"
    if kind in ("and", "or"):
        return f"{_said(one, people)}, {kind} {_said(claim[2], people)}"
    return f"{people[one]} and {people[claim[2]]} are {kind}"


def _yes(yes: bool) -> str:
    return "yes" if yes else "no"


def _shown(people: Sequence[str], statements: Sequence[tuple[int, Claim]]) -> str:
    said = [f"{people[who]}: {_said(claim, people)}." for who, claim in statements]
    return "\n".join([f"Islanders: {', '.join(people)}.", *said])


def _task(people: list[str], statements: list[tuple[int, Claim]], knights: list[bool], difficulty: int) -> Task:
    """`answer`: the knights."""
    prompt = f"Each is a knight, who tells the truth, or a knave, who lies. Who are the knights?\n{_shown(people, statements)}"
    answer = ", ".join(name for name, knight in zip(people, knights, strict=True) if knight)
    metadata = {"people": people, "statements": [list(statement) for statement in statements], "knights": knights}
    return Task(task_id("knights_and_knaves", f"{prompt}\n{answer}"), prompt, answer, difficulty, metadata)
