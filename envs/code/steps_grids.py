"""Steps that take a grid (a list of rows of equal length), or a directed graph (for each node the list its arrows lead to)."""

from __future__ import annotations

from turnwise.envs.code.step import Params, Step, Template
from turnwise.envs.code.steps_numbers import line

__all__ = ["GRAPH", "GRID"]


def _cell(p: Params) -> str:
    """A condition on the number v of a cell."""
    if p.pick((True, False)):
        m = p(2, 6)
        return f"v % {m} != {p(0, m - 1)}"
    return f"v {p.pick(('>', '<', '>=', '<='))} {p(-8, 20)}"


def _sum(a: int, x: str, b: int, y: str) -> str:
    """a*x + b*y as one writes it."""
    return f"{line(a, 0, x)} {'+' if b > 0 else '-'} {line(abs(b), 0, y)}"


# --- a grid ------------------------------------------------------------------------------------------------------------


def turn_grid(p: Params) -> Step:
    text, rule = p.pick(
        (
            ("Turn the grid a quarter to the right (its first row becomes its last column).", "zip(*IN_[::-1])"),
            (
                "Turn the grid a quarter to the left (its first row becomes its first column, upside down).",
                "list(zip(*IN_))[::-1]",
            ),
            ("Swap the rows and columns of the grid (its first row becomes its first column).", "zip(*IN_)"),
            ("Reverse each row of the grid.", "(row[::-1] for row in IN_)"),
        )
    )
    return Step(text, f"OUT_ = [list(row) for row in {rule}]", "grid", "turned")


def change_cells(p: Params) -> Step:
    c, rule = _cell(p), line(p.nonzero(5), p(-15, 15), "v")
    return Step(
        f"In the grid replace each number v with {c} by {rule}; leave the others.",
        f"OUT_ = []\nfor row in IN_:\n    OUT_.append([{rule} if {c} else v for v in row])",
        "grid",
        "changed",
    )


def neighbours(p: Params) -> Step:
    a, b = p(1, 5), p.nonzero(4)
    return Step(
        f"Replace each number v of the grid by {_sum(a, 'v', b, 's')}, where s is the sum of the numbers directly above, below, "
        "left and right of it (as far as there are any), all by their old values.",
        "OUT_ = []\nfor r in range(len(IN_)):\n    row = []\n    for c in range(len(IN_[r])):\n        s = 0\n"
        "        for i, j in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):\n"
        "            if 0 <= i < len(IN_) and 0 <= j < len(IN_[r]):\n                s += IN_[i][j]\n"
        f"        row.append({_sum(a, 'IN_[r][c]', b, 's')})\n    OUT_.append(row)",
        "grid",
        "mixed",
    )


def slide_rows(p: Params) -> Step:
    a, b = p(1, 4), p(0, 5)
    way = p.pick(("right", "left"))
    by = line(a, b, "r")
    rule = "row[-k:] + row[:-k]" if way == "right" else "row[k:] + row[:k]"
    return Step(
        f"Rotate row r of the grid (r counts from 0) {by} places to the {way}; what falls out comes back on the other side.",
        f"OUT_ = []\nfor r, row in enumerate(IN_):\n    k = ({by}) % len(row) if row else 0\n"
        f"    OUT_.append({rule} if k else list(row))",
        "grid",
        "slid",
    )


def row_values(p: Params) -> Step:
    what, rule = p.pick((("sum", "sum({})"), ("largest number", "max({})"), ("smallest number", "min({})")))
    side = p.pick(("row", "column"))
    a, b = p.nonzero(6), p(-12, 12)
    lines = "IN_" if side == "row" else "zip(*IN_)"
    return Step(
        f"Make the list of {line(a, b, 's')} for each {side} of the grid, in order, where s is the {what} of the {side}.",
        f"OUT_ = []\nfor line in {lines}:\n    s = {rule.format('line')}\n    OUT_.append({line(a, b, 's')})",
        "numbers",
        "sides",
    )


def snake(p: Params) -> Step:
    k = p(2, 4)
    r = p(0, k - 1)
    return Step(
        f"Read the rows of the grid from top to bottom into one list, row r (from 0) from right to left if r % {k} == {r}, else "
        "from left to right.",
        f"OUT_ = []\nfor r, row in enumerate(IN_):\n    if r % {k} == {r}:\n        OUT_.extend(reversed(row))\n    else:\n"
        "        OUT_.extend(row)",
        "numbers",
        "path",
    )


def diagonals(p: Params) -> Step:
    a = p.nonzero(6)
    way = p.pick(("r + c", "c - r"))
    return Step(
        f"For every value d of {way} that occurs (r is the row, c the column, both from 0) add up the numbers with {way} == d, "
        f"and make the list of these sums times {a}, from the smallest d to the largest.",
        f"sums = {{}}\nfor r, row in enumerate(IN_):\n    for c, v in enumerate(row):\n        d = {way}\n"
        f"        sums[d] = sums.get(d, 0) + v\nOUT_ = [{a} * sums[d] for d in sorted(sums)]",
        "numbers",
        "diagonal_sums",
    )


_FLOOD = """OUT_ = {start}
seen = set()
for r in range(len(IN_)):
    for c in range(len(IN_[r])):
        v = IN_[r][c]
        if (r, c) in seen or not {cell}:
            continue
        seen.add((r, c))
        area = [(r, c)]
        for i, j in area:
            for y, x in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if 0 <= y < len(IN_) and 0 <= x < len(IN_[y]) and (y, x) not in seen:
                    v = IN_[y][x]
                    if {cell}:
                        seen.add((y, x))
                        area.append((y, x))
        {more}"""


def areas(p: Params) -> Step:
    cell = f"({_cell(p)})"
    text, start, more = p.pick(
        (
            ("The result is how many areas there are.", "0", "OUT_ += 1"),
            ("The result is the number of cells of the largest area (0 if there is none).", "0", "OUT_ = max(OUT_, len(area))"),
            ("The result is the list of the areas' numbers of cells, ascending.", "[]", "OUT_ = sorted(OUT_ + [len(area)])"),
        )
    )
    return Step(
        f"Mark the cells of the grid whose number v has {cell[1:-1]}. Marked cells that touch directly (above, below, left, "
        f"right) form an area. {text}",
        _FLOOD.format(start=start, cell=cell, more=more),
        "numbers" if start == "[]" else "number",
        "areas",
    )


def walk(p: Params) -> Step:
    cell = _cell(p)
    none = p(-9, -1)
    return Step(
        f"Cells whose number v has {cell} are free, the others are walls. Find the shortest way from the top left to the bottom "
        "right cell that goes through free cells only, a step at a time up, down, left or right; both ends must be free. The "
        f"result is its number of steps, or {none} if there is none (or no cell at all).",
        f"OUT_ = {none}\nfree = {{(r, c) for r, row in enumerate(IN_) for c, v in enumerate(row) if {cell}}}\n"
        "steps = {}\nqueue = []\nif (0, 0) in free:\n    steps[0, 0] = 0\n    queue.append((0, 0))\nfor r, c in queue:\n"
        "    for place in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):\n"
        "        if place in free and place not in steps:\n            steps[place] = steps[r, c] + 1\n"
        "            queue.append(place)\nif IN_ and IN_[0]:\n    OUT_ = steps.get((len(IN_) - 1, len(IN_[0]) - 1), OUT_)",
        "number",
        "shortest",
    )


# --- a directed graph --------------------------------------------------------------------------------------------------


def turn_arrows(p: Params) -> Step:
    if p.pick((True, False)):
        return Step(
            "Turn every arrow of the graph around; the arrows of a node are then listed by ascending node.",
            "OUT_ = [[] for _ in IN_]\nfor i, arrows in enumerate(IN_):\n    for j in arrows:\n        OUT_[j].append(i)\n"
            "for arrows in OUT_:\n    arrows.sort()",
            "graph",
            "turned",
        )
    return Step(
        "Remove from the graph all arrows from a node to itself, and of several equal arrows all but the first.",
        "OUT_ = []\nfor i, arrows in enumerate(IN_):\n    kept = []\n    for j in arrows:\n        if j != i and j not in kept:\n"
        "            kept.append(j)\n    OUT_.append(kept)",
        "graph",
        "simple",
    )


def add_arrows(p: Params) -> Step:
    m, k = p(2, 6), p(1, 9)
    r = p(0, m - 1)
    return Step(
        f"Give each node i of the graph with i % {m} == {r} one more arrow, at the end of its list, to node (i + {k}) % n, "
        "where n is the number of nodes.",
        f"n = len(IN_)\nOUT_ = []\nfor i, arrows in enumerate(IN_):\n    if i % {m} == {r}:\n"
        f"        arrows = arrows + [(i + {k}) % n]\n    OUT_.append(list(arrows))",
        "graph",
        "joined",
    )


def distances(p: Params) -> Step:
    start, none, a = p(0, 9), p(-9, -1), p(1, 9)
    return Step(
        f"Start at node {start} % n, n being the number of nodes. Make the list of {line(a, 0, 'd')} for every node, in order, "
        f"where d is the number of arrows on a shortest way from the start to it; {none} for nodes that cannot be reached.",
        f"steps = {{}}\nqueue = []\nif IN_:\n    start = {start} % len(IN_)\n    steps[start] = 0\n    queue.append(start)\n"
        "for i in queue:\n    for j in IN_[i]:\n        if j not in steps:\n            steps[j] = steps[i] + 1\n"
        f"            queue.append(j)\nOUT_ = [{a} * steps[i] if i in steps else {none} for i in range(len(IN_))]",
        "numbers",
        "distances",
    )


def degrees(p: Params) -> Step:
    a, b = p.nonzero(6), p.nonzero(6)
    return Step(
        f"Make the list of {_sum(a, 'o', b, 'e')} for every node, in order, where o is the number of arrows that leave it and e "
        "the number of arrows that end at it.",
        "ends = [0] * len(IN_)\nfor arrows in IN_:\n    for j in arrows:\n        ends[j] += 1\n"
        f"OUT_ = [{_sum(a, 'len(arrows)', b, 'ends[i]')} for i, arrows in enumerate(IN_)]",
        "numbers",
        "degrees",
    )


def follow(p: Params) -> Step:
    start, times, which = p(0, 9), p(3, 20), p.pick(("first", "last"))
    return Step(
        f"Start at node {start} % n, n being the number of nodes, and {times} times follow the {which} arrow of the node you "
        "are at (if it has none, go to node 0). Make the list of all nodes you are at, from the start to the end; empty for an "
        "empty graph.",
        f"OUT_ = []\nif IN_:\n    i = {start} % len(IN_)\n    OUT_.append(i)\n    for _ in range({times}):\n"
        f"        i = IN_[i][{0 if which == 'first' else -1}] if IN_[i] else 0\n        OUT_.append(i)",
        "numbers",
        "visited",
    )


def ways(p: Params) -> Step:
    start, length, m = p(0, 9), p(2, 6), p(50, 999)
    return Step(
        f"Start at node {start} % n, n being the number of nodes. The result is the number of different ways to follow exactly "
        f"{length} arrows from there (ways differ if they differ in any arrow), modulo {m}; 0 for an empty graph.",
        f"counts = [0] * len(IN_)\nif IN_:\n    counts[{start} % len(IN_)] = 1\nfor _ in range({length}):\n"
        "    after = [0] * len(IN_)\n    for i, arrows in enumerate(IN_):\n        for j in arrows:\n"
        f"            after[j] += counts[i]\n    counts = after\nOUT_ = sum(counts) % {m}",
        "number",
        "ways",
    )


def components(p: Params) -> Step:
    a, b = p(1, 9), p(2, 9)
    return Step(
        "Forget the directions of the arrows. The nodes fall into groups that hang together. The result is "
        f"{a} times the number of groups plus {b} times the number of nodes in the largest one (0 for an empty graph).",
        "label = list(range(len(IN_)))\nfor _ in IN_:\n    for i, arrows in enumerate(IN_):\n        for j in arrows:\n"
        "            label[i] = label[j] = min(label[i], label[j])\nsizes = {}\nfor number in label:\n"
        "    sizes[number] = sizes.get(number, 0) + 1\n"
        f"OUT_ = {a} * len(sizes) + {b} * max(sizes.values(), default=0)",
        "number",
        "groups",
    )


GRID: tuple[Template, ...] = (*(turn_grid, change_cells, neighbours, slide_rows, row_values, snake, diagonals, areas, walk),)
GRAPH: tuple[Template, ...] = (turn_arrows, add_arrows, distances, degrees, follow, ways, components)
