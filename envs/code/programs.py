"""Programs nobody has seen: functions of several steps, in English, in Python, and with tests.

A function may call one that was drawn before it: on its value, or on each row of a grid, node of a graph or string of a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnwise.envs.code import steps_dynamic, steps_grids, steps_numbers, steps_text
from turnwise.envs.code.guest import encode
from turnwise.envs.code.inputs import ARGUMENTS, Labelled, examples_of, inputs_of
from turnwise.envs.code.plain import same, show
from turnwise.envs.code.problem import Case, Problem
from turnwise.envs.code.step import IN, OUT, Kind, Params, Step, Template
from turnwise.envs.draws import Draws, draws_of

__all__ = ["POOLS", "Program", "draw_program", "examples_for", "problem_of", "prompt_of", "run_program"]

POOLS: Mapping[Kind, Sequence[Template]] = {
    "numbers": (*steps_numbers.TEMPLATES, *steps_dynamic.NUMBERS),
    "text": (*steps_text.TEXT, *steps_dynamic.TEXT),
    "words": steps_text.WORDS,
    "table": steps_text.TABLE,
    "grid": (*steps_grids.GRID, *steps_dynamic.GRID),
    "graph": steps_grids.GRAPH,
}
"""Kind of value -> the steps that take it."""


def _sources() -> dict[Kind, list[tuple[Kind, Template]]]:
    found: dict[Kind, list[tuple[Kind, Template]]] = {}
    for kind, pool in POOLS.items():
        for template in pool:
            found.setdefault(template(Params(draws_of(template.__name__))).out, []).append((kind, template))
    return found


_INTO: Mapping[Kind, Sequence[tuple[Kind, Template]]] = _sources()
"""Kind of value -> (what a step takes, the step) of those that make one."""
_DYNAMIC = frozenset((*steps_dynamic.NUMBERS, *steps_dynamic.TEXT, *steps_dynamic.GRID))
_VARIANTS = 1_000_000
"""Programs that the choices after the templates must have been able to make, so that hardly ever two tasks are equal."""
_VERBS = ("make", "build", "derive", "work_out", "prepare", "compute", "produce", "assemble", "shape", "form")
_NOUNS = (
    "digest",
    "ledger",
    "series",
    "outcome",
    "profile",
    "figure",
    "record",
    "pattern",
    "report",
    "signal",
    "tally",
    "result",
)
_EACH: Mapping[Kind, Sequence[tuple[Kind, str]]] = {
    "numbers": (("grid", "row"), ("graph", "node's list of arrows")),
    "text": (("words", "string"),),
}
"""Kind of value -> (a kind that is made of them, what they are called in it)."""
_LISTS: Mapping[Kind, Kind] = {"number": "numbers", "text": "words"}
"""Kind of value -> the kind of a list of them."""


@dataclass(frozen=True, slots=True)
class Program:
    """A function, before it has tests."""

    name: str
    kind: Kind
    """Of its one argument."""
    steps: tuple[Step, ...]

    @property
    def argument(self) -> str:
        return ARGUMENTS[self.kind][0]

    @property
    def out(self) -> Kind:
        """The kind of its result."""
        return self.steps[-1].out

    @property
    def statement(self) -> str:
        """What is asked for, without examples. It is everything that makes the function, so ids are hashes of it."""
        steps = "\n".join(f"{i}. {step.text}" for i, step in enumerate(self.steps, 1))
        return (
            f"Write a Python function `{self.name}({self.argument})`.\n\n`{self.argument}` {ARGUMENTS[self.kind][1]}. The "
            f"function does these steps, each with the result of the one before, and returns the result of the last:\n{steps}\n"
            "Here % and // are Python's, so x % m is never negative for m > 0."
        )

    @property
    def source(self) -> str:
        """The solution."""
        lines, value, used = [f"def {self.name}({self.argument}):"], self.argument, {self.argument}
        for step in self.steps:
            name = step.name if step.name not in used else f"{step.name}{sum(u.startswith(step.name) for u in used) + 1}"
            code = step.code.replace(IN, value).replace(OUT, name)
            lines += [f"    {line}" for line in code.split("\n")]
            used.add(name)
            value = name
        return "\n".join([*lines, f"    return {value}\n"])

    def as_json(self) -> dict[str, Any]:
        """What `problem_of` needs of it, for a Task's metadata."""
        return {"name": self.name, "kind": self.kind, "statement": self.statement, "source": self.source}


def draw_program(draws: Draws, count: int, *, dynamic: bool = False, before: Sequence[Program] = ()) -> Program:
    """A random function of `count` steps; `dynamic`: the last one of dynamic programming, wherever there is one.

    With programs `before` it one step more calls one of these.
    """
    while True:
        params = Params(draws)
        name = f"{draws.pick(_VERBS)}_{draws.pick(_NOUNS)}"
        if any(name == other.name for other in before):
            continue
        if before:
            kind, steps = _draw_around(params, draws, count, before)
        else:
            kind: Kind = draws.pick(tuple(ARGUMENTS))
            steps = _draw_on(params, draws, kind, (), count, dynamic)
        if steps and (before or params.variants >= _VARIANTS):
            return Program(name, kind, tuple(steps))


def _draw_on(
    params: Params, draws: Draws, value: Kind, before: Sequence[Step], count: int, dynamic: bool = False
) -> list[Step] | None:
    """The steps `before` and `count` more, which begin with a value of that kind; None if they come to a dead end."""
    steps = list(before)
    for index in range(count):
        last = index == count - 1
        step = _draw_step(params, draws, value, steps, last=last, dynamic=dynamic and last)
        if step is None:
            return None
        steps.append(step)
        value = step.out
    return steps


def _draw_around(params: Params, draws: Draws, count: int, before: Sequence[Program]) -> tuple[Kind, list[Step] | None]:
    """(kind of the argument, steps) of a function that calls one of those before; some of its own steps stand before the call."""
    part = draws.below(len(before))
    ways, early = _calls(before[part], part + 1), draws.below(count + 1)
    if early < count:
        ways = [way for way in ways if way[1].out != "number"] or ways  # no step goes on from a number
    kind, call = draws.pick(ways)
    early = count if call.out == "number" else early
    steps = list[Step]()
    for _ in range(early):  # from the call back to the argument
        source, template = draws.pick(_INTO[kind])
        step = template(params)
        if step.out != kind or (steps and not _follows(steps[0], [step])):
            return kind, None
        steps.insert(0, step)
        kind = source
    return kind, _draw_on(params, draws, call.out, [*steps, call], count - early)


def _calls(helper: Program, part: int) -> Sequence[tuple[Kind, Step]]:
    """(kind of value that it takes, step) of the ways to call a function."""
    text = f"Give it to `{helper.name}` of part {part}. The result is what that returns."
    found: list[tuple[Kind, Step]] = [(helper.kind, Step(text, f"{OUT} = {helper.name}({IN})", helper.out, "made"))]
    if helper.out in _LISTS:
        for kind, each in _EACH.get(helper.kind, ()):
            text = f"Give each {each}, in order, to `{helper.name}` of part {part}. The result is the list of what that returns."
            found.append((kind, Step(text, f"{OUT} = [{helper.name}(item) for item in {IN}]", _LISTS[helper.out], "made")))
    return found


def _draw_step(params: Params, draws: Draws, value: Kind, before: Sequence[Step], *, last: bool, dynamic: bool) -> Step | None:
    """A step that makes something of `value` and undoes nothing of the step before; None if none was found soon."""
    pool = POOLS[value]
    hard = [template for template in pool if template in _DYNAMIC] if dynamic else []
    for _ in range(20):
        step = draws.pick(hard or pool)(params)
        if not last and step.out == "number":
            continue
        if _follows(step, before):
            return step
    return None


def _follows(step: Step, before: Sequence[Step]) -> bool:
    """Whether a step may come after those: it undoes nothing of the last one, and says nothing a second time."""
    if before and (before[-1].name == step.name or (before[-1].reorders and step.forgets_order)):
        return False
    return all(step.text != earlier.text for earlier in before)


def run_program(source: str, name: str, values: Sequence[Any]) -> list[Any]:
    """The results of a solution of ours, which is trusted and runs right here."""
    names: dict[str, Any] = {}
    exec(compile(source, "<reference>", "exec"), names)
    return [names[name](value) for value in values]


def examples_for(program: Program) -> list[Labelled]:
    """The inputs that a function is shown with, which are those of `problem_of`."""
    return examples_of(program.kind, draws_of(program.statement))


def problem_of(program: Mapping[str, Any], before: Sequence[str] = ()) -> Problem:
    """A program (`Program.as_json`) with its tests, by nothing but its statement and the sources that stand `before` it."""
    kind, name, source = program["kind"], program["name"], program["source"]
    examples, hidden = inputs_of(kind, draws_of(program["statement"]))
    values = [value for _, value in (*examples, *hidden)]
    results = [encode(r) for r in run_program("\n\n".join([*before, source]), name, values)]
    shown, right = results[: len(examples)], results[len(examples) :]
    given = [encode(value) for _, value in hidden]
    commonest = max(Counter(map(repr, right)).values()) / len(right)
    unchanged = sum(same(value, result) for value, result in zip(given, right, strict=True)) / len(right)
    return Problem(
        "calls",
        name,
        tuple(Case([encode(value)], result, label) for (label, value), result in zip(examples, shown, strict=True)),
        tuple(Case([value], result, label) for value, result, (label, _) in zip(given, right, hidden, strict=True)),
        floor=max(commonest, unchanged),
        solution=source,
    )


def prompt_of(statement: str, name: str, examples: Sequence[Case]) -> str:
    """A statement with its examples."""
    lines = [f"{name}({show(case.given[0], 1000)}) == {show(case.expected, 1000)}" for case in examples]
    return "\n".join([statement, "", "Examples:", *lines])
