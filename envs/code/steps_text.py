"""Steps that take a string, a list of words, or a dictionary from words to integers."""

from __future__ import annotations

from turnwise.envs.code.step import Params, Step, Template
from turnwise.envs.code.steps_numbers import LETTERS, line

__all__ = ["TABLE", "TEXT", "WORDS"]

_VOWELS = "aeiou"


def _letters(p: Params, count: int) -> str:
    """Different small letters in the order of the alphabet."""
    found = set[str]()
    while len(found) < count:
        found.add(p.pick(LETTERS))
    return "".join(sorted(found))


# --- a string ----------------------------------------------------------------------------------------------------------


def shift_letters(p: Params) -> Step:
    k = p(1, 25)
    which, test = p.pick(
        (
            ("vowel (a, e, i, o, u)", f"c in '{_VOWELS}'"),
            ("letter but the vowels a, e, i, o, u", f"c in LETTERS and c not in '{_VOWELS}'"),
            ("letter", "c in LETTERS"),
        )
    )
    code = f"OUT_ = ''\nfor c in IN_:\n    if {test}:\n        c = LETTERS[(LETTERS.index(c) + {k}) % 26]\n    OUT_ += c"
    return Step(
        f"Move each small {which} {k} places forward in the alphabet (after z comes a); leave all other characters.",
        code.replace("LETTERS", f"'{LETTERS}'"),
        "text",
        "shifted",
    )


def remove(p: Params) -> Step:
    some = _letters(p, 3)
    return Step(
        f"Remove every character that is one of {', '.join(repr(c) for c in some)}.",
        f"OUT_ = ''.join(c for c in IN_ if c not in '{some}')",
        "text",
        "rest",
    )


def double(p: Params) -> Step:
    some, times = _letters(p, 4), p(2, 3)
    return Step(
        f"Write every character that is one of {', '.join(repr(c) for c in some)} {times} times instead of once.",
        f"OUT_ = ''\nfor c in IN_:\n    if c in '{some}':\n        OUT_ += c * {times}\n    else:\n        OUT_ += c",
        "text",
        "doubled",
    )


def lengths_of_runs(p: Params) -> Step:
    least = p(2, 4)
    return Step(
        "Replace each longest run of n equal characters by the character once, followed by the number n if n is at least "
        f"{least} (a shorter run is only the character once).",
        "OUT_ = ''\ni = 0\nfor j in range(1, len(IN_) + 1):\n    if j == len(IN_) or IN_[j] != IN_[i]:\n        OUT_ += IN_[i]\n"
        f"        if j - i >= {least}:\n            OUT_ += str(j - i)\n        i = j",
        "text",
        "packed",
    )


def upper(p: Params) -> Step:
    k = p(2, 6)
    r = p(0, k - 1)
    return Step(
        f"Make the character at each position i (from 0) with i % {k} == {r} a capital letter, where it is a small one.",
        f"OUT_ = ''\nfor i, c in enumerate(IN_):\n    if i % {k} == {r}:\n        c = c.upper()\n    OUT_ += c",
        "text",
        "marked",
    )


def mirror(p: Params) -> Step:
    k = p(2, 7)
    return Step(
        f"Cut the string into pieces of {k} characters from the left (the last may be shorter), write every second piece "
        "backwards, beginning with the second one, and join the pieces again.",
        f"OUT_ = ''\nfor i in range(0, len(IN_), {k}):\n    piece = IN_[i:i + {k}]\n    if i // {k} % 2 == 1:\n"
        "        piece = piece[::-1]\n    OUT_ += piece",
        "text",
        "mirrored",
    )


def pieces(p: Params) -> Step:
    k = p(2, 5)
    return Step(
        f"Cut the string into pieces of {k} characters from the left (the last may be shorter) to get a list of strings.",
        f"OUT_ = []\nfor i in range(0, len(IN_), {k}):\n    OUT_.append(IN_[i:i + {k}])",
        "words",
        "pieces",
    )


def split(p: Params) -> Step:
    at = p.pick((*LETTERS, " ", " ", " "))
    return Step(
        f"Cut the string at each {at!r}, which is dropped, and leave out empty pieces, to get a list of strings.",
        f"OUT_ = [piece for piece in IN_.split({at!r}) if piece]",
        "words",
        "pieces",
    )


def values(p: Params) -> Step:
    a, b, other = p.nonzero(5), p(-20, 20), p(-30, 30)
    return Step(
        f"Make a list of numbers, one for each character: {line(a, b, 'p')} for a small letter a to z, where p is its place in "
        f"the alphabet (a is 1), and {other} for any other character.",
        f"OUT_ = []\nfor c in IN_:\n    if 'a' <= c <= 'z':\n        p = ord(c) - ord('a') + 1\n"
        f"        OUT_.append({line(a, b, 'p')})\n    else:\n        OUT_.append({other})",
        "numbers",
        "codes",
    )


def positions(p: Params) -> Step:
    some, k = _letters(p, 6), p(0, 5)
    return Step(
        f"Make the list of all positions (the first is {k}) of characters that are one of {', '.join(repr(c) for c in some)}.",
        f"OUT_ = []\nfor i, c in enumerate(IN_, {k}):\n    if c in '{some}':\n        OUT_.append(i)",
        "numbers",
        "places",
    )


def count_letters(p: Params) -> Step:
    least, some = p(1, 2), _letters(p, 3)
    return Step(
        f"Make a dictionary from each character that occurs at least {least} time{'s' * (least > 1)} and is none of "
        f"{', '.join(repr(c) for c in some)} to how often it occurs.",
        f"OUT_ = {{}}\nfor c in IN_:\n    if c not in '{some}' and IN_.count(c) >= {least}:\n        OUT_[c] = IN_.count(c)",
        "table",
        "counts",
        forgets_order=True,
    )


# --- words -------------------------------------------------------------------------------------------------------------


def order_words(p: Params) -> Step:
    first = p.pick(("ascending", "descending"))
    c = p.pick(LETTERS)
    return Step(
        f"Sort the strings by how often they hold the letter {c!r}, {first}; those with equal counts alphabetically (as Python "
        "compares strings).",
        f"OUT_ = sorted(IN_, key=lambda w: ({'-' * (first == 'descending')}w.count({c!r}), w))",
        "words",
        "ordered",
        reorders=True,
        forgets_order=True,
    )


def keep_words(p: Params) -> Step:
    kind, k, some = p.pick(("longer", "shorter", "without")), p(2, 5), _letters(p, 2)
    text, test = {
        "longer": (f"have at least {k} characters", f"len(w) >= {k}"),
        "shorter": (f"have at most {k + 1} characters", f"len(w) <= {k + 1}"),
        "without": (f"hold neither {some[0]!r} nor {some[1]!r}", f"{some[0]!r} not in w and {some[1]!r} not in w"),
    }[kind]
    return Step(f"Keep only the strings that {text}.", f"OUT_ = [w for w in IN_ if {test}]", "words", "kept")


def turn_words(p: Params) -> Step:
    k = p(2, 5)
    r = p(0, k - 1)
    return Step(
        f"Write every string backwards whose length n has n % {k} == {r}; leave the others.",
        f"OUT_ = []\nfor w in IN_:\n    if len(w) % {k} == {r}:\n        w = w[::-1]\n    OUT_.append(w)",
        "words",
        "turned",
    )


def move_first(p: Params) -> Step:
    k, tail = p(1, 3), p.pick(("", "a", "o", "ay", "en", "ix", "um"))
    return Step(
        f"Of each string with more than {k} characters move the first {k} to its end"
        + (f", and append {tail!r}" if tail else "")
        + "; leave the shorter ones.",
        f"OUT_ = []\nfor w in IN_:\n    if len(w) > {k}:\n        w = w[{k}:] + w[:{k}]"
        + (f" + {tail!r}" if tail else "")
        + "\n    OUT_.append(w)",
        "words",
        "moved",
    )


def join(p: Params) -> Step:
    with_ = p.pick(("", "-", " ", "+", "_", *LETTERS))
    return Step(
        f"Join the strings to one string, with {with_!r} between them." if with_ else "Join the strings to one string.",
        f"OUT_ = {with_!r}.join(IN_)",
        "text",
        "joined",
    )


def word_scores(p: Params) -> Step:
    a, b, c = p.nonzero(6), p(1, 9), p.pick(LETTERS)
    return Step(
        f"Make the list of a score for each string: {a} times its length plus {b} for each letter {c!r} in it.",
        f"OUT_ = []\nfor w in IN_:\n    OUT_.append({a} * len(w) + {b} * w.count({c!r}))",
        "numbers",
        "scores",
    )


def group_words(p: Params) -> Step:
    kind = p.pick(("first", "last"))
    at, (word, rule) = (0 if kind == "first" else -1), p.pick((("how many there are", "1"), ("their total length", "len(w)")))
    a = p(1, 9)
    times = f" times {a}" if a > 1 else ""
    return Step(
        f"Make a dictionary from each {kind} character of the strings to {word}{times}, counting the strings with that {kind} "
        "character (empty strings are left out).",
        f"OUT_ = {{}}\nfor w in IN_:\n    if w:\n        OUT_[w[{at}]] = OUT_.get(w[{at}], 0) + {rule}"
        + (f" * {a}" if a > 1 else ""),
        "table",
        "groups",
        forgets_order=True,
    )


# --- a dictionary ------------------------------------------------------------------------------------------------------


def change_values(p: Params) -> Step:
    m, a, b = p(2, 6), p.nonzero(6), p(-20, 20)
    r = p(0, m - 1)
    return Step(
        f"In the dictionary replace each value v with v % {m} == {r} by {line(a, b, 'v')}; leave the others.",
        f"OUT_ = {{}}\nfor key, v in IN_.items():\n    if v % {m} == {r}:\n        v = {line(a, b, 'v')}\n    OUT_[key] = v",
        "table",
        "changed",
    )


def keep_items(p: Params) -> Step:
    op, t = p.pick((">", "<", ">=", "<=")), p(-5, 12)
    return Step(
        f"Keep only the entries of the dictionary whose value v has v {op} {t}.",
        f"OUT_ = {{key: v for key, v in IN_.items() if v {op} {t}}}",
        "table",
        "kept",
    )


def merge_keys(p: Params) -> Step:
    some, to = _letters(p, 2), p.pick(("x", "other", "rest", "zz"))
    return Step(
        f"Take the entries whose key holds {some[0]!r} or {some[1]!r} out of the dictionary; if there are any, enter the sum of "
        f"their values under the key {to!r} (added to what is there).",
        f"OUT_ = {{}}\nfor key, v in IN_.items():\n    if {some[0]!r} in key or {some[1]!r} in key:\n        key = {to!r}\n"
        "    OUT_[key] = OUT_.get(key, 0) + v",
        "table",
        "merged",
    )


def ranked_keys(p: Params) -> Step:
    first, k = p.pick(("descending", "ascending")), p(2, 9)
    m = p(5, 30)
    return Step(
        f"Make the list of the keys, sorted by value % {m}, {first}, equal ones alphabetically, and keep at most the first {k}.",
        f"OUT_ = sorted(IN_, key=lambda key: ({'-' * (first == 'descending')}(IN_[key] % {m}), key))[:{k}]",
        "words",
        "names",
    )


def sorted_values(p: Params) -> Step:
    a, b = p.nonzero(7), p(-9, 9)
    return Step(
        f"Go through the keys in alphabetical order and make the list of {a} times the value plus {b} times the length of the "
        "key.",
        f"OUT_ = []\nfor key in sorted(IN_):\n    OUT_.append({a} * IN_[key] + {b} * len(key))",
        "numbers",
        "amounts",
    )


def total_value(p: Params) -> Step:
    a, c, b = p(2, 9), p.pick(LETTERS), p.nonzero(9)
    return Step(
        f"Add up all values, those whose key holds {c!r} multiplied by {a} and all others multiplied by {b}. The result is the "
        "sum.",
        f"OUT_ = 0\nfor key, v in IN_.items():\n    if {c!r} in key:\n        OUT_ += {a} * v\n    else:\n        OUT_ += {b} * "
        "v",
        "number",
        "total",
    )


TEXT: tuple[Template, ...] = (
    *(shift_letters, remove, double, lengths_of_runs, upper, mirror, pieces, split, split, values, positions, count_letters),
)
WORDS: tuple[Template, ...] = (order_words, keep_words, turn_words, move_first, join, word_scores, group_words)
TABLE: tuple[Template, ...] = (change_values, keep_items, merge_keys, ranked_keys, sorted_values, total_value)
