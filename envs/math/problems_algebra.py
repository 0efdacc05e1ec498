"""Algebra: equations, systems, roots, sequences, values of expressions."""

from __future__ import annotations

from fractions import Fraction

from turnwise.envs.math.problem import Part, Slots, polynomial

__all__ = ["TEMPLATES"]

_SOLVE = "from sympy import Eq, solve, symbols\nx, y, z = symbols('x y z')\n"


def linear(s: Slots) -> Part:
    p, q, r, m, t = s(2, 60), s.nonzero(40), s.link(2, 240), s(2, 60), s.nonzero(400)
    m += p == m
    left, right = polynomial([m, t])
    text = f"Solve for x: {p}(x {'-' if q > 0 else '+'} {abs(q)}) + {r} = {left}. What is x?"
    return Part(text, Fraction(t - r + p * q, p - m), f"{_SOLVE}solve({p}*(x-({q}))+{r} - ({right}), x)[0]")


def root_powers(s: Slots) -> Part:
    total, product, k = s.link(2, 401), s(2, 900), s(3, 5)
    sums = [2, total]
    for _ in range(k - 1):
        sums.append(total * sums[-1] - product * sums[-2])
    text = f"Let r and s be the two roots (real or complex) of x^2 - {total}x + {product} = 0. What is r^{k} + s^{k}?"
    code = f"from sympy import Matrix\n(Matrix([[{total}, -{product}], [1, 0]])**{k}).trace()"
    return Part(text, sums[k], code)


def two_by_two(s: Slots) -> Part:
    p, q, r, m = s(2, 30), s.nonzero(30), s.nonzero(30), s(2, 30)
    m += p * m == q * r
    u, v = s.link(2, 300), s.nonzero(300)
    first, second = f"{_term(p)}x {_signed(q)}y = {u}", f"{_term(r)}x {_signed(m)}y = {v}"
    x, y = Fraction(u * m - q * v, p * m - q * r), Fraction(p * v - u * r, p * m - q * r)
    text = f"Solve the system {first} and {second}. What is x - y?"
    code = f"{_SOLVE}found = solve([{p}*x+({q})*y-{u}, ({r})*x+{m}*y-({v})], [x, y])\nfound[x] - found[y]"
    return Part(text, x - y, code)


def three_by_three(s: Slots) -> Part:
    x, y, z = s(2, 40), s.nonzero(40), s.nonzero(40)
    p, q, r, t = s(2, 31), s.nonzero(9), s.nonzero(9), s.nonzero(9)
    if p * p + q * t - r * p == 0:
        return three_by_three(s)  # no single solution
    k = s.link(2, 301)
    u, v, w = x + q * y + r * z, p * y + t * z, p * z + x
    text = (
        f"Three numbers satisfy x {_signed(q)}y {_signed(r)}z = {u}, {p}y {_signed(t)}z = {v} and {p}z + x = {w}. "
        f"What is the product xyz, plus {k}?"
    )
    code = (
        f"{_SOLVE}found = solve([x+({q})*y+({r})*z-({u}), {p}*y+({t})*z-({v}), {p}*z+x-({w})], [x, y, z])\n"
        f"found[x]*found[y]*found[z] + {k}"
    )
    return Part(text, x * y * z + k, code)


def remainder(s: Slots) -> Part:
    c = [s.nonzero(9), s.nonzero(12), s.nonzero(20), s.nonzero(60)]
    n = s.link(2, 31)
    text, code = polynomial(c)
    value = ((c[0] * n + c[1]) * n + c[2]) * n + c[3]
    full = f"What is the remainder when {text} is divided by x - {n}?"
    return Part(full, value, f"from sympy import rem, symbols\nx = symbols('x')\nrem({code}, x-{n}, x)")


def difference_of_cubes(s: Slots) -> Part:
    n, m = s.link(40, 1500), s(3, 900)
    text = f"What is the value of (x^3 - y^3)/(x - y) + xy at x = {n} and y = -{m}?"
    return Part(text, n * n - 2 * n * m + m * m, f"({n}**3 + {m}**3)//({n} + {m}) - {n}*{m}")


def arithmetic_series(s: Slots) -> Part:
    first, step, n = s.nonzero(90), s.nonzero(30), s.link(12, 120)
    text = f"An arithmetic sequence starts with {first} and has the difference {step}. What is the sum of its first {n} terms?"
    return Part(text, n * first + step * n * (n - 1) // 2, f"sum({first} + ({step})*i for i in range({n}))")


def geometric_series(s: Slots) -> Part:
    first, q, p = s.link(2, 240), s(5, 90), s.nonzero(60)
    p = p % q or 1
    text = f"What is the sum of the infinite geometric series with first term {first} and ratio -{p}/{q}?"
    code = (
        f"from sympy import Rational, Sum, oo, symbols\nn = symbols('n')\nSum({first}*Rational(-{p}, {q})**n, (n, 0, oo)).doit()"
    )
    return Part(text, Fraction(first * q, q + p), code)


def iterated(s: Slots) -> Part:
    p, q, n = s(2, 30), s.nonzero(90), s.link(2, 301)
    value = n
    for _ in range(3):
        value = p * value + q
    text = f"Let f(x) = {polynomial([p, q])[0]}. What is f(f(f({n})))?"
    return Part(text, value, f"once = lambda x: {p}*x + ({q})\nonce(once(once({n})))")


def cubic_roots(s: Slots) -> Part:
    p, q, r = s.nonzero(40), s.nonzero(90), s.link(2, 201)
    text = (
        f"The polynomial {polynomial([1, p, q, r])[0]} has the roots u, v and w (real or complex). "
        "What is (1 - u)(1 - v)(1 - w) + u^2 + v^2 + w^2?"
    )
    code = (
        f"from sympy import Matrix, eye\nM = Matrix([[-({p}), -({q}), -{r}], [1, 0, 0], [0, 1, 0]])\n"
        "(eye(3) - M).det() + (M**2).trace()"
    )
    return Part(text, 1 + p + q + r + p * p - 2 * q, code)


def _term(n: int) -> str:
    return {1: "", -1: "-"}.get(n, str(n))


def _signed(n: int) -> str:
    return f"{'-' if n < 0 else '+'} {_term(abs(n))}"


TEMPLATES = (
    linear,
    root_powers,
    two_by_two,
    three_by_three,
    remainder,
    difference_of_cubes,
    arithmetic_series,
    geometric_series,
    iterated,
    cubic_roots,
)
