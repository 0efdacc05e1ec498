"""Random causal models, and questions about them that cannot be answered by what stands next to them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from turnwise.envs.draws import Draws
from turnwise.envs.puzzles.causal_model import PARTS, Model, Setting, ancestors, probability

__all__ = ["KINDS", "NAMES", "Query", "answer_to", "random_task", "rows_of"]

KINDS = ("association", "intervention", "counterfactual")
_SYLLABLES = ("Arb Bel Car Dre Elv Fim Gur Hex Iln Jas Kel Lur Mox Ner Osp Pru", "a o")
NAMES: tuple[str, ...] = tuple(start + end for start in _SYLLABLES[0].split(" ") for end in _SYLLABLES[1].split(" "))
"""Without meaning, so that nobody knows better."""
_LEAST_DENOMINATOR = 50
_NUMBERS = (0, 1, 2, 2, 2, 2, 2, 2)
"""How many causes a variable gets, each as likely; two may be the same."""
_QUERIES = 5
"""Questions tried on a model before another is drawn."""
_RULES: dict[int, tuple[tuple[int, ...], ...]] = {
    0: ((0,), (1,)),
    1: ((0, 1), (1, 0)),
    2: tuple(rule for rule in product((0, 1), repeat=4) if (rule[0], rule[1]) != (rule[2], rule[3]) and rule[::2] != rule[1::2]),
}
"""Causes -> functions of them in which each matters."""


class Query(NamedTuple):
    """What is wanted: P(target | given) with `do` set; for counterfactuals `given` was seen before that."""

    kind: str
    target: tuple[int, int]
    given: Setting
    do: Setting


@lru_cache(maxsize=1024)
def answer_to(model: Model, query: Query) -> Fraction:
    """The exact probability."""
    return probability(model, query.target, query.given, query.do, before=query.kind == "counterfactual")


def rows_of(model: Model, query: Query) -> Iterator[tuple[tuple[int, int], Setting]]:
    """(variable = 1, setting of its direct causes) for each variable that matters: what an expert asks."""
    fixed = _fixed(query)
    for variable in sorted(_mattering(model, query, fixed)):
        causes = model.causes[variable]
        for setting in product(*((fixed[cause],) if cause in fixed else (0, 1) for cause in causes)):
            yield (variable, 1), tuple(zip(causes, setting, strict=True))


def _fixed(query: Query) -> dict[int, int]:
    """What an expert need not ask for: the variable that is set, with its value."""
    return dict(query.do) if query.kind == "intervention" else {}


def _mattering(model: Model, query: Query, fixed: dict[int, int]) -> set[int]:
    return ancestors(model, [query.target[0], *dict(query.given)], fixed).difference(fixed)


def _count(model: Model, query: Query) -> int:
    """How many rows there are."""
    fixed = _fixed(query)
    matter = _mattering(model, query, fixed)
    if not fixed:
        return sum([1 << len(model.causes[variable]) for variable in matter])
    return sum([1 << len([cause for cause in model.causes[variable] if cause not in fixed]) for variable in matter])


def random_task(draws: Draws, count: int, kind: str, rows: range) -> tuple[Model, Query]:
    """A model of so many variables, and a question of that kind that so many rows of it matter for."""
    while True:
        model = _random_model(draws, count)
        for _ in range(_QUERIES):
            query = _random_query(draws, model, kind)
            if query is not None and _count(model, query) in rows and _hard_to_guess(model, query):
                return model, query


def _random_model(draws: Draws, count: int) -> Model:
    """Every variable but the first has two causes among those before it, now and then one, seldom none."""
    causes, rules, flips = list[tuple[int, ...]](), list[tuple[int, ...]](), list[int]()
    for variable in range(count):
        number = min(variable, draws.pick(_NUMBERS))
        direct = {draws.below(variable) for _ in range(number)}
        causes.append(tuple(sorted(direct)))
        rules.append(draws.pick(_RULES[len(direct)]))
        flips.append(1 + draws.below(PARTS // 2 - 1))
    return Model(tuple(causes), tuple(rules), tuple(flips))


def _random_query(draws: Draws, model: Model, kind: str) -> Query | None:
    """None where the model does not suit: a question is about variables that may tell of each other."""
    count, bits = len(model.causes), [draws.below(2) for _ in range(4)]
    y = draws.below(count) if kind == "association" else count - 1 - draws.below(2)
    if kind == "association":
        near = _blanket(model, y)
        if len(near) < 3:
            return None
        return Query(kind, (y, bits[0]), tuple(sorted(zip(draws.shuffled(near)[:3], bits[1:], strict=True))), ())
    before = [x for x in sorted(ancestors(model, (y,)))[:-1] if kind == "counterfactual" or model.causes[x]]
    if not before:
        return None
    x = draws.pick(before)
    if kind == "intervention":
        return Query(kind, (y, bits[0]), (), ((x, bits[1]),))
    others = [z for z in range(count) if z not in (x, y)] if count > 4 else []
    seen = [(x, 1 - bits[1]), (y, bits[2]), *([(draws.pick(others), bits[3])] if others else [])]
    return Query(kind, (y, bits[0]), tuple(sorted(seen)), ((x, bits[1]),))


def _blanket(model: Model, variable: int) -> list[int]:
    """Direct causes, effects, and the other causes of those: all that tells of a variable when it is known."""
    near = set(model.causes[variable])
    for effect, causes in enumerate(model.causes):
        if variable in causes:
            near.update(causes, (effect,))
    return sorted(near - {variable})


def _hard_to_guess(model: Model, query: Query) -> bool:
    """Whether the answer is no round number and not the one to an easier question."""
    answer = answer_to(model, query)
    if answer.denominator < _LEAST_DENOMINATOR:
        return False
    if query.kind == "association":
        easier = [probability(model, query.target, [p for p in query.given if p != left]) for left in query.given]
    else:
        easier = [probability(model, query.target), probability(model, query.target, query.do)]
        if query.kind == "counterfactual":
            easier += [probability(model, query.target, (), query.do)]
        else:
            variable, value = query.do[0]
            easier += [probability(model, query.target, (), ((variable, 1 - value),))]
    return answer not in easier
