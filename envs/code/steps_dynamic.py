"""Steps that ask for a best or a count over very many possibilities: dynamic programming."""

from __future__ import annotations

from turnwise.envs.code.step import Params, Step, Template
from turnwise.envs.code.steps_numbers import LETTERS

__all__ = ["GRID", "NUMBERS", "TEXT"]


def best_block(p: Params) -> Step:
    c, at_least = p(-6, 6), p.pick((True, False))
    term = "x" if c == 0 else f"x {'+' if c > 0 else '-'} {abs(c)}"
    text = "The empty block, worth 0, counts too." if not at_least else "A block has at least one number; the result is 0 for []."
    code = (
        f"OUT_ = 0\nend = 0\nfor x in IN_:\n    end = max(0, end + {term})\n    OUT_ = max(OUT_, end)"
        if not at_least
        else f"OUT_ = None\nend = 0\nfor x in IN_:\n    end = max(end, 0) + {term}\n"
        "    OUT_ = end if OUT_ is None else max(OUT_, end)\nOUT_ = 0 if OUT_ is None else OUT_"
    )
    return Step(
        f"A block is a stretch of neighbouring numbers; it is worth the sum of {term} over its numbers x. The result is the most "
        f"that a block is worth. {text}",
        code,
        "number",
        "best",
    )


def rising(p: Params) -> Step:
    gap = p(0, 12)
    ends = p.pick((True, False))
    rule = f"y + {gap} < x" if gap else "y < x"
    text = f"each number is more than {gap} above the one before it" if gap else "each number is above the one before it"
    table = (
        "lengths = []\nfor i, x in enumerate(IN_):\n    longest = 0\n    for j, y in enumerate(IN_[:i]):\n"
        f"        if {rule}:\n            longest = max(longest, lengths[j])\n    lengths.append(longest + 1)\n"
    )
    if ends:
        return Step(
            "For each number find the longest subsequence (numbers in the order of the list, gaps allowed) that ends with it "
            f"and in which {text}. Make the list of these lengths.",
            f"{table}OUT_ = lengths",
            "numbers",
            "rising",
        )
    return Step(
        f"Find the longest subsequence (numbers in the order of the list, gaps allowed) in which {text}. The result is its "
        "length.",
        f"{table}OUT_ = max(lengths, default=0)",
        "number",
        "rising",
    )


def apart(p: Params) -> Step:
    gap, cost = p(1, 3), p(0, 9)
    paid = f", less {cost} for every number taken" if cost else ""
    return Step(
        f"Take any numbers of the list (none, if you like) so that between two taken ones there are at least {gap} others. The "
        f"result is the largest possible sum of the numbers taken{paid}.",
        f"best = [0]\nfor i, x in enumerate(IN_):\n    before = best[i - {gap}] if i >= {gap} else 0\n"
        f"    best.append(max(best[i], before + x{f' - {cost}' if cost else ''}))\nOUT_ = best[-1]",
        "number",
        "most",
    )


def coins(p: Params) -> Step:
    first = p(2, 5)
    second, third = first + p(1, 5), first + 5 + p(1, 9)
    most, count = p(20, 60), p.pick((True, False))
    values = f"({first}, {second}, {third})"
    if count:
        return Step(
            f"Replace each number x by the number of ways to pay the amount abs(x) % {most} with coins worth {first}, {second} "
            f"and {third} (any number of each; the order does not matter; there is one way to pay 0).",
            f"ways = [1] + [0] * {most}\nfor coin in {values}:\n    for amount in range(coin, {most + 1}):\n"
            f"        ways[amount] += ways[amount - coin]\nOUT_ = [ways[abs(x) % {most}] for x in IN_]",
            "numbers",
            "payments",
        )
    return Step(
        f"Replace each number x by the least number of coins worth {first}, {second} and {third} that pay the amount "
        f"abs(x) % {most} exactly (any number of each), or by -1 if it cannot be paid.",
        f"least = [0]\nfor amount in range(1, {most + 1}):\n    choices = []\n    for coin in {values}:\n"
        "        if coin <= amount and least[amount - coin] >= 0:\n            choices.append(least[amount - coin] + 1)\n"
        f"    least.append(min(choices, default=-1))\nOUT_ = [least[abs(x) % {most}] for x in IN_]",
        "numbers",
        "payments",
    )


def jumps(p: Params) -> Step:
    far, extra = p(2, 4), p(1, 20)
    return Step(
        f"You stand on the first number and want to end on the last one; each jump goes 1 to {far} positions to the right. You "
        f"pay abs(x) for every number x you stand on (the first and the last too), and {extra} more for each jump over at least "
        "one number. The result is the least you can pay (0 for an empty list).",
        "costs = []\nfor i, x in enumerate(IN_):\n    choices = []\n"
        f"    for k in range(1, {far + 1}):\n        if k <= i:\n            choices.append(costs[i - k] + ({extra} if k > 1 "
        "else 0))\n"
        "    costs.append(min(choices, default=0) + abs(x))\nOUT_ = costs[-1] if costs else 0",
        "number",
        "cost",
    )


def filling(p: Params) -> Step:
    size, m = p(20, 70), p(3, 9)
    return Step(
        f"Each number x is a thing of weight abs(x) % 20 + 1 and value (x % {m}) + 1. The result is the largest total value of "
        f"things whose total weight is at most {size}; every thing is there once.",
        f"most = [0] * {size + 1}\nfor x in IN_:\n    weight, value = abs(x) % 20 + 1, x % {m} + 1\n"
        f"    for room in range({size}, weight - 1, -1):\n        most[room] = max(most[room], most[room - weight] + value)\n"
        "OUT_ = most[-1]",
        "number",
        "value",
        forgets_order=True,
    )


def trades(p: Params) -> Step:
    fee, pause = p(1, 12), p.pick((True, False))
    wait = " After selling you have to skip at least one day before you buy again." if pause else ""
    return Step(
        "The numbers are the prices of one thing on successive days. You may buy one and sell it on a later day, again and "
        f"again, holding at most one; each sale costs a fee of {fee}.{wait} The result is the largest profit (0 if there is "
        "none).",
        "free, holding, sold = 0, None, 0\nfor x in IN_:\n    rest = max(free, sold)\n"
        f"    new_sold = sold if holding is None else max(sold, holding + x - {fee})\n"
        f"    base = {'free' if pause else 'rest'} - x\n    holding = base if holding is None else max(holding, base)\n"
        "    free, sold = rest, new_sold\nOUT_ = max(free, sold)",
        "number",
        "profit",
    )


def edits(p: Params) -> Step:
    word = "".join(p.pick(LETTERS[:8] + "rst") for _ in range(p(4, 6)))
    swap = p(1, 3)
    return Step(
        f"Turn the string into {word!r} with the least cost: inserting or deleting a character costs 1, replacing one by another "
        f"costs {swap}. The result is that cost.",
        f"word = {word!r}\nrow = list(range(len(word) + 1))\nfor i, c in enumerate(IN_, 1):\n    new = [i]\n"
        f"    for j, d in enumerate(word, 1):\n        change = row[j - 1] + (0 if c == d else {swap})\n"
        "        new.append(min(change, row[j] + 1, new[j - 1] + 1))\n    row = new\nOUT_ = row[-1]",
        "number",
        "cost",
    )


def shared(p: Params) -> Step:
    word = "".join(p.pick(LETTERS[:10] + "nrst") for _ in range(p(5, 8)))
    a = p(1, 9)
    times = f"{a} times the length" if a > 1 else "the length"
    return Step(
        f"The result is {times} of the longest string whose characters occur in this order (gaps allowed) both in the string "
        f"and in {word!r}.",
        f"row = [0] * {len(word) + 1}\nfor c in IN_:\n    new = [0]\n    for j, d in enumerate({word!r}):\n"
        "        new.append(row[j] + 1 if c == d else max(row[j + 1], new[j]))\n    row = new\n"
        f"OUT_ = {f'{a} * ' if a > 1 else ''}row[-1]",
        "number",
        "shared",
    )


def mirrored(p: Params) -> Step:
    kind, a = p.pick(("substring", "subsequence")), p(1, 9)
    times = f"{a} times the length" if a > 1 else "the length"
    inner = "inside[i + 1][j - 1] + 2" if kind == "subsequence" else "inside[i + 1][j - 1] + 2 if full else 0"
    gaps = "; gaps are allowed" if kind == "subsequence" else ", without gaps"
    code = (
        "n = len(IN_)\ninside = [[0] * (n + 1) for _ in range(n + 1)]\nbest = 0\nfor i in range(n - 1, -1, -1):\n"
        "    inside[i][i] = 1\n    best = max(best, 1)\n    for j in range(i + 1, n):\n        if IN_[i] == IN_[j]:\n"
        f"            full = inside[i + 1][j - 1] == j - i - 1\n            inside[i][j] = {inner}\n"
    )
    if kind == "subsequence":
        code = code.replace("            full = inside[i + 1][j - 1] == j - i - 1\n", "")
        code += "        else:\n            inside[i][j] = max(inside[i + 1][j], inside[i][j - 1])\n"
    code += f"        best = max(best, inside[i][j])\nOUT_ = {f'{a} * ' if a > 1 else ''}best"
    return Step(
        f"The result is {times} of the longest {kind} of the string that reads the same forwards and backwards (characters in "
        f"the order of the string{gaps}).",
        code,
        "number",
        "mirror",
    )


def descent(p: Params) -> Step:
    best, extra = p.pick((("smallest", "min"), ("largest", "max"))), p(-9, 9)
    down = f" plus {extra} for every step down" if extra > 0 else f" minus {-extra} for every step down" if extra else ""
    cost = f" + {extra}" if extra > 0 else f" - {-extra}" if extra else ""
    return Step(
        f"Go from the top left to the bottom right cell of the grid, a step at a time to the right or down. The result is the "
        f"{best[0]} possible sum of the numbers on the way, both ends included{down} (0 for a grid without cells).",
        "OUT_ = 0\nabove = []\nfor r, row in enumerate(IN_):\n    sums = []\n    for c, v in enumerate(row):\n        choices "
        "= []\n"
        f"        if r > 0:\n            choices.append(above[c]{cost})\n        if c > 0:\n            choices.append(sums[c - "
        "1])\n"
        f"        sums.append(v + {best[1]}(choices, default=0))\n    above = sums\nif above:\n    OUT_ = above[-1]",
        "number",
        "sum_of_way",
    )


def square(p: Params) -> Step:
    m = p(2, 7)
    r, power = p(0, m - 1), p.pick((1, 2))
    what = "the length of its side" if power == 1 else "its number of cells"
    return Step(
        f"Find the largest square block of cells of the grid that holds no number v with v % {m} == {r}. The result is {what} "
        "(0 if there is none).",
        "side = 0\nabove = []\nfor r, row in enumerate(IN_):\n    sides = []\n    for c, v in enumerate(row):\n"
        f"        if v % {m} == {r}:\n            sides.append(0)\n        elif r == 0 or c == 0:\n            sides.append(1)\n"
        "        else:\n            sides.append(min(above[c], above[c - 1], sides[c - 1]) + 1)\n"
        f"        side = max(side, sides[c])\n    above = sides\nOUT_ = side{' * side' if power == 2 else ''}",
        "number",
        "size",
    )


NUMBERS: tuple[Template, ...] = (best_block, rising, apart, coins, jumps, filling, trades)
TEXT: tuple[Template, ...] = (edits, shared, mirrored)
GRID: tuple[Template, ...] = (descent, square)
