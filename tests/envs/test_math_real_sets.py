"""Sets of real numbers: every way of writing one says the same, and no two sets are taken for each other."""

from fractions import Fraction

import numpy as np
import pytest

from turnwise.envs.math.answers import grade_answer
from turnwise.envs.math.real_sets import real_set
from turnwise.envs.testing.hostile import PAYLOADS

RIGHT = {
    r"(-\infty,-1]\cup[4,\infty)": [
        "x <= -1 or x >= 4",
        r"x\le -1 \text{ or } x\ge 4",
        r"x \leq -1 \cup x\geq 4",
        "x\u2264-1 or x\u22654",
        r"\{x \mid x\le -1 \text{ or } x \ge 4\}",
        r"x\in(-\infty,-1]\cup[4,\infty)",
        "-1>=x or 4<=x",
        r"$(-\infty,-1]$ or $[4,\infty)$".replace("$", ""),
        "x is at most -1 or x is at least 4",
        "x <= -1, x >= 4",
        r"[4,\infty)\cup(-\infty,-1]",
    ],
    r"x<-1 \text{ or } x>4": [r"(-\infty,-1)\cup(4,\infty)", "x>4 or x<-1", "t<-1 or t>4"],
    r"(-\infty,3)\cup(3,\infty)": [
        r"x\neq 3",
        "x != 3",
        r"\mathbb{R}\setminus\{3\}",
        "all real numbers except 3",
        r"\text{all real numbers except } x=3",
        r"\mathbb{R}-\{3\}",
        r"\{x\in\mathbb{R} \mid x\ne 3\}",
        "All real numbers except for 3.",
        "x<3 or x>3",
    ],
    r"(-\infty,-2)\cup(-2,2)\cup(2,\infty)": [
        "all real numbers except 2 and -2",
        r"\mathbb{R}\setminus\{-2,2\}",
        r"x<-2 \text{ or } -2<x<2 \text{ or } x>2",
    ],
    r"\mathbb{R}": ["all real numbers", r"(-\infty,\infty)", r"x\in\mathbb{R}", "all reals", r"\text{all real numbers}"],
    "(-3,5]": ["-3 < x <= 5", "x > -3 and x <= 5", r"\{x : -3<x\le5\}", r"x>-3 \text{ and } x\le 5", "5 >= x > -3", "x>-3, x<=5"],
    r"[2,\infty)": ["x >= 2", r"x\geqslant 2", "x is at least 2", "2<=x", r"\boxed{x \ge 2}", r"x\ge\frac{4}{2}", "y >= 2"],
    r"(-\infty,\sqrt{2})": [r"x<\sqrt{2}", r"x < \frac{2}{\sqrt2}"],
    "[1/2, 3/4)": [r"\frac12\le x<\frac34", r"0.5 \le x < 0.75"],
}
WRONG = {
    r"(-\infty,-1]\cup[4,\infty)": [
        "x < -1 or x > 4",
        "x <= -1 and x >= 4",
        "-1 <= x <= 4",
        "x >= -1 or x <= 4",
        "x <= 1 or x >= 4",
        "x <= -1",
        "x <= -1 or y >= 4",
        "all real numbers",
        "x <= -1 or x >= 4 or x = 2",
        r"x\le-1",
    ],
    r"(-\infty,3)\cup(3,\infty)": ["x=3", "all real numbers", "x != -3", "all real numbers except 3 and 4", "3", r"\{3\}", "x<3"],
    r"\mathbb{R}": ["real", "all numbers", "all real numbers except 0", "x>0", "0", r"\emptyset", "no real numbers", "R"],
    "(-3,5]": ["-3<=x<=5", "-3<x<5", "x>-3 or x<=5", "-3<y", "-3<x<=5, y=2", "x>-3", "5<x<=-3", "-3 < x <= 5.0001"],
    r"[2,\infty)": ["x>2", "x<=2", "x>=-2", "x>=2 or x>=1", "2", r"x\ge2\text{ cm}\cdot 3"],
    r"(-\infty,\sqrt{2})": ["x<2", "x<1.414214", r"x\le\sqrt{2}", r"x>\sqrt2"],
    "(1,2)": ["1<=x<=2", "x<1 or x>2", "all real numbers"],
    "3": ["x>3", "x>=3", "x != 3", "all real numbers except 3"],
}


@pytest.mark.parametrize("truth", RIGHT)
def test_right(truth: str) -> None:
    assert [answer for answer in (truth, *RIGHT[truth]) if grade_answer(answer, truth) != 1.0] == []
    assert [answer for answer in RIGHT[truth] if grade_answer(truth, answer) != 1.0] == []


@pytest.mark.parametrize("truth", WRONG)
def test_wrong(truth: str) -> None:
    assert [answer for answer in WRONG[truth] if grade_answer(answer, truth) != 0.0] == []


def test_no_set_is_taken_for_another() -> None:
    forms = [(truth, form) for truth, answers in RIGHT.items() for form in (truth, *answers)]
    same = {(r"x<-1 \text{ or } x>4", r"(-\infty,-1]\cup[4,\infty)")}
    wrong = [(a, b) for a, form in forms for b in RIGHT if a != b and (a, b) not in same and grade_answer(form, b)]
    assert wrong == []


def ways(low: int | None, low_closed: bool, high: int | None, high_closed: bool) -> list[str]:
    """A few of the ways to write an interval with a number at one end at least."""
    less, more = "<=" if high_closed else "<", ">=" if low_closed else ">"
    ends = r"-\infty" if low is None else low, r"\infty" if high is None else high
    bracketed = f"{'[' if low_closed else '('}{ends[0]},{ends[1]}{']' if high_closed else ')'}"
    if low is None:
        return [bracketed, f"x{less}{high}", rf"{high}{'>=' if high_closed else '>'}x", rf"\{{x \mid x {less} {high}\}}"]
    if high is None:
        return [
            bracketed,
            f"x {more} {low}",
            rf"{low}{'<=' if low_closed else '<'}x",
            f"x is {'at least' if low_closed else 'more than'} {low}",
        ]
    chain = f"{low}{'<=' if low_closed else '<'}x{less}{high}"
    return [
        bracketed,
        chain,
        f"x{more}{low} and x{less}{high}",
        f"x{more}{low}" + r" \text{ and } " + f"x{less}{high}",
    ]


def holds(spans: list[tuple[int | None, bool, int | None, bool]], x: Fraction) -> bool:
    return any(
        (low is None or x > low or (x == low and low_closed)) and (high is None or x < high or (x == high and high_closed))
        for low, low_closed, high, high_closed in spans
    )


def test_random_sets_are_equal_where_their_members_are() -> None:
    """Members at every end and between: the oracle knows nothing of how sets are written."""
    rng = np.random.default_rng(0)
    points = [Fraction(n, 2) for n in range(-14, 15)]
    drawn: list[tuple[frozenset[Fraction], str]] = []
    for _ in range(150):
        spans: list[tuple[int | None, bool, int | None, bool]] = []
        for _ in range(1 + int(rng.integers(2))):
            low, high = sorted(int(n) for n in rng.choice(13, 2, replace=False) - 6)
            kind = int(rng.integers(3))
            low_closed, high_closed = bool(rng.integers(2)), bool(rng.integers(2))
            spans.append(
                (None if kind == 1 else low, low_closed and kind != 1, None if kind == 2 else high, high_closed and kind != 2)
            )
        written = " or ".join(str(rng.choice(ways(*span))) for span in spans)
        assert real_set(written) is not None, written
        drawn.append((frozenset(x for x in points if holds(spans, x)), written))
    for members, one in drawn:
        for others, other in drawn[::7]:
            assert real_set(one) == real_set(other) if members == others else real_set(one) != real_set(other), (one, other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "5",
        "x=5",
        "x<y",
        "x<<3",
        "x<3<",
        "<3",
        "1<2",
        "3<x>2",
        "x<3 and",
        "or",
        "x<3 or",
        "x!=2 and x!=3",
        "(1,2,3)",
        "(2,1)",
    ],
)
def test_what_is_no_set(text: str) -> None:
    assert real_set(text) is None


def test_hostile() -> None:
    for payload in (*PAYLOADS, "x<" * 150, "(" * 200 + "1,2", "x or " * 70, r"\{x \mid " * 40, "|" * 300, "x<1 or " * 50 + "x<2"):
        for answer in (payload[:400], f"x<{payload[:300]}", f"all real numbers except {payload[:300]}", f"({payload[:150]},2]"):
            assert grade_answer(answer, r"(-\infty,7919]\cup[7927,\infty)") == 0.0
