"""Templates of MathTools: every closed form against brute force or sympy, chains, spread of the answers."""

import contextlib
import io
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from turnwise.envs.draws import Draws
from turnwise.envs.math.problem import Slots, polynomial
from turnwise.envs.math.problem_chain import AREAS, LETTERS, LEVELS, Template, build_chain, build_parts, make_problem

TEMPLATES = [(area, template) for area, templates in AREAS.items() for template in templates]


def ran(code: str) -> Fraction:
    """What a call prints. The code is ours."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    return Fraction(out.getvalue().strip())


def test_there_are_enough() -> None:
    assert min(len(templates) for templates in AREAS.values()) >= 6
    assert len({template.__name__ for _, template in TEMPLATES}) == len(TEMPLATES) >= 50


@pytest.mark.parametrize(("area", "template"), TEMPLATES)
def test_closed_form_and_code_agree(area: str, template: Template) -> None:
    """The value comes from a closed form, the code finds it by sympy or by brute force."""
    before = [None, ("B", 12345), ("B", Fraction(-70, 31)), ("B", -4), None, ("B", 0)]
    for seed, first in enumerate(before):
        part, code = build_parts(Draws(np.random.default_rng(seed)), template, first)
        assert ran(code) == part.value, part.text
        if first is None:
            assert not set(" \n".join(part.text.split()).split()) & set("bcdghkl"), part.text


@pytest.mark.parametrize(("area", "template"), TEMPLATES)
def test_a_template_has_many_problems(area: str, template: Template) -> None:
    draws = Draws(np.random.default_rng(3))
    made = [build_parts(draws, template)[0] for _ in range(400)]
    assert len({part.text for part in made}) >= 395
    assert max(Counter(part.value for part in made).values()) <= 60


def test_links() -> None:
    slots = Slots(Draws(np.random.default_rng(0)), ("B", 103))
    number = slots.link(10, 29)
    assert (number, f"{number}", number * 2) == (13, "b", 26)
    assert slots.text == "Let b be 10 plus the remainder (0 to 19) when B is divided by 20. "
    assert slots.code == "b = 10 + (B) % 20\n"
    assert str(slots.link(10, 29)).isdigit()
    slots = Slots(Draws(np.random.default_rng(0)), ("C", Fraction(-3, 8)))
    assert (slots.link(2, 11), str(slots.link(2, 11)).isdigit()) == (2 + 5, True)
    assert slots.text.startswith("Let c be 2 plus the remainder (0 to 9) when p + q is divided by 10, where C = p/q")


def test_polynomials() -> None:
    assert polynomial([1, -1, 0, -7]) == ("x^3 - x^2 - 7", "+1*x**3-1*x**2-7*x**0")
    assert polynomial([-2, 1]) == ("-2x + 1", "-2*x**1+1*x**0")
    assert polynomial([0, 0])[0] == "0"


@pytest.mark.parametrize("level", LEVELS)
def test_chains(level: int) -> None:
    rng = np.random.default_rng(level)
    for _ in range(6):
        task = make_problem(rng, level)
        calls = task.metadata["calls"]
        assert len(calls) == LEVELS[level]
        assert ran(calls[-1]) == Fraction(task.answer)
        used = LETTERS[: len(calls)]
        if level > 1:
            assert f"What is {used[-1]}?" in task.prompt
            assert all(f"\n{letter}: " in task.prompt for letter in used)
            links = sum(f"Let {letter.lower()} be" in task.prompt for letter in used)
            assert links == len(calls) - 1
        assert task.answer not in task.prompt.replace(".", " ").replace(",", " ").split()


def test_answers_are_spread() -> None:
    rng = np.random.default_rng(0)
    answers = Counter(make_problem(rng, 1).answer for _ in range(2000))
    assert answers.most_common(1)[0][1] <= 12
    assert not {"0", "1", "2", "3", "5", "10", "-1", "1/2"} & set(answers)


def test_areas_can_be_chosen() -> None:
    draws = Draws(np.random.default_rng(0))
    texts = [build_chain(draws, 1, ["probability"]).text for _ in range(20)]
    assert all("probability" in text or "expected gain" in text for text in texts)
