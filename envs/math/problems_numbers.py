"""Number theory: divisors, remainders, powers, inverses, congruences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from turnwise.envs.math.problem import Part, Slots

__all__ = ["TEMPLATES"]

_PRIMES = (
    2,
    3,
    5,
    7,
    11,
    13,
    17,
    19,
    23,
    29,
    31,
    37,
    41,
    43,
    47,
    53,
    59,
    61,
    67,
    71,
    73,
    79,
    83,
    89,
    97,
    101,
    103,
    107,
    109,
    113,
)


def greatest_divisor(s: Slots) -> Part:
    g, u, v, n = s(13, 999), s(20, 400), s(20, 400), s.link(20, 119)
    text = f"What is the greatest common divisor of {g * u} and {n} * {g * v}?"
    return Part(text, math.gcd(g * u, n * g * v), f"from sympy import gcd\ngcd({g * u}, {n}*{g * v})")


def least_multiple(s: Slots) -> Part:
    g, u, v, n = s(6, 60), s(10, 200), s(10, 200), s.link(20, 119)
    text = f"What is the least common multiple of {g * u}, {g * v} and {n}?"
    return Part(text, math.lcm(g * u, g * v, n), f"from sympy import ilcm\nilcm({g * u}, {g * v}, {n})")


def inverse(s: Slots) -> Part:
    n, m = s.link(20, 419), s(500, 9000)
    while math.gcd(n, m) != 1:
        m += 1
    text = f"Which integer x with 0 < x < {m} satisfies {n}x = 1 (mod {m})?"
    return Part(text, pow(n, -1, m), f"next(x for x in range({m}) if {n}*x % {m} == 1)")


def power(s: Slots) -> Part:
    n, e, m = s.link(12, 311), s(40, 4000), s(300, 9999)
    text = f"What is the remainder when {n}^{e} is divided by {m}?"
    return Part(text, pow(n, e, m), f"{n}**{e} % {m}")


def _factored(s: Slots, count: int, most: int, primes: Sequence[int] = _PRIMES[:16]) -> tuple[int, list[tuple[int, int]]]:
    """(n, its prime powers) with that many different primes."""
    chosen = s.draws.shuffled(primes)[:count]
    powers = [(p, s(1, most if p < 12 else 1)) for p in chosen]
    return math.prod(p**e for p, e in powers), powers


def divisor_count(s: Slots) -> Part:
    n, powers = _factored(s, 4, 3)
    k = s.link(3, 42)
    text = f"How many positive divisors does {n}^{k} have?"
    code = f"from math import prod\nfrom sympy import factorint\nprod({k}*times + 1 for times in factorint({n}).values())"
    return Part(text, math.prod(k * e + 1 for _, e in powers), code)


def divisor_sum(s: Slots) -> Part:
    n, powers = _factored(s, 4, 3)
    m = s.link(2, 91)
    value = math.prod((p ** (e + 1) - 1) // (p - 1) for p, e in powers)
    text = f"Let S be the sum of all positive divisors of {n}. What is S + {m}^2?"
    return Part(text, value + m * m, f"from sympy import divisors\nsum(divisors({n})) + {m}**2")


def totient(s: Slots) -> Part:
    n, powers = _factored(s, 4, 3, _PRIMES)
    value = math.prod(p ** (e - 1) * (p - 1) for p, e in powers)
    text = f"How many of the integers from 1 to {n} have no common factor with {n} except 1?"
    return Part(text, value, f"from sympy import totient\ntotient({n})")


def congruences(s: Slots) -> Part:
    p, q, r = sorted(s.draws.shuffled(_PRIMES[3:20])[:3])
    i, j, k = s(1, p - 1), s(1, q - 1), s(1, r - 1)
    x, step = i, p
    for modulus, rest in ((q, j), (r, k)):
        x += step * ((rest - x) * pow(step, -1, modulus) % modulus)
        step *= modulus
    more = s.link(2, 121)
    text = (
        "Let m be the smallest positive integer that leaves the remainder "
        f"{i} when divided by {p}, {j} when divided by {q}, and {k} when divided by {r}. What is m + {more}?"
    )
    found = f"next(x for x in range(1, {p * q * r + 1}) if x % {p} == {i} and x % {q} == {j} and x % {r} == {k})"
    return Part(text, x + more, f"{found} + {more}")


def factorial_power(s: Slots) -> Part:
    n, p = s(1000, 90_000), s.draws.pick(_PRIMES[:12])
    k = s.link(2, 61)
    value, rest = 0, n
    while rest:
        rest //= p
        value += rest
    text = f"Let v be the largest integer such that {p}^v divides {n}! (factorial). What is v + {k}?"
    code = f"v, m = 0, {n}\nwhile m:\n    m //= {p}\n    v += m\nv + {k}"
    return Part(text, value + k, code)


def multiples(s: Slots) -> Part:
    p, q, n = s(3, 40), s(3, 60), s(1000, 20_000)
    q += p == q
    r = s.link(2, 401)
    both = math.lcm(p, q)
    value = sum(n // d - (r - 1) // d for d in (p, q)) - (n // both - (r - 1) // both)
    text = f"How many integers from {r} to {n}, both included, are divisible by {p} or by {q} (or by both)?"
    return Part(text, value, f"sum(x % {p} == 0 or x % {q} == 0 for x in range({r}, {n} + 1))")


TEMPLATES = (
    greatest_divisor,
    least_multiple,
    inverse,
    power,
    divisor_count,
    divisor_sum,
    totient,
    congruences,
    factorial_power,
    multiples,
)
