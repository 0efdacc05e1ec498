"""Word problems: rates, mixtures, journeys, money, ages, shares."""

from __future__ import annotations

from fractions import Fraction

from turnwise.envs.math.problem import Part, Slots

__all__ = ["TEMPLATES"]

_FRACTION = "from fractions import Fraction\n"
_NAMES = ("Ada", "Ben", "Chloe", "Deniz", "Emil", "Farah", "Goran", "Hana", "Imani", "Jonas", "Keiko", "Luis", "Mina", "Noor")
_GOODS = ("notebooks", "lamps", "mugs", "plants", "posters", "puzzles", "scarves", "baskets", "candles", "kites")
_PACKS = ("crates", "boxes", "sacks", "trays")


def pipes(s: Slots) -> Part:
    p, q = s(20, 119), s.link(20, 139)
    r = p + s(3, 90)
    text = (
        f"One pipe fills a tank in {p} minutes, another in {q} minutes; a leak empties the full tank in {r} minutes. "
        "With all three open, how many minutes does it take to fill the empty tank?"
    )
    code = f"{_FRACTION}1/(Fraction(1, {p}) + Fraction(1, {q}) - Fraction(1, {r}))"
    return Part(text, 1 / (Fraction(1, p) + Fraction(1, q) - Fraction(1, r)), code)


def mixture(s: Slots) -> Part:
    x, p, y, q = s.link(3, 122), s(2, 45), s(3, 90), s(46, 95)
    text = (
        f"{x} litres of a {p}% salt solution are mixed with {y} litres of a {q}% solution. What share of the mixture is salt? "
        "Answer with the number of per cent, such as 25 or 45/2."
    )
    code = f"{_FRACTION}salt = {x}*Fraction({p}, 100) + {y}*Fraction({q}, 100)\nsalt/({x} + {y})*100"
    return Part(text, Fraction(x * p + y * q, x + y), code)


def trains(s: Slots) -> Part:
    u, v, t, d = s(30, 140), s.link(30, 149), s(1, 4), s(620, 2400)
    first, second = s.draws.shuffled(_NAMES)[:2]
    text = (
        f"{first} and {second} live {d} km apart and drive towards each other on the same road, {first} at {u} km/h and {second} "
        f"at {v} km/h; {first} starts {t} hour{'s' * (t > 1)} earlier. How many hours after {second} starts do they meet?"
    )
    code = f"from sympy import solve, symbols\nhours = symbols('hours')\nsolve({u}*(hours + {t}) + {v}*hours - {d}, hours)[0]"
    return Part(text, Fraction(d - u * t, u + v), code)


def shopping(s: Slots) -> Part:
    n, p, m, q, off = s.link(5, 64), s(3, 60), s(3, 40), s(3, 60), s(2, 40)
    name, (first, second) = s.draws.pick(_NAMES), s.draws.shuffled(_GOODS)[:2]
    text = (
        f"{name} buys {n} {first} at {p} dollars each and {m} {second} at {q} dollars each, and gets {off}% off the whole bill. "
        "How many dollars are paid, exactly?"
    )
    code = f"{_FRACTION}bill = sum([{p}]*{n}) + sum([{q}]*{m})\nbill - Fraction({off}, 100)*bill"
    return Part(text, Fraction((n * p + m * q) * (100 - off), 100), code)


def ages(s: Slots) -> Part:
    times, years, total = s(2, 9), s(2, 30), s.link(80, 279)
    old, young = s.draws.shuffled(_NAMES)[:2]
    text = (
        f"{old} is {times} times as old as {young}. In {years} years their ages will add up to {total}. "
        f"How old is {old} now? (The answer may be a fraction.)"
    )
    code = (
        f"from sympy import solve, symbols\no, y = symbols('o y')\nsolve([o - {times}*y, o + y + 2*{years} - {total}], [o, y])[o]"
    )
    return Part(text, Fraction(times * (total - 2 * years), times + 1), code)


def interest(s: Slots) -> Part:
    amount, rate, years = s.link(200, 1199), s(1, 24), s(2, 4)
    fee = s(2, 60)
    text = (
        f"{s.draws.pick(_NAMES)} puts {amount} dollars in an account that pays {rate}% a year; at the end of each year the "
        f"interest is added, then a fee of {fee} dollars taken out. How many dollars, exactly, are in it after {years} years?"
    )
    value = Fraction(amount)
    growth = Fraction(100 + rate, 100)
    for _ in range(years):
        value = value * growth - fee
    code = (
        f"{_FRACTION}growth = 1 + Fraction({rate}, 100)\n{amount}*growth**{years} - {fee}*sum(growth**i for i in range({years}))"
    )
    return Part(text, value, code)


def stock(s: Slots) -> Part:
    n, per, give, top, bottom = s.link(12, 91), s(6, 60), s(2, 9), s(1, 4), s(5, 9)
    name, goods, packs = s.draws.pick(_NAMES), s.draws.pick(_GOODS), s.draws.pick(_PACKS)
    text = (
        f"{name} has {n} {packs} with {per} {goods} each. {give} of the {packs} are given away. Of the {goods} that are left, "
        f"{top}/{bottom} are sold at 7 dollars each, and the others at 4 dollars each. What is the income in dollars? "
        "(Fractions of a piece are paid for in proportion.)"
    )
    left = (n - give) * per
    code = (
        f"{_FRACTION}left = sum({per} for _ in range({n})) - {give}*{per}\nsold = Fraction({top}, {bottom})*left\n"
        "7*sold + 4*(left - sold)"
    )
    return Part(text, Fraction(left * top, bottom) * 3 + 4 * left, code)


def ratio(s: Slots) -> Part:
    p, q, r, total = s(2, 9), s(10, 24), s(25, 60), s.link(300, 1299)
    one, two, three = s.draws.shuffled(_NAMES)[:3]
    text = (
        f"{one}, {two} and {three} share {total} dollars in the ratio {p}:{q}:{r}. "
        f"How many dollars more than {one} does {three} get, exactly?"
    )
    code = f"{_FRACTION}share = Fraction({total}, {p} + {q} + {r})\nshare*{r} - share*{p}"
    return Part(text, Fraction(total * (r - p), p + q + r), code)


TEMPLATES = (pipes, mixture, trains, shopping, ages, interest, stock, ratio)
