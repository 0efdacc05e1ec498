"""Steps that take a list of integers."""

from __future__ import annotations

from turnwise.envs.code.step import Params, Step, Template

__all__ = ["TEMPLATES"]

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def line(a: int, b: int, x: str = "x") -> str:
    """a*x + b as one writes it."""
    first = x if a == 1 else f"-{x}" if a == -1 else f"{a}*{x}"
    return first if b == 0 else f"{first} {'+' if b > 0 else '-'} {abs(b)}"


def condition(p: Params) -> str:
    """A condition on x."""
    kind = p.pick(("remainder", "remainder", "above", "below", "digit"))
    if kind == "remainder":
        m = p(2, 9)
        return f"x % {m} == {p(0, m - 1)}"
    if kind == "digit":
        return f"abs(x) % 10 {p.pick(('<', '>='))} {p(2, 8)}"
    return f"x {p.pick(('>', '>=') if kind == 'above' else ('<', '<='))} {p(-25, 40)}"


def keep(p: Params) -> Step:
    c = condition(p)
    return Step(f"Keep only the numbers x with {c}.", f"OUT_ = [x for x in IN_ if {c}]", "numbers", "kept")


def drop_between(p: Params) -> Step:
    low = p(-30, 30)
    high = low + p(2, 25)
    return Step(
        f"Drop all numbers from {low} to {high} (both included).",
        f"OUT_ = [x for x in IN_ if not {low} <= x <= {high}]",
        "numbers",
        "kept",
    )


def affine(p: Params) -> Step:
    rule = line(p.nonzero(9), p(-30, 30))
    return Step(f"Replace each number x by {rule}.", f"OUT_ = [{rule} for x in IN_]", "numbers", "mapped")


def piecewise(p: Params) -> Step:
    c, one, other = condition(p), line(p.nonzero(6), p(-20, 20)), line(p.nonzero(6), p(-20, 20))
    return Step(
        f"Replace each number x by {one} if {c}, and by {other} otherwise.",
        f"OUT_ = []\nfor x in IN_:\n    if {c}:\n        OUT_.append({one})\n    else:\n        OUT_.append({other})",
        "numbers",
        "mapped",
    )


def by_position(p: Params) -> Step:
    k, a, b = p(2, 6), p.nonzero(7), p(-15, 15)
    return Step(
        f"Replace the number x at each position i (from 0) by {line(a, b)} if i % {k} == {(r := p(0, k - 1))}; leave the others.",
        f"OUT_ = []\nfor i, x in enumerate(IN_):\n    if i % {k} == {r}:\n        x = {line(a, b)}\n    OUT_.append(x)",
        "numbers",
        "changed",
    )


def running_total(p: Params) -> Step:
    m, start = p(3, 9), p(-20, 20)
    return Step(
        f"Replace each number by a running total that begins with {start}: add the number, note the total down, and set the "
        f"total back to {start} whenever the total just noted down is divisible by {m}.",
        f"OUT_ = []\ntotal = {start}\nfor x in IN_:\n    total += x\n    OUT_.append(total)\n"
        f"    if total % {m} == 0:\n        total = {start}",
        "numbers",
        "totals",
    )


def differences(p: Params) -> Step:
    k, sign = p(1, 3), p.pick((1, -1))
    what = f"number minus the number {k} position{'s' * (k > 1)} before it"
    if sign < 0:
        what = f"number subtracted from the number {k} position{'s' * (k > 1)} before it"
    body = f"IN_[i] - IN_[i - {k}]" if sign > 0 else f"IN_[i - {k}] - IN_[i]"
    return Step(
        f"Make the list of each {what}; the first {k} number{'s have' if k > 1 else ' has'} none and drop{'s' * (k < 2)} out.",
        f"OUT_ = []\nfor i in range({k}, len(IN_)):\n    OUT_.append({body})",
        "numbers",
        "differences",
    )


def windows(p: Params) -> Step:
    k = p(2, 5)
    word, fn = p.pick((("sum", "sum"), ("largest number", "max"), ("smallest number", "min")))
    return Step(
        f"Take every block of {k} consecutive numbers (overlapping ones too, from left to right) and make the list of the {word} "
        "of each; a shorter list gives an empty one.",
        f"OUT_ = []\nfor i in range(len(IN_) - {k} + 1):\n    OUT_.append({fn}(IN_[i:i + {k}]))",
        "numbers",
        "windows",
    )


def blocks(p: Params) -> Step:
    k = p(2, 5)
    word, rule = p.pick(
        (
            ("its sum", "sum(block)"),
            ("its largest minus its smallest number", "max(block) - min(block)"),
            ("its first minus its last number", "block[0] - block[-1]"),
            ("its largest number times its length", "max(block) * len(block)"),
        )
    )
    return Step(
        f"Cut the list into blocks of {k} from the left (the last block may be shorter) and replace each block by {word}.",
        f"OUT_ = []\nfor i in range(0, len(IN_), {k}):\n    block = IN_[i:i + {k}]\n    OUT_.append({rule})",
        "numbers",
        "blocks",
    )


def unique(p: Params) -> Step:
    if p.pick((True, False)):
        return Step(
            "Of equal numbers keep only the first.",
            "OUT_ = []\nseen = set()\nfor x in IN_:\n    if x not in seen:\n        seen.add(x)\n        OUT_.append(x)",
            "numbers",
            "unique",
        )
    return Step(
        "Of equal numbers keep only the last.",
        "OUT_ = []\nseen = set()\nfor x in reversed(IN_):\n    if x not in seen:\n        seen.add(x)\n"
        "        OUT_.append(x)\nOUT_.reverse()",
        "numbers",
        "unique",
    )


def rotate(p: Params) -> Step:
    k = p(1, 9)
    return Step(
        f"Rotate the list {k} position{'s' * (k > 1)} to the left (what falls out at the front comes back at the end).",
        f"shift = {k} % len(IN_) if IN_ else 0\nOUT_ = IN_[shift:] + IN_[:shift]",
        "numbers",
        "rotated",
        reorders=True,
    )


def turn_blocks(p: Params) -> Step:
    k = p(2, 6)
    return Step(
        f"Cut the list into blocks of {k} from the left (the last may be shorter), reverse each block, and put them together "
        "again.",
        f"OUT_ = []\nfor i in range(0, len(IN_), {k}):\n    OUT_.extend(reversed(IN_[i:i + {k}]))",
        "numbers",
        "turned",
        reorders=True,
    )


def arrange(p: Params) -> Step:
    m = p(2, 12)
    first, ties = p.pick(("ascending", "descending")), p.pick(("ascending", "descending"))
    key = f"({'-' * (first == 'descending')}(x % {m}), {'-' * (ties == 'descending')}x)"
    return Step(
        f"Sort by x % {m}, {first}; numbers with the same remainder by their value, {ties}.",
        f"OUT_ = sorted(IN_, key=lambda x: {key})",
        "numbers",
        "arranged",
        reorders=True,
        forgets_order=True,
    )


def runs(p: Params) -> Step:
    a, b = p(1, 5), p(-9, 9)
    return Step(
        f"Replace each longest run of equal neighbours, n times x, by the one number x + {line(a, b, 'n')}.",
        "OUT_ = []\ni = 0\nfor j in range(1, len(IN_) + 1):\n    if j == len(IN_) or IN_[j] != IN_[i]:\n        n = j - i\n"
        f"        OUT_.append(IN_[i] + {line(a, b, 'n')})\n        i = j",
        "numbers",
        "runs",
    )


def next_larger(p: Params) -> Step:
    word, op = p.pick((("larger", ">"), ("smaller", "<")))
    other = p(-50, 50)
    return Step(
        f"Replace each number by the nearest strictly {word} number to its right, or by {other} where there is none.",
        f"OUT_ = []\nfor i, x in enumerate(IN_):\n    found = {other}\n    for y in IN_[i + 1:]:\n        if y {op} x:\n"
        "            found = y\n            break\n    OUT_.append(found)",
        "numbers",
        "nexts",
    )


def digits(p: Params) -> Step:
    a, b = p.nonzero(8), p(-20, 20)
    return Step(
        f"Replace each number x by {line(a, b, 's')}, where s is the sum of the decimal digits of x (without its sign).",
        f"OUT_ = []\nfor x in IN_:\n    s = sum(int(digit) for digit in str(abs(x)))\n    OUT_.append({line(a, b, 's')})",
        "numbers",
        "digit_sums",
    )


def collatz(p: Params) -> Step:
    times, a, b = p(2, 4), p.pick((3, 5, -3)), p(-7, 7)
    return Step(
        f"For each number x do this {times} times: an even x becomes x // 2, an odd x becomes {line(a, b)}. Keep the last x.",
        f"OUT_ = []\nfor x in IN_:\n    for _ in range({times}):\n        if x % 2 == 0:\n            x = x // 2\n"
        f"        else:\n            x = {line(a, b)}\n    OUT_.append(x)",
        "numbers",
        "played",
    )


def insert_after(p: Params) -> Step:
    c, d = condition(p), p(-40, 40)
    return Step(
        f"After each number x with {c} insert the number {d}.",
        f"OUT_ = []\nfor x in IN_:\n    OUT_.append(x)\n    if {c}:\n        OUT_.append({d})",
        "numbers",
        "longer",
    )


def peaks(p: Params) -> Step:
    word, op = p.pick((("greater", ">"), ("less", "<")))
    return Step(
        f"Keep only the numbers that are strictly {word} than each of their neighbours (the first and the last number have one "
        "neighbour; a single number stays).",
        f"OUT_ = []\nfor i, x in enumerate(IN_):\n    left = i == 0 or x {op} IN_[i - 1]\n"
        f"    right = i == len(IN_) - 1 or x {op} IN_[i + 1]\n    if left and right:\n        OUT_.append(x)",
        "numbers",
        "peaks",
    )


def as_letters(p: Params) -> Step:
    shift = p(0, 25)
    return Step(
        f"Turn each number x into the small letter at position (x + {shift}) % 26 of the alphabet (position 0 is a), and join "
        "the letters to a string.",
        f"OUT_ = ''.join('{LETTERS}'[(x + {shift}) % 26] for x in IN_)",
        "text",
        "letters",
    )


def by_remainder(p: Params) -> Step:
    m = p(3, 9)
    start, word, rule = p.pick(((0, "how many numbers", "+ 1"), (0, "the sum of the numbers", "+ x")))
    return Step(
        f"Make a dictionary: for each remainder r that occurs as x % {m}, the key 'r' followed by the remainder (such as 'r0') "
        f"has as its value {word} x with that remainder.",
        f"OUT_ = {{}}\nfor x in IN_:\n    key = 'r' + str(x % {m})\n    OUT_[key] = OUT_.get(key, {start}) {rule}",
        "table",
        "groups",
        forgets_order=True,
    )


def as_rows(p: Params) -> Step:
    w = p(2, 4)
    return Step(
        f"Cut the list into rows of {w} numbers to get a grid; numbers left over at the end are dropped.",
        f"OUT_ = []\nfor i in range(0, len(IN_) - {w} + 1, {w}):\n    OUT_.append(IN_[i:i + {w}])",
        "grid",
        "rows",
    )


def as_arrows(p: Params) -> Step:
    a, b, c = p(1, 5), p(0, 9), condition(p)
    return Step(
        "Make a directed graph whose nodes are the positions 0 to n-1 of the list, n being its length: node i, holding x, has "
        f"an arrow to node ({line(a, b, 'i')} + x) % n and, if {c}, a second arrow to node (i + 1) % n.",
        f"n = len(IN_)\nOUT_ = []\nfor i, x in enumerate(IN_):\n    arrows = [({line(a, b, 'i')} + x) % n]\n    if {c}:\n"
        "        arrows.append((i + 1) % n)\n    OUT_.append(arrows)",
        "graph",
        "graph",
    )


def fold(p: Params) -> Step:
    a, m, start = p(2, 40), p(97, 997), p(0, 90)
    return Step(
        f"Start with h = {start} and, for each number x from left to right, replace h by ({a}*h + x) % {m}. The result is h.",
        f"OUT_ = {start}\nfor x in IN_:\n    OUT_ = ({a} * OUT_ + x) % {m}",
        "number",
        "h",
    )


def weighted(p: Params) -> Step:
    k, shift = p(2, 7), p(1, 9)
    return Step(
        f"Add up all numbers, the one at position i (from 0) multiplied by i % {k} + {shift}. The result is the sum.",
        f"OUT_ = 0\nfor i, x in enumerate(IN_):\n    OUT_ += x * (i % {k} + {shift})",
        "number",
        "total",
    )


def count_pairs(p: Params) -> Step:
    m = p(3, 12)
    r = p(0, m - 1)
    return Step(
        f"Count the pairs of positions i < j whose numbers x and y have (x + y) % {m} == {r}. The result is that count.",
        f"OUT_ = 0\nfor i in range(len(IN_)):\n    for j in range(i + 1, len(IN_)):\n"
        f"        if (IN_[i] + IN_[j]) % {m} == {r}:\n            OUT_ += 1",
        "number",
        "pairs",
        forgets_order=True,
    )


def longest_stretch(p: Params) -> Step:
    c = condition(p)
    return Step(
        f"Find the longest stretch of neighbouring numbers that all have {c}. The result is its length (0 if there is none).",
        f"OUT_ = 0\nlength = 0\nfor x in IN_:\n    if {c}:\n        length += 1\n    else:\n        length = 0\n"
        "    OUT_ = max(OUT_, length)",
        "number",
        "best",
    )


TEMPLATES: tuple[Template, ...] = (
    *(keep, drop_between, affine, piecewise, by_position, running_total, differences, windows, blocks, unique, rotate),
    *(turn_blocks, arrange, runs, next_larger, digits, collatz, insert_after, peaks, as_letters, by_remainder, as_rows),
    *(as_arrows, fold, weighted, count_pairs, longest_stretch),
)
