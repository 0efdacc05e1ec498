"""Whether an answer is the right mathematical object: a number, an expression, a tuple, a set, an interval, a matrix, a word.

Numbers are read exactly (`turnwise.envs.math.grading`), sets of real numbers in every way they are written
(`turnwise.envs.math.real_sets`), words compared as words. The rest goes to math-verify, fenced in: only
tokens of a list get that far, lengths, nesting, exponents and factorials are bounded, and the work itself is counted and cut
off (`work_limit`), so any text gets its verdict soon, in any thread. No text is ever evaluated as Python.

Stricter than math-verify in these points, where it takes what is wrong:

    decimals are exact          0.333333 is not 1/3, 1.414214 is not sqrt(2)
    brackets mean something     {1, 2} is not (1, 2); a list without brackets is either
    one answer                  "5 = 6" is not 6, "5 or 6" is not 5
    a number is calculated      2+3 is not an answer where 5 is asked for; sqrt(8) is one for 2 sqrt(2)
    units, where both have one  5 cm is not 5 m; 50% is not 50 (but 50 is 50% where the truth is a percentage)
"""

from __future__ import annotations

import logging
import re
from fractions import Fraction
from functools import lru_cache
from math import comb, factorial
from threading import Lock
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Expr, Rational

from turnwise.envs.math.answer_text import assignments, components, is_word, plain_text, split_unit, symbolic_text, without_name
from turnwise.envs.math.grading import grade_number, read_number
from turnwise.envs.math.real_sets import real_set, same_set, says_set
from turnwise.envs.math.work_limit import TooMuchWork, work_limit

__all__ = ["grade_answer"]

MAX_ANSWER = 400
"""Characters; a longer answer is wrong without being looked at."""
MAX_PARTS = 20
"""Of a list, tuple or set."""
PARSE_CALLS, COMPARE_CALLS = 400_000, 150_000
"""Python function calls that reading and comparing may take; about a tenth of a second each at the most."""

# Said once per process about the missing time-outs; `work_limit` is what it asks for.
logging.getLogger("math_verify").setLevel(logging.ERROR)
_SCIENTIFIC = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\s*(?:\\cdot|\\times|\*)\s*10\^\{?(-?[0-9]{1,2})\}?")
_RELATION = re.compile(r"[<>]|\\[lg]e(?![a-z])")
_INTERVAL = re.compile(r"[(\[][^,()\[\]]+,[^,()\[\]]+[)\]]")
_RATIO = re.compile(r"[0-9]+(?:\.[0-9]+)?(?::[0-9]+(?:\.[0-9]+)?)+")
_MONEY = re.compile(r"\b(?:cents?|euros?|pounds?|yen|rupees?)\b|[\u00a2\u20ac\u00a3\u00a5]")
_HALF_OF_DAY = re.compile(r"(?<=[0-9])\s*(?:\\(?:text|mathrm)\{)?\s*([ap])\.?\s?m\b", re.IGNORECASE)
_NAMED_TUPLE = re.compile(r"(?:\\left)?\(\s*([A-Za-z](?:\s*,\s*[A-Za-z])+)\s*(?:\\right)?\)\s*=")
_COUNT = re.compile(r"([0-9]{1,2})!|\\binom\{([0-9]{1,2})\}\{([0-9]{1,2})\}")
_LETTER = re.compile(r"\\(?:begin|end|mathbb)\{[A-Za-z]+\}|\\[A-Za-z]+|([A-Za-z])")
_SPARE = "uvwzkqrstmnpabcxy"
_MATH_VERIFY = Lock()
"""ANTLR's generated parsers share a mutable cache; one thread at a time."""
_FIRST = (
    *(r"\frac{1+\sqrt{2}}{3}x^2", "(x+1)/(x-1)-3*y", r"3\pi(x-2)^{3}", r"e^{2x}\cdot i", r"-\frac{x+1}{2}", "(9-x)(x+y)^2+1"),
    *(
        r"(-\infty,2]\cup(3,\infty)",
        r"\{1,2\}",
        "y=2x-1",
        r"3x-2y\le 6",
        r"\sin x\cdot 2",
        r"\log_2 3",
        r"\ln(8)",
        r"\sqrt[3]{2}",
    ),
    *(r"\frac{a^n}{a}", "a^{n-1}", r"\frac{x^{2k}}{x^3}", "|x-1|", r"\log_{10}(x)", "e^{-x^2}", r"\tan^{-1}x", "a_1+a_2"),
    *(r"2\sin\theta\cos\theta", r"\left(\frac{1}{2}\right)^n", r"\ln|x|+C", "n(n+1)(2n+1)/6", "n!", r"\binom{n}{k}"),
    r"\begin{bmatrix}1&2\\3&4\end{bmatrix}",
)
"""Read once before anything is counted: the parser builds its tables while it reads."""


def grade_answer(answer: str, truth: str) -> float:
    """1.0 if `answer` says the same as `truth`, else 0.0. Never raises; callable from any thread. Both as text or LaTeX."""
    if len(answer) > MAX_ANSWER or not answer.strip():
        return 0.0
    said, right = plain_text(answer), plain_text(truth)
    if not said or not right:
        return 0.0
    asked, given = assignments(truth), assignments(answer)
    if _other_unit(answer, truth) or _out_of_order(answer, truth) or not _same_names(given, asked):
        return 0.0
    if said == right:
        return 1.0
    if asked and not any(_unknowns(value) for _, value in asked):
        return float(_same_named(said, given, asked))
    if given and right.startswith("(") and right.endswith(")"):
        return float(_same(f"({','.join(value for _, value in sorted(given))})", right))
    if _RATIO.fullmatch(said) and _RATIO.fullmatch(right):
        return float(_same_ratio(said, right))
    if says_set(answer) or says_set(truth):
        mine, theirs = real_set(answer), real_set(truth)
        if mine is not None and theirs is not None:
            return float(same_set(mine, theirs, lambda a, b: _same(plain_text(a), plain_text(b))))
    return float(_same(said, right) or _same_equation(answer, truth))


def _same_named(said: str, given: list[tuple[str, str]], asked: list[tuple[str, str]]) -> bool:
    """Whether an answer says what "x = 4", "x = -3, x = 7" or "a = 2, b = -1" says, with the names or without them."""
    values = [value for _, value in asked]
    if len({name.partition("_")[0] for name, _ in asked}) == 1:  # several solutions for one unknown: a set
        around, parts = components(without_name(said))
        theirs = [value for _, value in given] or parts
        known = {name.partition("_")[0] for name, _ in (*given, asked[0])}
        return around in ("", "{}") and len(known) == 1 and len(theirs) == len(values) and _same_parts(theirs, "", values, "")
    if given:
        values_given = dict(given)
        same_names = values_given.keys() == dict(asked).keys() and len(given) == len(asked)
        return same_names and all(_same_part(values_given[name], value) for name, value in asked)
    return _same(without_name(said), f"({','.join(values)})")


def _same_names(said: list[tuple[str, str]], right: list[tuple[str, str]]) -> bool:
    """Whether no other unknown is named than the one that is asked for; x_1 is an x."""
    mine, theirs = ({name.partition("_")[0].casefold() for name, _ in named} for named in (right, said))
    return not mine or not theirs or mine == theirs


def _same_equation(answer: str, truth: str) -> bool:
    """Whether both are the same equation between two or more unknowns, in whatever form."""
    said, right = plain_text(answer, name=True), plain_text(truth, name=True)
    return said.count("=") == right.count("=") == 1 and len(_unknowns(right)) > 1 and _same_object(said, right)


def _unknowns(text: str) -> set[str]:
    """The letters in it that are no name of a function or number."""
    return set(re.findall("[A-Za-z]", re.sub(r"\\[A-Za-z]+|sqrt|pi", " ", text))) - {"e", "i"}


def _same_ratio(said: str, right: str) -> bool:
    a, b = ([Fraction(part) for part in text.split(":")] for text in (said, right))
    return len(a) == len(b) and 0 not in (a[0], b[0]) and all(x * b[0] == y * a[0] for x, y in zip(a, b, strict=True))


def _other_unit(answer: str, truth: str) -> bool:
    """Whether dollars are asked for and other money is given, or the other half of the day."""
    halves = [match[1].casefold() for text in (answer, truth) if (match := _HALF_OF_DAY.search(text))]
    if len(set(halves)) > 1:
        return True
    dollars = r"\$" in truth or (truth.lstrip().startswith("$") and truth.count("$") == 1)
    return dollars and _MONEY.search(answer) is not None


def _out_of_order(answer: str, truth: str) -> bool:
    """Whether an answer such as (y, x) = (1, 2) names its parts in another order than everybody else."""
    names = _NAMED_TUPLE.match(answer.strip().strip("$"))
    return names is not None and "=" not in truth and sorted(order := names[1].replace(" ", "").split(",")) != order


def _same(said: str, right: str) -> bool:
    number = _number(right)
    if number is not None:
        return _same_number(said, number)
    if r"\emptyset" in (said, right):
        return said == right
    if is_word(right) or is_word(said):
        return _letters(said) == _letters(right) != ""
    if re.search("[0-9]_", right):  # digits in another base: the base may be left out, not changed
        return said.replace("{", "").replace("}", "") in (right.replace("{", "").replace("}", ""), right.split("_")[0])
    if bool(_RELATION.search(said)) != bool(_RELATION.search(right)):  # an inequality and an interval may say the same
        interval, inequality = (right, said) if _RELATION.search(said) else (said, right)
        return _INTERVAL.search(interval) is not None and _same_object(interval, inequality)
    if (r"\cup" in said) != (r"\cup" in right):
        return False
    around, parts = components(right)
    their_around, theirs = components(without_name(said) if "=" not in right else said)
    if len(parts) == len(theirs) == 1 and around == their_around == "":
        return _same_object(said, right)
    return len(parts) == len(theirs) <= MAX_PARTS and _same_parts(theirs, their_around, parts, around)


def _same_parts(said: list[str], around: str, right: list[str], their_around: str) -> bool:
    """A list without brackets goes with any kind; otherwise the brackets must agree. Sets and bare lists have no order."""
    if around and their_around and around != their_around:
        return False
    if (around or their_around) not in ("", "{}"):
        return all(_same_part(a, b) for a, b in zip(said, right, strict=True))
    left = list(right)
    for part in said:
        match = next((other for other in left if _same_part(part, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_part(said: str, right: str) -> bool:
    said = without_name(said) if "=" not in right else said
    return said == right != "" or bool(said and right and _same(said, right))


def _number(text: str) -> tuple[Fraction, str, bool] | None:
    """(value, unit, whether it is a percentage) of a number with or without a unit."""
    bare, unit = split_unit(text)
    if match := _SCIENTIFIC.fullmatch(bare):
        return Fraction(match[1]) * Fraction(10) ** int(match[2]), unit, False
    percent = bare.endswith("%")
    value = read_number(bare)
    if value is None and percent:
        part = read_number(bare[:-1])
        value = part if part is None else part / 100
    return None if value is None else (value * (100 if percent else 1), unit, percent)


def _same_number(said: str, right: tuple[Fraction, str, bool]) -> bool:
    number = _number(without_name(said))
    if number is None:
        return _same_value(said, right)
    value, unit, percent = number
    if unit and unit != right[1] and (right[1] or right[2]):
        return False
    if percent and not right[2]:
        return value / 100 == right[0]
    return value == right[0] or (right[2] and not percent and value * 100 == right[0])


def _same_value(said: str, right: tuple[Fraction, str, bool]) -> bool:
    """Whether `said` is another final form, such as 1.5 \\cdot 10^3 or 4\\frac{2}{3}."""
    text, _ = split_unit(without_name(said))
    if count := _COUNT.fullmatch(text):
        return (factorial(int(count[1])) if count[1] else comb(int(count[2]), int(count[3]))) == right[0]
    above, slash, below = text.partition("/")
    if slash and "/" not in below and (parts := (read_number(above), read_number(below))) and None not in parts and parts[1]:
        return (parts[0] or 0) == right[0] * parts[1]
    return bool(grade_number(text, right[0]))


def _same_object(said: str, right: str) -> bool:
    if "=" in said and "=" not in right:
        said = without_name(said)
        if "=" in said:
            return False
    said, right = split_unit(said)[0], split_unit(right)[0]
    if len(said) == len(right) == 1 and said.isalpha():  # the letter of a choice, or another letter
        return right.isupper() and said == right.lower()
    theirs, ours = symbolic_text(said), symbolic_text(right)
    if theirs is None or ours is None:
        return False
    return theirs == ours or _verified(*_told_apart(theirs, ours))


def _told_apart(said: str, right: str) -> tuple[str, str]:
    """With other letters for the capital ones that also stand there in small: the parser makes all letters small."""
    used = {match[1] for text in (said, right) for match in _LETTER.finditer(text)} - {None}
    capital = sorted(letter for letter in used if letter.isupper() and letter.lower() in used and letter != "I")
    free = [letter for letter in _SPARE if letter not in used and letter.upper() not in used]
    if len(free) < len(capital):
        return said, ""
    other = dict(zip(capital, free, strict=False))

    def renamed(match: re.Match[str]) -> str:
        return other.get(match[1], match[0])

    return _LETTER.sub(renamed, said), _LETTER.sub(renamed, right)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _verified(said: str, right: str) -> bool:
    with _MATH_VERIFY:
        _warm_up()
        try:
            with work_limit(PARSE_CALLS):
                gold, found = _read(right), _read(said)
            with work_limit(COMPARE_CALLS):
                return bool(gold and found) and not _differ(gold[0], found[0]) and bool(verify(gold, found, timeout_seconds=None))
        except (TooMuchWork, RecursionError):
            return False


def _differ(a: Any, b: Any) -> bool:
    """Whether two expressions have different values at one point: much quicker than what would simplify their difference."""
    if not (isinstance(a, Expr) and isinstance(b, Expr)):
        return False
    point = [(s, Rational(3 * i + 8, 3 * i + 7)) for i, s in enumerate(sorted((a - b).free_symbols, key=str))]
    gap = (a - b).subs(point).evalf(20)
    return bool(gap.is_number) and gap.is_finite is True and abs(gap) > 1e-9


def _read(latex: str) -> list[Any]:
    return parse(f"${latex}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=1)
def _warm_up() -> None:
    for latex in _FIRST:
        _read(latex)
    verify(_read("(x+1)^2"), _read("x^2+2x+1"), timeout_seconds=None)
