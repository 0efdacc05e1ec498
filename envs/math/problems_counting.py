"""Combinatorics: choosing, arranging and walking under constraints."""

from __future__ import annotations

import math
from math import comb

from turnwise.envs.math.problem import Part, Slots

__all__ = ["TEMPLATES"]


def committee(s: Slots) -> Part:
    n, m, w, k = s.link(12, 131), s(8, 120), s(2, 6), s(2, 6)
    text = (
        f"A club has {n} women and {m} men; one of the women is married to one of the men. How many committees of {w} women "
        f"and {k} men are there in which the two do not both sit?"
    )
    value = comb(n, w) * comb(m, k) - comb(n - 1, w - 1) * comb(m - 1, k - 1)
    code = (
        "from math import comb\n"
        f"comb({n}-1, {w})*comb({m}-1, {k}) + comb({n}-1, {w}-1)*comb({m}-1, {k}) + comb({n}-1, {w})*comb({m}-1, {k}-1)"
    )
    return Part(text, value, code)


def shares(s: Slots) -> Part:
    least = [s(0, 9) for _ in range(s(4, 6))]
    n, k = s.link(60, 159), len(least)
    text = (
        f"In how many ways can {n} identical coins be given to {k} children if they must get at least "
        f"{', '.join(map(str, least[:-1]))} and {least[-1]} coins, in this order?"
    )
    code = (
        f"ways = [1] + [0]*{n}\nfor m in {least}:\n"
        f"    ways = [sum(ways[:i - m + 1]) if i >= m else 0 for i in range({n} + 1)]\nways[{n}]"
    )
    return Part(text, comb(n - sum(least) + k - 1, k - 1), code)


def letters(s: Slots) -> Part:
    names = sorted(s.draws.shuffled("ABCDEFGHIJKLMNOPQRSTUVWXYZ")[:4])
    counts = [s(1, 6) for _ in names]
    n = s.link(2, 31)
    listed = ", ".join(f"{c} times {letter}" for letter, c in zip(names, counts, strict=True))
    free, value = sum(counts) + n, 1
    for c in (*counts, n):
        value *= comb(free, c)
        free -= c
    text = f"How many different words can be formed with {listed}, and {n} times the sign *, using all of them?"
    code = "from math import factorial, prod\n" + (
        f"factorial({sum(counts)} + {n}) // (factorial({n})*prod(factorial(many) for many in {counts}))"
    )
    return Part(text, value, code)


def paths(s: Slots) -> Part:
    n, m = s.link(8, 47), s(8, 60)
    i, j = s(1, 7), s(1, 7)
    text = (
        f"A robot walks from (0, 0) to ({n}, {m}), each step one unit to the right or one unit up, and must not step on "
        f"({i}, {j}). How many paths are there?"
    )
    value = comb(n + m, n) - comb(i + j, i) * comb(n + m - i - j, n - i)
    code = (
        f"ways = {{(0, 0): 1}}\nfor x in range({n} + 1):\n    for y in range({m} + 1):\n        if (x, y) != (0, 0):\n"
        f"            ways[x, y] = 0 if (x, y) == ({i}, {j}) else ways.get((x - 1, y), 0) + ways.get((x, y - 1), 0)\n"
        f"ways[{n}, {m}]"
    )
    return Part(text, value, code)


def seats(s: Slots) -> Part:
    n, k, g = s.link(40, 239), s(3, 6), s(1, 5)
    m, j = s(30, 200), s(2, 5)
    text = (
        f"A hall has a front row of {n} seats and a back row of {m}. In how many ways can {k} seats be marked in the front row "
        f"and {j} in the back row, if between any two marked seats of one row at least {g} must be left unmarked?"
    )
    value = comb(n - (k - 1) * g, k) * comb(m - (j - 1) * g, j)
    code = (
        "from functools import cache\n@cache\ndef ways(seats, marks):\n"
        "    if marks == 0:\n        return 1\n    if seats <= 0:\n        return 0\n"
        f"    return ways(seats - 1, marks) + ways(seats - 1 - {g}, marks - 1)\n"
        f"ways({n}, {k})*ways({m}, {j})"
    )
    return Part(text, value, code)


def codes(s: Slots) -> Part:
    p, n, q, m = s.link(3, 122), s(3, 9), s(5, 60), s(2, 6)
    text = (
        f"A code is {n} signs from an alphabet of {p} with no sign twice in a row, followed by {m} symbols from a set of {q} "
        "of which at least one must be the star (one of these). How many codes are there?"
    )
    value = p * (p - 1) ** (n - 1) * (q**m - (q - 1) ** m)
    code = (
        f"from math import comb\nfirst = {p}\nfor _ in range({n} - 1):\n    first *= {p} - 1\n"
        f"first*sum(comb({m}, i)*({q} - 1)**({m} - i) for i in range(1, {m} + 1))"
    )
    return Part(text, value, code)


def handshakes(s: Slots) -> Part:
    sizes = [s(3, 40) for _ in range(4)]
    n = s.link(6, 65)
    text = (
        f"People from five clubs meet: {', '.join(map(str, sizes))} and {n}. Everybody shakes hands once with everybody who is "
        "not of the same club. How many handshakes are there?"
    )
    total = sum(sizes) + n
    value = comb(total, 2) - sum(comb(size, 2) for size in (*sizes, n))
    code = f"sizes = {sizes} + [{n}]\nsum(sizes[i]*sizes[j] for i in range(5) for j in range(i))"
    return Part(text, value, code)


def draws_in_order(s: Slots) -> Part:
    n, m, other, k = s.link(12, 51), s(10, 60), s(5, 50), s(3, 7)
    text = (
        f"A box holds {n} red, {m} blue and {other} white balls, all numbered. In how many ways can {k} balls be taken out at "
        "once so that there is a red one and a blue one among them, and then be laid in a row?"
    )
    ways = comb(n + m + other, k) - comb(m + other, k) - comb(n + other, k) + comb(other, k)
    code = (
        "from math import comb, factorial\n"
        f"pairs = [(i, j) for i in range(1, {k}) for j in range(1, {k} - i + 1)]\n"
        f"ways = sum(comb({n}, i)*comb({m}, j)*comb({other}, {k} - i - j) for i, j in pairs)\n"
        f"ways*factorial({k})"
    )
    return Part(text, ways * math.factorial(k), code)


TEMPLATES = (committee, shares, letters, paths, seats, codes, handshakes, draws_in_order)
