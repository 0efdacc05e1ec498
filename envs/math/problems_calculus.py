"""Calculus: derivatives at a point, definite integrals, limits, extrema, areas."""

from __future__ import annotations

from fractions import Fraction

from turnwise.envs.math.problem import Part, Slots, polynomial

__all__ = ["TEMPLATES"]

_X = "from sympy import *\nx = symbols('x')\n"


def product_rule(s: Slots) -> Part:
    p, q, r, t, n = s.nonzero(20), s.nonzero(40), s.nonzero(20), s.nonzero(60), s.link(2, 41)
    first, first_code = polynomial([p, q])
    second, second_code = polynomial([1, r, t])
    text = f"Let f(x) = ({first})({second}). What is f'({n})?"
    value = p * (n * n + r * n + t) + (p * n + q) * (2 * n + r)
    return Part(text, value, f"{_X}diff(({first_code})*({second_code}), x).subs(x, {n})")


def quotient_rule(s: Slots) -> Part:
    p, q, r, t, n = s.nonzero(30), s.nonzero(40), s(2, 20), s(1, 40), s.link(2, 41)
    q += p * t == q * r
    top, bottom = polynomial([p, q]), polynomial([r, t])
    text = f"Let f(x) = ({top[0]})/({bottom[0]}). What is f'({n})?"
    return Part(text, Fraction(p * t - q * r, (r * n + t) ** 2), f"{_X}diff(({top[1]})/({bottom[1]}), x).subs(x, {n})")


def integral(s: Slots) -> Part:
    c = [s.nonzero(20) for _ in range(4)]
    low, n = s(-9, 1), s.link(2, 31)
    text, code = polynomial(c)

    def antiderivative(x: int) -> Fraction:
        return Fraction(c[0] * x**4, 4) + Fraction(c[1] * x**3, 3) + Fraction(c[2] * x * x, 2) + c[3] * x

    full = f"What is the definite integral of {text} from x = {low} to x = {n}?"
    return Part(full, antiderivative(n) - antiderivative(low), f"{_X}integrate({code}, (x, {low}, {n}))")


def limit_at_root(s: Slots) -> Part:
    m, p, q, r, t = s.nonzero(20), s(2, 20), s.nonzero(40), s(2, 20), s.nonzero(40)
    t += r * m + t == 0
    q += p * m + q == 0
    k = s.link(2, 61)
    top = polynomial([p, q - p * m, -q * m])
    bottom = polynomial([r, t - r * m, -t * m])
    text = f"What is {k} times the limit of ({top[0]})/({bottom[0]}) as x tends to {m}?"
    if r * m + t == 0:
        return limit_at_root(s)
    return Part(text, k * Fraction(p * m + q, r * m + t), f"{_X}{k}*limit(({top[1]})/({bottom[1]}), x, {m})")


def limit_at_infinity(s: Slots) -> Part:
    m, p, q = s(2, 40), s.nonzero(300), s.link(2, 241)
    inner = polynomial([m * m, p, q])
    text = f"What is the limit of sqrt({inner[0]}) - {m}x + {q} as x tends to infinity?"
    return Part(text, Fraction(p, 2 * m) + q, f"{_X}limit(sqrt({inner[1]}) - {m}*x + {q}, x, oo)")


def local_minimum(s: Slots) -> Part:
    u = s.nonzero(30)
    v, k, w = u + s(1, 30), s(1, 6), s.link(2, 241)
    text, code = polynomial([2 * k, -3 * k * (u + v), 6 * k * u * v, w])
    value = 2 * k * v**3 - 3 * k * (u + v) * v * v + 6 * k * u * v * v + w
    full = f"What is the value of f(x) = {text} at its local minimum?"
    point = f"curve = {code}\n[curve.subs(x, r) for r in solve(diff(curve, x), x) if diff(curve, x, 2).subs(x, r) > 0][0]"
    return Part(full, value, f"{_X}{point}")


def area(s: Slots) -> Part:
    u = s.nonzero(30)
    v, p, slope, rise = u + s(2, 40), s(1, 12), s.nonzero(30), s.nonzero(40)
    k = s.link(2, 61)
    curve = polynomial([p, slope - p * (u + v), rise + p * u * v])
    line = polynomial([slope, rise])
    text = f"The curve y = {curve[0]} and the line y = {line[0]} enclose a region of area S. What is S + {k}?"
    code = f"{_X}gap = {line[1]} - ({curve[1]})\nlow, high = sorted(solve(gap, x))\nintegrate(gap, (x, low, high)) + {k}"
    return Part(text, Fraction(p * (v - u) ** 3, 6) + k, code)


def tangent(s: Slots) -> Part:
    c = [s.nonzero(12), s.nonzero(20), s.nonzero(40), s.nonzero(90)]
    n = s.link(2, 31)
    text, code = polynomial(c)
    value = -2 * c[0] * n**3 - c[1] * n * n + c[3]
    full = f"At which y does the tangent to y = {text} at x = {n} meet the y-axis?"
    return Part(full, value, f"{_X}curve = {code}\ncurve.subs(x, {n}) - {n}*diff(curve, x).subs(x, {n})")


TEMPLATES = (product_rule, quotient_rule, integral, limit_at_root, limit_at_infinity, local_minimum, area, tangent)
