"""turnwise/CausalGraph-v0: what was seen, what would follow, what would have been: exact probabilities in a causal model.

A task is a few variables, 0 or 1, and arrows from causes to effects. Each variable is a fixed function of its direct causes,
turned around by a noise of its own with a chance below one half; which function and what chance is not told. Questions find it
out: the probability of one variable, or given one or two others, seen or set by an experiment, answered exactly.

    P(Dree=1)
    P(Dree=1 | Arbo=0, Belu=1)
    P(Dree=1 | do(Arbo=0), Belu=1)

What is wanted is too much for one question. It is one of three kinds, in equal parts:

    association      P(Y=1 | A=1, B=0, C=1): three others were seen, each of which matters
    intervention     P(Y=1 | do(X=1)), where no experiment on X can be made, and which seeing X=1 would not tell
    counterfactual   X=0, Y=0 were seen: the chance that Y would have been 1, had X been set to 1

The answer is a fraction or an expression, calculated and compared exactly: `<answer>(3/10 * 1/4) / (7/20)</answer>`. A wrong
one ends the game. No answer is a round number (its denominator is 50 or more), the answer to an easier question, or the chance of
a variable given its direct causes.

Levels are measured by the questions of an expert, who asks for each variable that matters how it depends on its direct causes:

    level  variables  questions of the expert
      1        4              4 to 8
      2        5              7 to 10
      3        6              9 to 12
      4        7             11 to 15
      5        8             14 to 24

Inference is exact: all settings are gone through, in whole numbers. Idea: the three rungs of causation (J. Pearl), as in the data
set CLadder (arXiv 2312.04350), whose questions are yes or no and come with all numbers; here they must be found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.actions import final_answer
from turnwise.envs.core import Transition
from turnwise.envs.draws import Draws
from turnwise.envs.math.calculator import CalculatorError, calculate
from turnwise.envs.options import TurnOptions
from turnwise.envs.puzzles.causal_model import Model, Setting, probability
from turnwise.envs.puzzles.causal_tasks import KINDS, NAMES, Query, answer_to, random_task, rows_of
from turnwise.envs.puzzles.grid_picture import Cell, Colour
from turnwise.envs.puzzles.puzzle import Puzzle, task_id
from turnwise.errors import UnknownName
from turnwise.types import Task

__all__ = ["LEVELS", "CausalGraph"]

LEVELS = {1: (4, 4, 8), 2: (5, 7, 10), 3: (6, 9, 12), 4: (7, 11, 15), 5: (8, 14, 24)}
"""Level -> variables, least and most questions of the expert."""
MOST_GIVEN = 2
"""Variables that a question may name after the bar."""

Said = tuple[bool, str, int]
"""Whether it is set (or seen), name and value of a variable as a question has them; no name where no condition could be read."""

_SPARE = 4
"""Questions more than it takes to ask everything about all variables; and turns for replies that are neither."""
_QUESTION = re.compile(r"(?:ask\s+)?P\s*\(\s*(\w+)\s*=\s*([01])\s*(?:\|([^|]*))?\)\s*[.?]?", re.IGNORECASE)
_GIVEN = re.compile(r"\s*(?:(do)\s*\(\s*(\w+)\s*=\s*([01])\s*\)|(\w+)\s*=\s*([01]))\s*", re.IGNORECASE)
_HOW = "End the reply with a question such as P({0}=1 | {1}=0) or P({0}=1 | do({1}=0)), or with <answer>...</answer>."
_PAPER: Colour = (236, 230, 216)
_NAME: Colour = (226, 214, 190)
_ARROW: Colour = (70, 110, 170)
_INK: Colour = (250, 250, 250)
_DARK: Colour = (70, 66, 60)


class CausalGraph(Puzzle):
    """Find the probability; reward 1 for exactly that, else 0. One reply is one question or the answer.

    kind: "any", or only "association", "intervention" or "counterfactual".
    """

    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        kind: Literal["any", "association", "intervention", "counterfactual"] = "any",
        instructions: bool = True,
        **options: Unpack[TurnOptions],
    ) -> None:
        super().__init__(instructions=instructions, **options)
        if kind not in ("any", *KINDS):
            raise UnknownName("kind", str(kind), ("any", *KINDS))
        self.kind = kind
        self._names: tuple[str, ...] = ()
        self._model = Model((), (), ())
        self._query = Query("association", (0, 1), (), ())
        self._asked: tuple[str, ...] = ()
        """Questions with their answers."""
        self._asks = 0
        """Questions allowed."""
        self._places: dict[str, int] = {}
        """Name in small letters -> variable."""

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        draws, (count, least, most) = Draws(rng), LEVELS[difficulty]
        kind = draws.pick(KINDS) if self.kind == "any" else self.kind
        model, query = random_task(draws, count, kind, range(least, most + 1))
        names = tuple(draws.shuffled(NAMES)[:count])
        prompt = f"{_arrows(names, model)}\n{_wanted(names, query)}"
        metadata = {
            "names": list(names),
            "causes": [list(causes) for causes in model.causes],
            "rules": [list(rule) for rule in model.rules],
            "flips": list(model.flips),
            "kind": query.kind,
            "target": list(query.target),
            "given": [list(pair) for pair in query.given],
            "do": [list(pair) for pair in query.do],
        }
        name = task_id("causal_graph", f"{prompt} {model.rules} {model.flips}")
        return Task(name, prompt, str(answer_to(model, query)), difficulty, metadata)

    @override
    def turns(self, task: Task) -> int:
        """The questions allowed, the answer, and 4."""
        return _questions(task) + 1 + _SPARE

    @override
    def rules(self) -> str:
        set_one = f" No experiment on {self._names[self._query.do[0][0]]} can be made." if self._query.do else ""
        return (
            "Causes and effects: variables are 0 or 1, and an arrow leads from each direct cause to its effect. Every "
            "variable is a fixed function of its direct causes (a constant where it has none), turned around by a noise of its "
            "own, with a chance below one half; noises do not depend on each other. Find the wanted probability, exactly.\n"
            f"You may ask {self._asks} questions, one a turn, for the probability of one variable given up to {MOST_GIVEN} "
            f"others, seen as in P({self._names[1]}=1 | {self._names[0]}=0) or set by an experiment as in P({self._names[1]}=1 | "
            f"do({self._names[0]}=0)).{set_one}\n"
            "When you know it, reply <answer>...</answer> with a fraction or an expression such as (3/10 * 1/4) / (7/20). A "
            "wrong answer ends the game."
        )

    @override
    def place(self, task: Task) -> None:
        data = task.metadata
        causes, rules, given, do = (tuple(tuple(row) for row in data[key]) for key in ("causes", "rules", "given", "do"))
        model, query = Model(causes, rules, tuple(data["flips"])), Query(data["kind"], tuple(data["target"]), given, do)
        _check(tuple(data["names"]), model, query)
        if str(answer_to(model, query)) != task.answer:
            raise ValueError("the answer is another one")
        self._names, self._model, self._query = tuple(data["names"]), model, query
        self._asked, self._asks = (), _questions(task)
        self._places = {name.lower(): index for index, name in enumerate(self._names)}

    @override
    def opening(self) -> str:
        return f"{_arrows(self._names, self._model)}\n{_wanted(self._names, self._query)}"

    @override
    def board(self) -> str:
        return "\n".join([self.opening(), *self._asked])

    @override
    def cells(self) -> list[list[Cell]]:
        """A row for each cause, a column for each effect; an arrow is a blue cell."""
        order = sorted(range(len(self._names)), key=self._names.__getitem__)
        blank: Cell = ("", _PAPER, _PAPER)
        rows: list[list[Cell]] = [[blank, *[(self._names[i][:4], _NAME, _DARK) for i in order]]]
        for cause in order:
            arrows = [cause in self._model.causes[effect] for effect in order]
            marks: list[Cell] = [("1", _ARROW, _INK) if arrow else blank for arrow in arrows]
            rows.append([(self._names[cause][:4], _NAME, _DARK), *marks])
        return rows

    @override
    def play(self, action: str) -> Transition:
        answer = final_answer(action)
        if answer is not None:
            return self._answer(answer)
        question = _read(action.strip().rpartition("\n")[2][:200].strip())
        if question is None:
            return super(Puzzle, self).refuse(_HOW.format(self._names[1], self._names[0]))
        (_, name, value), *conditions = question
        try:
            target = self._place(name), value
            given, do = self._conditions(conditions, target[0])
        except ValueError as error:
            return super(Puzzle, self).refuse(str(error))
        if len(self._asked) == self._asks:
            return super(Puzzle, self).refuse("No question is left. Reply <answer>...</answer>.")
        told = f"{_written(self._names, target, given, do)} = {probability(self._model, target, given, do)}"
        self._asked = (*self._asked, told)
        left = self._asks - len(self._asked)
        return Transition(f"{told}\n{left} question{'' if left == 1 else 's'} left.")

    def _place(self, name: str) -> int:
        place = self._places.get(name.lower())
        if place is None:
            raise ValueError(f"{name[:20]!r} is no variable; {', '.join(sorted(self._names))} are.")
        return place

    def _conditions(self, said: Sequence[Said], target: int) -> tuple[Setting, Setting]:
        """(seen, set) of what stands after the bar. ValueError says to the agent what is wrong with it."""
        seen, fixed, named = list[tuple[int, int]](), list[tuple[int, int]](), {target}
        for set_it, name, value in said:
            if not name:
                raise ValueError(
                    f"After the bar stand conditions such as {self._names[0]}=1 or do({self._names[0]}=1), with commas."
                )
            variable = self._place(name)
            named.add(variable)
            (fixed if set_it else seen).append((variable, value))
        if len(said) > MOST_GIVEN or len(named) <= len(said):
            raise ValueError(f"A question names one variable and up to {MOST_GIVEN} others after the bar, each once.")
        if fixed and self._query.do and any(variable == self._query.do[0][0] for variable, _ in fixed):
            raise ValueError(f"No experiment on {self._names[self._query.do[0][0]]} can be made.")
        return tuple(seen), tuple(sorted(fixed))

    def _answer(self, answer: str) -> Transition:
        try:
            value = calculate(answer).value
        except CalculatorError as error:
            return super(Puzzle, self).refuse(f"That is no number: {error}")
        if value == Fraction(self.task.answer):
            return Transition("Right.", 1.0, True, 1.0, {"solved": 1.0})
        return Transition("Wrong: the probability is another one.", terminated=True)

    @override
    def expert_action(self) -> str:
        """The next question about a variable that matters and its direct causes, or the answer."""
        self.need_episode()
        known = {line.rpartition(" = ")[0] for line in self._asked}
        wanted = (_written(self._names, *row, ()) for row in rows_of(self._model, self._query))
        question = next((row for row in wanted if row not in known), None)
        done = question is None or len(self._asked) == self._asks
        return f"<answer>{self.task.answer}</answer>" if done else str(question)


@lru_cache(maxsize=4096)
def _read(line: str) -> tuple[Said, ...] | None:
    """What a question says: of which variable and value, then its conditions; None if it is none."""
    question = _QUESTION.fullmatch(line)
    if question is None:
        return None
    said: list[Said] = [(False, question[1], int(question[2]))]
    for part in question[3].split(",") if question[3] is not None else []:
        found = _GIVEN.fullmatch(part)
        set_it, set_name, set_value, name, value = found.groups() if found else ("", "", "0", "", "0")
        said.append((bool(set_it), set_name or name, int(set_value or value)))
    return tuple(said)


def _questions(task: Task) -> int:
    """As many as rows tell everything, and some."""
    return sum(len(rule) for rule in task.metadata["rules"]) + _SPARE


def _written(names: tuple[str, ...], target: tuple[int, int], given: Setting, do: Setting) -> str:
    """A question as it is asked: `P(Y=1 | do(X=0), Z=1)`."""
    after = [f"do({names[variable]}={value})" for variable, value in do]
    after += [f"{names[variable]}={value}" for variable, value in given]
    return f"P({names[target[0]]}={target[1]}{' | ' if after else ''}{', '.join(after)})"


def _arrows(names: tuple[str, ...], model: Model) -> str:
    found = sorted(f"{names[cause]} -> {names[effect]}" for effect, causes in enumerate(model.causes) for cause in causes)
    return f"Variables: {', '.join(sorted(names))}. Arrows: {', '.join(found)}."


def _wanted(names: tuple[str, ...], query: Query) -> str:
    if query.kind != "counterfactual":
        return f"Wanted: {_written(names, query.target, query.given, query.do)}."
    seen = ", ".join(f"{names[variable]}={value}" for variable, value in query.given)
    (name, value), (other, fixed) = ((names[variable], setting) for variable, setting in (query.target, query.do[0]))
    return f"Wanted: {seen} was seen. The probability that {name} would have been {value}, had {other} been set to {fixed}."


def _check(names: tuple[str, ...], model: Model, query: Query) -> None:
    """ValueError where that is no model or no query in it."""
    count = len(names)
    if len({name.lower() for name in names}) != count or not all(re.fullmatch("[A-Za-z]+", name) for name in names):
        raise ValueError("names are different words of letters")
    if not count == len(model.causes) == len(model.rules) == len(model.flips) or not 2 <= count <= 12:
        raise ValueError("each of 2 to 12 variables has causes, a rule and flips")
    for variable, (causes, rule, flips) in enumerate(zip(model.causes, model.rules, model.flips, strict=True)):
        if not all(0 <= cause < variable for cause in causes) or len(rule) != 2 ** len(causes) or not set(rule) <= {0, 1}:
            raise ValueError("causes come first, and a rule has 0 or 1 for each of their settings")
        if flips not in range(1, 10):
            raise ValueError("flips are 1 to 9 twentieths")
    if query.kind not in KINDS or bool(query.do) == (query.kind == "association"):
        raise ValueError(f"kind is one of {', '.join(KINDS)}, and all but association set a variable")
