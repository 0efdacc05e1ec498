"""Probability: exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import comb

from turnwise.envs.math.problem import Part, Slots

__all__ = ["TEMPLATES"]

_FRACTION = "from fractions import Fraction\n"


def urn(s: Slots) -> Part:
    red, blue, green, k = s.link(5, 44), s(5, 40), s(3, 40), s(3, 5)
    i = s(1, k - 1)
    text = (
        f"An urn holds {red} red, {blue} blue and {green} green balls. {k} balls are drawn without replacement. "
        f"What is the probability that exactly {i} of them {'is' if i == 1 else 'are'} red?"
    )
    value = Fraction(comb(red, i) * comb(blue + green, k - i), comb(red + blue + green, k))
    code = (
        f"{_FRACTION}from math import comb\np = Fraction(1)\nfor j in range({i}):\n"
        f"    p *= Fraction({red} - j, {red} + {blue + green} - j)\nfor j in range({k - i}):\n"
        f"    p *= Fraction({blue + green} - j, {red} + {blue + green} - {i} - j)\np*comb({k}, {i})"
    )
    return Part(text, value, code)


def dice(s: Slots) -> Part:
    n, m = s.link(6, 105), s(6, 100)
    total = s(4, 7 + min(m, 60))
    text = (
        f"Two fair dice are rolled, one with the numbers 1 to {n} and one with 1 to {m}. "
        f"What is the probability that the sum is at most {total}?"
    )
    hits = sum(max(0, min(m, total - i)) for i in range(1, n + 1))
    code = f"{_FRACTION}Fraction(sum(i + j <= {total} for i in range(1, {n} + 1) for j in range(1, {m} + 1)), {n}*{m})"
    return Part(text, Fraction(hits, n * m), code)


def tosses(s: Slots) -> Part:
    q = s.link(12, 151)
    p, n = s(1, 11), s(4, 12)
    k = s(1, n - 1)
    text = f"A bent coin shows heads with probability {p}/{q}. What is the probability of exactly {k} heads in {n} tosses?"
    value = Fraction(comb(n, k) * p**k * (q - p) ** (n - k), q**n)
    code = (
        f"{_FRACTION}p = Fraction({p}, {q})\nchances = [Fraction(1)]\nfor _ in range({n}):\n"
        "    chances = [x*(1 - p) + y*p for x, y in zip(chances + [0], [0] + chances)]\n"
        f"chances[{k}]"
    )
    return Part(text, value, code)


def diagnosis(s: Slots) -> Part:
    n, sensitivity, false = s.link(20, 619), s(60, 99), s(1, 25)
    text = (
        f"One person in {n} has a condition. A test is positive for {sensitivity}% of those who have it, and for {false}% "
        "of those who have not. What is the probability that a person with a positive test has the condition?"
    )
    code = (
        f"{_FRACTION}ill = Fraction(1, {n})\nright = ill*Fraction({sensitivity}, 100)\n"
        f"right/(right + (1 - ill)*Fraction({false}, 100))"
    )
    return Part(text, Fraction(sensitivity, sensitivity + (n - 1) * false), code)


def spinner(s: Slots) -> Part:
    weights, prizes = [s(2, 30) for _ in range(4)], [s.nonzero(60) for _ in range(3)]
    last = s.link(10, 129)
    text = (
        f"A spinner stops on one of four fields with chances in the ratio {':'.join(map(str, weights))}; they pay "
        f"{', '.join(map(str, prizes))} and {last} coins (negative: to be paid). What is the expected gain of one spin?"
    )
    value = Fraction(sum(w * v for w, v in zip(weights, [*prizes, last], strict=True)), sum(weights))
    code = f"{_FRACTION}w, v = {weights}, {prizes} + [{last}]\nsum(Fraction(i, sum(w))*j for i, j in zip(w, v))"
    return Part(text, value, code)


def cards(s: Slots) -> Part:
    n, m, k = s(130, 900), s.link(10, 109), s(2, 4)
    text = (
        f"From {n} cards numbered 1 to {n}, {k} are drawn without replacement. What is the probability that all their numbers "
        f"are greater than {m}?"
    )
    code = f"{_FRACTION}p = Fraction(1)\nfor j in range({k}):\n    p *= Fraction({n} - {m} - j, {n} - j)\np"
    return Part(text, Fraction(comb(n - m, k), comb(n, k)), code)


def duel(s: Slots) -> Part:
    q, r = s.link(7, 66), s(7, 80)
    p, t = s(1, 6), s(1, 6)
    text = (
        f"Two archers shoot in turn until one hits. The first hits with probability {p}/{q}, the second with {t}/{r}. "
        "What is the probability that the one who begins hits first?"
    )
    hit, other = Fraction(p, q), Fraction(t, r)
    code = (
        "from sympy import Rational, solve, symbols\nw = symbols('w')\n"
        f"p, t = Rational({p}, {q}), Rational({t}, {r})\nsolve(w - (p + (1 - p)*(1 - t)*w), w)[0]"
    )
    return Part(text, hit / (1 - (1 - hit) * (1 - other)), code)


TEMPLATES = (urn, dice, tosses, diagnosis, spinner, cards, duel)
