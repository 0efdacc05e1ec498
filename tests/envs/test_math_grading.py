"""Grading of numbers: tables of right and wrong forms, properties, agreement with math-verify, threads."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import parse, verify

from turnwise.envs.math.grading import MAX_ANSWER, grade_number, read_number
from turnwise.envs.testing.hostile import PAYLOADS

RIGHT = [
    ("12", "12"),
    ("-12", "-12"),
    ("+12", "12"),
    ("012", "12"),
    ("12.", "12"),
    ("12.0", "12"),
    ("-0", "0"),
    ("0/5", "0"),
    ("1,000", "1000"),
    ("1,234,567.5", "2469135/2"),
    ("1{,}000", "1000"),
    (r"1\,000", "1000"),
    (r"1\!000", "1000"),
    ("0.5", "1/2"),
    (".5", "1/2"),
    ("50%", "1/2"),
    (r"50\%", "1/2"),
    ("12.5 %", "1/8"),
    ("1/2", "1/2"),
    ("2/4", "1/2"),
    ("-1/2", "-1/2"),
    ("1/-2", "-1/2"),
    ("-1/-2", "1/2"),
    ("1 / 2", "1/2"),
    ("1\u20442", "1/2"),
    ("\u22121/2", "-1/2"),
    ("1 1/2", "3/2"),
    ("-1 1/2", "-3/2"),
    ("1e3", "1000"),
    ("2.5E-1", "1/4"),
    ("2^3", "8"),
    ("2**3", "8"),
    ("2^{10}", "1024"),
    ("2^(-3)", "1/8"),
    ("-2^2", "-4"),
    ("(-2)^3", "-8"),
    (r"\frac{1}{2}", "1/2"),
    (r"\dfrac{1}{2}", "1/2"),
    (r"\tfrac{1}{2}", "1/2"),
    (r"-\frac{1}{2}", "-1/2"),
    (r"\frac{-1}{2}", "-1/2"),
    (r"\frac{ 1 }{ -2 }", "-1/2"),
    (r"\frac12", "1/2"),
    (r"\frac 1 2", "1/2"),
    (r"\frac1{2}", "1/2"),
    (r"1\frac{1}{2}", "3/2"),
    (r"-1\frac{1}{2}", "-3/2"),
    (r"$\frac{1}{2}$", "1/2"),
    (r"\(\frac{1}{2}\)", "1/2"),
    (r"\[ 12 \]", "12"),
    (r"$$12$$", "12"),
    (r"\boxed{12}", "12"),
    (r"$\boxed{\frac{1}{2}}$.", "1/2"),
    (r"\left(\frac{1}{2}\right)", "1/2"),
    ("(12)", "12"),
    (r"\text{12}", "12"),
    (r"\mathrm{12}", "12"),
    ("x = 12", "12"),
    (r"$x = \frac{1}{2}$", "1/2"),
    (r"12\text{ cups}", "12"),
    (r"\frac{1}{2}\text{ cups}", "1/2"),
    ("  12\n", "12"),
]

WRONG = [
    ("13", "12"),
    ("-12", "12"),
    ("12*3+4", "40"),
    ("8-3", "5"),
    ("8 - 3", "5"),
    ("(1+1)/2", "1"),
    ("1/2/3", "1/6"),
    ("2^3^2", "512"),
    ("2^3*1", "8"),
    ("(1/2)^2", "1/4"),
    (r"3\cdot 10^2", "300"),
    (r"3\times 4", "12"),
    (r"\frac{1}{2}\frac{1}{2}", "1/4"),
    (r"\frac{1+1}{2}", "1"),
    (r"\frac{\frac{1}{2}}{3}", "1/6"),
    (r"\sqrt{16}", "4"),
    ("(5)(5)", "25"),
    ("5 or 6", "5"),
    ("5, 6", "5"),
    ("5,6", "5"),
    ("5 6", "5"),
    ("5=5", "5"),
    ("$5$ $6$", "5"),
    (r"5\text{ or }6", "5"),
    (r"5\text{ million}", "5"),
    (r"5\text{ percent}", "5"),
    ("5x", "5"),
    ("--5", "5"),
    ("1,00", "100"),
    ("10,00", "1000"),
    ("1_000", "1000"),
    ("0x5", "5"),
    ("0.333333", "1/3"),
    ("33.3333%", "1/3"),
    ("50%", "50"),
    ("1 3/2", "5/2"),
    ("1 1/2", "11/2"),
    ("\u00bd", "1/2"),
    ("\u0663", "3"),
    ("\uff11", "1"),
    ("twelve", "12"),
    ("1/0", "0"),
    (r"\frac{1}{0}", "0"),
    (r"\frac10", "0"),
    ("0^0", "1"),
    ("0^-1", "0"),
    ("9**9**9**9", "1"),
    ("10^(10^10)", "1"),
    ("2^101", str(2**101)),
    ("1e999999", "1"),
    ("1e101", str(10**101)),
    ("nan", "0"),
    ("inf", "0"),
    ("", "0"),
    ("-", "0"),
    ("()", "0"),
    (r"\text{}", "0"),
    (r"\boxed{}", "0"),
    (r"\frac{}{}", "0"),
    ("12\x00", "12"),
    ("\ud800", "0"),
    ("__import__('os').getpid()", "0"),
    ("(lambda: 12)()", "12"),
    ("0" * MAX_ANSWER + "12", "12"),
    ("0" * 100 + "12", "12"),
]


@pytest.mark.parametrize(("answer", "truth"), RIGHT)
def test_right(answer: str, truth: str) -> None:
    assert grade_number(answer, Fraction(truth)) == 1.0
    assert grade_number(answer, Fraction(truth) + 1) == 0.0


@pytest.mark.parametrize(("answer", "truth"), WRONG)
def test_wrong(answer: str, truth: str) -> None:
    assert grade_number(answer, Fraction(truth)) == 0.0


@pytest.mark.parametrize("payload", [*PAYLOADS, "(" * 100_000, r"\frac{" * 20_000, "9^" * 50_000, "9" * 100_000])
def test_hostile(payload: str) -> None:
    for answer in (payload, f"${payload}$", rf"\boxed{{{payload}}}", rf"\frac{{{payload}}}{{1}}"):
        assert grade_number(answer, Fraction(7919, 3)) == 0.0


FRACTIONS = st.fractions(min_value=-10_000, max_value=10_000, max_denominator=5_000)


@given(FRACTIONS, st.integers(1, 50), FRACTIONS)
def test_equivalent_forms_of_a_fraction(value: Fraction, factor: int, other: Fraction) -> None:
    top, bottom = value.numerator * factor, value.denominator * factor
    sign, size = "-" * (value < 0), abs(top)
    forms = [
        f"{top}/{bottom}",
        rf"\frac{{{top}}}{{{bottom}}}",
        rf"{sign}\frac{{{size}}}{{{bottom}}}",
        f"{sign}{size:,}/{bottom:,}",
    ]
    for form in forms:
        assert read_number(form) == value
        assert grade_number(form, value) == 1.0
        assert grade_number(form, other) == float(other == value)


@given(st.decimals(min_value=-(10**6), max_value=10**6, places=4))
def test_decimals_are_exact(value: object) -> None:
    truth = Fraction(str(value))
    assert read_number(f"{value}") == truth
    assert read_number(f"{value:,}") == truth
    assert read_number(f"{value}%") == truth / 100
    assert read_number(f"{value}e2") == truth * 100


@given(st.text(max_size=60) | st.text(st.sampled_from("0123456789.,/^*-+%e(){}$\\ =x"), max_size=30))
def test_any_text_gets_a_grade(answer: str) -> None:
    assert grade_number(answer, Fraction(7919, 3)) in (0.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(st.from_regex(r"-?[0-9]{0,3}\\frac(\{[0-9]{1,3}\}|[0-9])(\{[0-9]{1,3}\}|[0-9])(\\text\{ [a-z]{1,5}\})?", fullmatch=True))
def test_latex_for_math_verify_never_raises(answer: str) -> None:
    assert grade_number(answer, Fraction(1, 2)) in (0.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(FRACTIONS, FRACTIONS)
def test_agrees_with_math_verify_on_ordinary_pairs(value: Fraction, other: Fraction) -> None:
    """Pairs that differ by less than a millionth are left out: math-verify rounds there, and we do not."""
    for truth in (value, other):
        if value != truth and abs(value - truth) < Fraction(1, 100_000):
            continue
        gold = sympy.Rational(truth.numerator, truth.denominator)
        for form in (str(value), rf"\frac{{{value.numerator}}}{{{value.denominator}}}"):
            theirs = verify(gold, parse(f"${form}$", parsing_timeout=None), timeout_seconds=None)  # pyright: ignore[reportArgumentType]
            assert grade_number(form, truth) == float(theirs)


def test_in_threads() -> None:
    cases = [(rf"{n}\frac{{1}}{{{n + 2}}}", n + Fraction(1, n + 2)) for n in range(1, 30)]
    with ThreadPoolExecutor(8) as pool:
        right = list(pool.map(grade_number, [form for form, _ in cases], [value for _, value in cases]))
        wrong = list(pool.map(grade_number, [form for form, _ in cases], [value + 1 for _, value in cases]))
    assert right == [1.0] * len(cases)
    assert wrong == [0.0] * len(cases)
