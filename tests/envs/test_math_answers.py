"""Grading of answers of every kind: tables of right and wrong pairs, agreement with math-verify, hostile text, threads."""

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import LatexExtractionConfig, parse, verify

from turnwise.envs.math.answer_text import extracted, symbolic_text
from turnwise.envs.math.answers import grade_answer
from turnwise.envs.math.work_limit import TooMuchWork, work_limit
from turnwise.envs.testing.hostile import PAYLOADS

# (truth, answers that say the same)
RIGHT = {
    "12": ["12", "$12$", r"\boxed{12}", "12.0", "x = 12", "12 cups", r"12\text{ cups}", r"n=12", r"\$12", "$12",
        "+12", "24/2", r"\frac{24}{2}"],
    "18": ["18 dollars", "$18.00", r"\$18", "18.", "018"],
    "1500": ["1,500", r"1.5 \times 10^3", r"1.5\cdot 10^{3}", "1500 meters", "1{,}500"],
    r"\frac{14}{3}": ["14/3", r"\dfrac{14}{3}", r"4\frac{2}{3}", r"\frac{28}{6}", r"x=\frac{14}{3}", "4 2/3"],
    r"-\frac{2}{3}": [r"\frac{-2}{3}", "-2/3", r"-\tfrac23", r"\frac{2}{-3}"],
    r"10\%": ["10%", "10", r"10 \%", "0.1"],
    "0.5": ["1/2", ".5", r"\frac12", "50%"],
    r"5.4 \text{ cents}": ["5.4", "5.4 cents", r"5.4\text{ cent}", r"5.4 \mbox{ cents}"],
    r"864 \mbox{ inches}^2": ["864", r"864\text{ inches}^2", r"864 \text{ inches}^{2}"],
    r"90^\circ": ["90", r"90^{\circ}", "90\u00b0", "90 degrees"],
    r"\$32,\!348": ["32348", "$32,348", r"\$32{,}348"],
    r"11\sqrt2": [r"11\sqrt{2}", r"\sqrt{242}", r"11 \cdot \sqrt{2}", "11*sqrt(2)", "11sqrt2", r"\sqrt{2}\cdot 11"],
    r"\frac{\sqrt{3}}{3}": [r"\frac{1}{\sqrt{3}}", r"\sqrt{3}/3", r"\frac{\sqrt3}3", r"\dfrac{\sqrt{3}}{3}", "sqrt(3)/3"],
    r"\frac{1+\sqrt{5}}{2}": [r"\frac{1}{2}+\frac{\sqrt{5}}{2}", r"\frac{\sqrt5+1}{2}", "(1+sqrt(5))/2"],
    r"\frac{\pi}{2}": [r"\pi/2", "pi/2", r"\frac{1}{2}\pi", r"0.5\pi", "\u03c0/2"],
    r"36\pi": [r"36 \pi", "36pi", r"\pi \cdot 36", "36*pi", r"V=36\pi", r"36\pi\text{ cm}^3"],
    r"3\pi - 2\sqrt{2}": [r"-2\sqrt{2}+3\pi", r"3\pi-\sqrt8"],
    r"\ln 8": [r"3\ln 2", r"\ln(8)", "ln(8)"],
    r"e^2 - 1": ["e^{2}-1", "-1+e^2", "(e-1)(e+1)"],
    r"\log_2 3": [r"\log_{2}3", r"\log_2(3)", r"\frac{\ln 3}{\ln 2}"],
    "x^2+2x+1": ["(x+1)^2", "x^2 + 2x + 1", "1+2x+x^2", "x**2 + 2*x + 1", "x\u00b2+2x+1", "f(x)=(x+1)^2"],
    "(x-2)(x+3)": ["(x+3)(x-2)", "x^2+x-6"],
    r"\frac{x+1}{x-1}": ["(x+1)/(x-1)", r"\frac{-x-1}{1-x}", r"\dfrac{x+1}{x-1}"],
    "6+9i": ["9i+6", "6 + 9i", "6+9*i"],
    "p - q": ["-q+p", "p-q", "(p-q)"],
    "2x": ["x+x", "2*x", r"2\cdot x"],
    "y=2x+3": ["2x+3", "y = 3+2x", "y=2x+3"],
    "x^2+y^2=4": ["y^2+x^2=4", "x^2+y^2-4=0"],
    r"\left(3, \frac{\pi}{2}\right)": [r"(3,\pi/2)", r"\left( 3, \dfrac{\pi}{2} \right)", "(3, pi/2)", r"(3,\frac{1}{2}\pi)"],
    "(1,2)": ["(1, 2)", r"\left(1,2\right)", "1,2", "(2/2, 4/2)", "(x,y)=(1,2)"],
    "(2,-3,5)": ["(2, -3, 5)", r"\left(2,-3,5\right)"],
    "1,-2": ["-2,1", "-2, 1", r"1 \text{ and } -2", "1 and -2", "1 or -2", r"\{-2,1\}", "x=1,-2", r"1, \text{ or } -2"],
    r"\{1,2,3\}": [r"\{3,2,1\}", r"\left\{1, 2, 3\right\}", "1,2,3"],
    r"2\pm\sqrt{3}": [r"2+\sqrt{3},2-\sqrt{3}", r"2-\sqrt3, 2+\sqrt3", "2\u00b1sqrt(3)"],
    "[2,3]": [r"[2,\,3]", r"\left[2,3\right]", r"x\in[2,3]", "[2, 3]", r"2\le x\le 3", r"[\frac42, 3]"],
    r"(2,\infty)": [r"(2, \infty)", r"\left(2,\infty\right)", r"x \in (2,\infty)", "(2,\u221e)"],
    r"(-\infty,2)\cup(3,\infty)": [r"(3,\infty) \cup (-\infty,2)", r"\left(-\infty,2\right)\cup\left(3,\infty\right)"],
    r"[-1,2) \cup (3,5]": [r"(3,5]\cup[-1,2)"],
    r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}": [r"\begin{bmatrix}1\\2\end{bmatrix}", r"\begin{pmatrix}1\\ 4/2\end{pmatrix}"],
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}": [r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
        r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}"],
    r"\text{Evelyn}": ["Evelyn", "evelyn", r"\textbf{Evelyn}", r"\text{ Evelyn }", r"\mbox{Evelyn}", "Evelyn."],
    r"\text{(C)}": ["C", "(C)", r"\text{C}", r"\textbf{(C)}", r"\mathrm{C}", "(c)"],
    r"\text{even}": ["even", "Even", r"\text{ even}"],
    r"2516_8": [r"2516_{8}", "2516_8"],
    r"\frac{3}{2}x": ["1.5x", "3x/2", r"\frac{3x}{2}", r"\frac32 x"],
    r"\sin x \cos x": [r"\frac{1}{2}\sin 2x", r"\cos x\sin x", "sin(x)cos(x)"],
    "10!": ["3628800"],
    r"\binom{10}{3}": ["120"],
    "2^{10}": ["1024", "2^10", "2**10"],
    r"3x-2y \le 6": [r"3x-2y\leq 6", r"6 \ge 3x-2y", "3x-2y \u2264 6"],
    "x>2": ["2<x", "x > 2", r"(2,\infty)", r"x\in(2,\infty)"],
    "-1<x<4": ["(-1,4)", "-1 < x < 4"],
    r"\emptyset": [r"\varnothing", "\u2205"],
}  # fmt: skip

WRONG = {
    "12": ["13", "-12", "12 or 13", "12,13", "5+7", "3*4", "12%", "12^2", "12 million", "12 dozen", "21", "1 2",
        "12x", "13=12", "x=13", "{12", ""],
    "18": ["18.5", "180", "$1.8", "18 hundred", "eighteen", "(18,18)", "18 and 19"],
    "1500": ["15,00", "1.5", r"1.5\times 10^4", r"1.5\times 10", "1500000"],
    r"\frac{14}{3}": ["3/14", "4.666667", "4.67", r"\frac{14}{-3}", "14", r"\frac{14}{3}x", r"\frac{14}{3}, 1", "4 1/3"],
    "1/3": ["0.333333", "0.33", "33.3333%", "1/3 or 2/3", "3"],
    r"10\%": ["10 dollars or so", "11%", "0.01", "1000", "100%"],
    "0.5": ["0.50001", "5", "50", "-0.5", "1/2/1"],
    r"5.4 \text{ cents}": ["5.4 dollars", "54 cents", "4.5"],
    "5 cm": ["5 m", "5 km", "50 mm", "6 cm"],
    r"90^\circ": ["9", "90.1", "89", r"\frac{\pi}{2}"],
    r"11\sqrt2": [r"11\sqrt3", "11", "22", "15.556349", r"\sqrt{22}", r"11\sqrt{2}+1", r"-11\sqrt{2}",
        r"11\sqrt{2}, 0", "sqrt(11)*2"],
    r"\sqrt{2}": ["1.414214", "1.41", "2", r"\sqrt{2}=1.5", r"\sqrt[3]{2}", r"\pm\sqrt{2}", r"\sqrt{-2}"],
    r"\frac{\sqrt{3}}{3}": [r"\frac{\sqrt{3}}{2}", r"\frac{3}{\sqrt{2}}", r"\sqrt{3}", "0.577350"],
    r"\frac{\pi}{2}": [r"\pi", "1.5708", "3.14159/2", r"2\pi", r"\frac{2}{\pi}", "90", r"\frac{\pi}{3}"],
    r"36\pi": ["36", "113.097", r"36\pi^2", r"63\pi", "36p"],
    r"\ln 8": [r"\ln 9", r"\log_2 8", "8", "2.079442"],
    r"e^2 - 1": ["e^2", "e^2+1", "6.389056", "1-e^2", "e-1"],
    "x^2+2x+1": ["x^2+2x", "(x-1)^2", "x^2+2x+1=0 or x", "(y+1)^2", "x^2+2x+2", "x", "(x+1)^3"],
    r"\frac{x+1}{x-1}": [r"\frac{x-1}{x+1}", "-1", "x+1/x-1", r"\frac{x+1}{x+1}"],
    "6+9i": ["6-9i", "9+6i", "15", "6+9", "15i"],
    "p - q": ["q-p", "p+q", "p", "pq"],
    "2x": ["x", "2y", "x^2", "2", "3x-1"],
    "y=2x+3": ["y=2x-3", "y=3x+2", "2x", "x=2y+3"],
    "x^2+y^2=4": ["x^2+y^2=2", "x^2-y^2=4", "4"],
    r"\left(3, \frac{\pi}{2}\right)": [r"(\frac{\pi}{2},3)", r"(3,\pi)", "(3,2)", "3", r"(3,-\frac{\pi}{2})",
        r"(3,\frac{\pi}{2},0)", "(3,1.5708)"],
    "(1,2)": ["(2,1)", "[1,2]", r"\{1,2\}", "(1,2,3)", "(1,3)", "12", "1", "(1,2]"],
    "(2,-3,5)": ["(2,3,5)", "(-3,2,5)", "(2,-3)", "2"],
    "1,-2": ["1,2", "1", "-2", "1,-2,3", "-1,2", "(1,-3)"],
    r"\{1,2,3\}": [r"\{1,2\}", r"\{1,2,4\}", "(1,2,3)", "123", r"\{1,2,3,4\}"],
    r"2\pm\sqrt{3}": [r"2+\sqrt{3}", r"2-\sqrt{3}", r"3\pm\sqrt{2}", r"-2\pm\sqrt{3}"],
    "[2,3]": ["(2,3)", "[2,3)", "(2,3]", "[3,2]", "[2,4]", r"\{2,3\}", "2"],
    r"(2,\infty)": [r"[2,\infty)", r"(-\infty,2)", r"(3,\infty)", r"\infty", "2", r"(2,-\infty)"],
    r"(-\infty,2)\cup(3,\infty)": [r"(-\infty,2]\cup(3,\infty)", r"(-\infty,2)", r"(2,3)",
        r"(-\infty,3)\cup(2,\infty)", r"(-\infty,\infty)"],
    r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}": [r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}",
        r"\begin{pmatrix} 1 & 2 \end{pmatrix}", "3", r"\begin{pmatrix} 1 \\ 2 \\ 0\end{pmatrix}"],
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}": [r"\begin{pmatrix}1&3\\2&4\end{pmatrix}", "10",
        r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"],
    r"\text{Evelyn}": ["Eve", "Evelyne", "Evelyn and Bob", "nylevE", "x", "1"],
    r"\text{(C)}": ["A", "B", "(D)", "CC", "AC", "(A) (C)", "A or C"],
    r"\text{even}": ["odd", "neither", "not even", "even or odd", "e"],
    r"2516_8": ["2516_9", "2517_8"],
    r"\sin x \cos x": [r"\sin x", r"\sin 2x", r"\sin x+\cos x", r"\cos^2 x"],
    "10!": ["9!", "10", "3628801"],
    "2^{10}": ["2^{11}", "20", "10^2", "1000"],
    r"3x-2y \le 6": [r"3x-2y\ge 6", r"3x-2y<6", r"3x+2y\le 6", "6"],
    "x>2": ["x<2", r"x\ge 2", "2", "x>3", r"[2,\infty)", "(2,3)", r"(-\infty,2)"],
    r"\emptyset": ["0", r"\{0\}", "1"],
}  # fmt: skip

RIGHT_PAIRS = [(truth, answer) for truth, answers in RIGHT.items() for answer in [truth, *answers]]
WRONG_PAIRS = [(truth, answer) for truth, answers in WRONG.items() for answer in answers]


@pytest.mark.parametrize(("truth", "answer"), RIGHT_PAIRS)
def test_right(truth: str, answer: str) -> None:
    assert grade_answer(answer, truth) == 1.0


@pytest.mark.parametrize(("truth", "answer"), WRONG_PAIRS)
def test_wrong(truth: str, answer: str) -> None:
    assert grade_answer(answer, truth) == 0.0


def test_agrees_with_math_verify() -> None:
    """On all pairs above but those where the module says that it is stricter, which are no more than these."""

    def theirs(truth: str, answer: str) -> bool:
        found = [
            parse(f"${text}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)  # pyright: ignore[reportArgumentType]
            for text in (truth, answer)
        ]
        return all(found) and verify(*found, timeout_seconds=None)

    plain = [pair for pair in RIGHT_PAIRS + WRONG_PAIRS if pair[1].isascii() and "sqrt(" not in pair[1] and "**" not in pair[1]]
    missed = [(truth, answer) for truth, answer in plain if theirs(truth, answer) and not grade_answer(answer, truth)]
    stricter = [
        (truth, answer)
        for truth, answer in missed
        if re.search(r"\d\.\d|%|=", answer)  # rounded decimals, per cent, two answers in one
        or {truth[:1], answer[:1]} == {"(", "\\"}  # a set is no tuple
        or re.fullmatch(r"\d[-+*]\d", answer)  # not calculated
        or "dozen" in answer or "million" in answer or "_" in truth or " " in answer
    ]  # fmt: skip
    assert len(missed) - len(stricter) <= 0.01 * len(plain), set(missed) - set(stricter)


HOSTILE = [
    "9**9**9**9",
    "9^{9^{9^9}}",
    "((9^{99})^{99})^{99}",
    "9^{99 99 99}",
    "2^{10^{10}}x",
    r"\boxed{" * 100_000,
    r"\frac{" * 60,
    r"\sqrt{" * 50 + "2" + "}" * 50,
    "(" * 50 + "x" + ")" * 50,
    "99999!",
    "50!!!!!!",
    "((50!)!)!",
    r"\binom{99999999}{49999999}",
    r"\sum_{i=1}^{10^{10}} i",
    r"\prod_{n=1}^{10^{9}} n",
    r"\int_0^1 x^{x^x} dx",
    r"\lim_{x\to 0} x^x",
    "(x+1)^{1000}(x+2)^{1000}",
    "(a+b+c+d+e)^{60}",
    "+".join(f"x^{{{n}}}" for n in range(20)),
    "|" * 60 + "x",
    r"\sin" * 30 + " x",
    r"\log_{\log_{\log_{2}2}2}2",
    r"\begin{bmatrix}" * 8,
    "1,2," * 90,
    r"x\in" * 30,
    "__import__('os').system('true')",
    "(lambda: 2)()",
]


@pytest.mark.parametrize("payload", [*PAYLOADS, *HOSTILE])
@pytest.mark.parametrize("truth", ["7919/3", r"\sqrt{7919}", "x^2+7919", "(1,7919)", r"\text{Evelyn}"])
def test_hostile(payload: str, truth: str) -> None:
    for answer in (payload, f"${payload}$", rf"\boxed{{{payload}}}", rf"\frac{{{payload}}}{{1}}", f"({payload},{payload})"):
        assert grade_answer(answer, truth) == 0.0


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40) | st.text(st.sampled_from("0123456789.,/^*-+%!_(){}[]|$\\ =xyie"), max_size=25))
def test_any_text_gets_a_grade(answer: str) -> None:
    assert grade_answer(answer, r"\frac{\sqrt{7919}}{3}") in (0.0, 1.0)
    grade_answer("5", answer)


def test_work_is_counted() -> None:
    def climb(n: int) -> int:
        return n and climb(n - 1)

    with work_limit(60):
        climb(50)
    with pytest.raises(TooMuchWork), work_limit(40):
        climb(50)
    climb(500)


def test_work_of_generators_alone_ends() -> None:
    made: list[int] = []

    def many() -> Iterator[int]:
        for n in range(1, 100_000):
            made.append(n)
            yield n

    with pytest.raises(TooMuchWork), work_limit(40):
        all(x for x in many())
    assert 0 < len(made) < 5_000


def test_what_python_clears_up_is_not_where_work_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that is left half-way and a `__del__` run with nobody to hear what is raised in them: whatever the limit, it is
    raised elsewhere."""

    def step(x: int) -> bool:
        return x > 0

    class Clears:
        def __del__(self) -> None:
            step(1)

    def work() -> None:
        for _ in range(4):
            any(step(x) for x in range(3))
            Clears()
            step(0)

    unheard: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: unheard.append(str(what.object)))
    for calls in range(30):
        with pytest.raises(TooMuchWork), work_limit(calls):
            work()
    assert unheard == []


def test_in_threads() -> None:
    cases = [(rf"\frac{{{n}\sqrt{{{n + 1}}}}}{{2}}", rf"\sqrt{{{n + 1}}} \cdot {n}/2") for n in range(2, 20)]
    with ThreadPoolExecutor(8) as pool:
        right = list(pool.map(lambda case: grade_answer(case[1], case[0]), cases))
        wrong = list(pool.map(lambda case: grade_answer(case[1] + "+1", case[0]), cases))
    assert (right, wrong) == ([1.0] * len(cases), [0.0] * len(cases))


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("so <answer>5</answer>", "5"),
        ("<answer>4</answer> no <answer> 5 </answer>", "5"),
        (r"It is \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"<answer>\boxed{5}</answer>", "5"),
        (r"\boxed{3} <answer>5</answer>", "5"),
        (r"\boxed{5", None),
        (r"\boxed{" * 1000, None),
        ("5", None),
        ("</answer>5<answer>", None),
    ],
)
def test_extracted(reply: str, answer: str | None) -> None:
    assert extracted(reply) == answer


def test_what_is_parsed_is_bounded() -> None:
    assert symbolic_text(r"0.25x+\sqrt{2}") == r"\frac{25}{100}x+\sqrt{2}"
    assert all(symbolic_text(payload) is None for payload in HOSTILE if "^{" in payload and "9" in payload)
