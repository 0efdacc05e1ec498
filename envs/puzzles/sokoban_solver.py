"""Shortest solutions, counted in moves (steps of the man; pushes are not counted apart).

`PullTable` plays a layout (walls and goals) backwards from every solved position, breadth first, and so knows how many moves
every position that can be solved at all needs. Positions with the same boxes are kept together: the men of one breadth-first
layer are one integer, and all of them walk in four shifts. `search` goes forward from one position (A* over pushes) and serves
boards whose table would be too big.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush
from threading import Lock

from turnwise.envs.puzzles.sokoban_rules import Board, steps_of

__all__ = ["PullTable", "Solution", "pull_table", "search", "solve"]

TABLE_LIMIT = 40_000
"""Entries (a layer's men around one set of boxes) of a table, about 0.1 s and 10 MB; what is deeper is left to `search`."""
OPTIMAL_BUDGET = 40_000
"""Positions A* may expand for a shortest solution."""
ANY_BUDGET = 100_000
"""Positions it may then expand for any solution."""
_HURRY = 4
"""Weight of the estimate when any solution will do (weighted A*)."""
LETTERS = "udlr"

Solution = tuple[str, bool]
"""Moves as a LURD string (capitals push) and whether no shorter one exists."""


def _shift(mask: int, step: int) -> int:
    return mask << step if step > 0 else mask >> -step


class _Around:
    """One set of boxes: where a man may still be met for the first time, and from where he can pull."""

    __slots__ = ("pullers", "pulls", "unseen")

    def __init__(self, floor: int, boxes: int, steps: tuple[int, int, int, int]) -> None:
        free = floor & ~boxes
        self.unseen = free
        # A man at p pulls in direction s if a box is at p - s and p + s is free.
        self.pulls = tuple((_shift(boxes, s) & free & _shift(free, -s), s) for s in steps)
        self.pullers = self.pulls[0][0] | self.pulls[1][0] | self.pulls[2][0] | self.pulls[3][0]


class PullTable:
    """Moves to the solution from every position of one layout, or from the nearest ones if it has too many.

    `layers[t]` maps boxes to the men for whom exactly t moves are needed. `complete` says that a position that is not in the
    table cannot be solved. Source of the idea: breadth-first reverse play (Taylor and Parberry 2011), here over single moves.
    """

    def __init__(self, width: int, floor: int, goals: int, limit: int = TABLE_LIMIT) -> None:
        self._steps = steps_of(width)
        self.layers: list[dict[int, int]] = []
        self.entries = 0
        start = _Around(floor, goals, self._steps)
        around, layer = {goals: start}, {goals: start.unseen}
        start.unseen = 0
        while layer and self.entries <= limit:
            self.layers.append(layer)
            self.entries += len(layer)
            layer = self._next(layer, around, floor, width)
        self.complete = not layer

    def _next(self, layer: dict[int, int], around: dict[int, _Around], floor: int, width: int) -> dict[int, int]:
        found: dict[int, int] = {}
        for boxes, men in layer.items():
            here = around[boxes]
            walked = (men << 1 | men >> 1 | men << width | men >> width) & here.unseen
            if walked:
                here.unseen ^= walked
                found[boxes] = found.get(boxes, 0) | walked
            if not men & here.pullers:
                continue
            for pullers, step in here.pulls:
                left = men & pullers
                while left:
                    man = left & -left
                    left ^= man
                    pulled = boxes ^ man ^ _shift(man, -step)
                    there = around.get(pulled)
                    if there is None:
                        there = around[pulled] = _Around(floor, pulled, self._steps)
                    to = _shift(man, step)
                    if there.unseen & to:
                        there.unseen ^= to
                        found[pulled] = found.get(pulled, 0) | to
        return found

    def length(self, boxes: int, man: int) -> int | None:
        """Moves of a shortest solution; None if the position is not in the table."""
        return next((t for t, layer in enumerate(self.layers) if layer.get(boxes, 0) & man), None)

    def count(self, t: int) -> int:
        """Positions that need exactly t moves."""
        return sum(men.bit_count() for men in self.layers[t].values())

    def pick(self, t: int, index: int) -> tuple[int, int]:
        """Position number `index` of those that need t moves, as (boxes, man)."""
        for boxes, men in self.layers[t].items():
            size = men.bit_count()
            if index < size:
                for _ in range(index):
                    men &= men - 1
                return boxes, men & -men
            index -= size
        raise IndexError(f"layer {t} has fewer positions")

    def solution(self, boxes: int, man: int, length: int) -> str:
        """A shortest solution of a position that needs `length` moves, as LURD."""
        moves: list[str] = []
        for layer in self.layers[length - 1 :: -1] if length else ():
            for letter, step in zip(LETTERS, self._steps, strict=True):
                to = _shift(man, step)
                pushed = boxes ^ to ^ _shift(to, step) if boxes & to else boxes
                if layer.get(pushed, 0) & to:
                    moves.append(letter.upper() if boxes & to else letter)
                    boxes, man = pushed, to
                    break
        return "".join(moves)


class _TableCache:
    """The tables used last, as many as fit; a pure function's memory, so it changes no result."""

    def __init__(self, entries: int) -> None:
        self._room, self._lock = entries, Lock()
        self._tables: OrderedDict[tuple[int, int, int], PullTable] = OrderedDict()

    def get(self, key: tuple[int, int, int]) -> PullTable:
        with self._lock:
            table = self._tables.get(key)
            if table is not None:
                self._tables.move_to_end(key)
                return table
        table = PullTable(*key)
        with self._lock:
            if key not in self._tables:
                self._tables[key] = table
                self._room -= table.entries
            while self._room < 0 and len(self._tables) > 1:
                self._room += self._tables.popitem(last=False)[1].entries
        return table


_cache = _TableCache(entries=250_000)  # about 50 MB


def pull_table(width: int, floor: int, goals: int) -> PullTable:
    """The table of a layout, from memory if it was used lately."""
    return _cache.get((width, floor, goals))


def solve(board: Board) -> Solution | None:
    """A solution, a shortest one where the budgets allow; None if there is none or it was not found."""
    table = pull_table(board.width, board.floor, board.goals)
    length = table.length(board.boxes, board.man)
    if length is not None:
        return table.solution(board.boxes, board.man, length), True
    if table.complete:
        return None
    best, finished = search(board, OPTIMAL_BUDGET)
    if best is not None or finished:
        return None if best is None else (best, True)
    some, _ = search(board, ANY_BUDGET, weight=_HURRY)
    return None if some is None else (some, False)


def search(board: Board, budget: int, weight: int = 1) -> tuple[str | None, bool]:
    """A* over pushes that counts moves: (LURD or None, whether the search ran to its end).

    The estimate adds up, for each box, the pushes to its nearest goal on the empty board: never too high, so `weight=1` gives a
    shortest solution. Expands at most `budget` positions.
    """
    steps = steps_of(board.width)
    nearest = _pushes_to_goal(board, steps)
    start = (board.boxes, board.man)
    best = {start: 0}
    parent: dict[tuple[int, int], tuple[tuple[int, int], int]] = {}
    estimate = _estimate(board.boxes, nearest)
    if estimate is None:
        return None, True
    queue = [(weight * estimate, estimate, 0, *start)]
    while queue:
        _, estimate, cost, boxes, man = heappop(queue)
        if boxes == board.goals:
            return _unwind(board, parent, (boxes, man)), True
        if cost > best[boxes, man]:
            continue
        budget -= 1
        if budget < 0:
            return None, False
        for walked, to, step in _pushes(board, boxes, man, steps):
            beyond = _shift(to, step)
            near = nearest.get(beyond)
            if near is None:
                continue  # from there a box reaches no goal
            state, total = (boxes ^ to ^ beyond, to), cost + walked + 1
            if total < best.get(state, 1 << 60):
                best[state] = total
                parent[state] = ((boxes, man), step)
                ahead = estimate + near - nearest[to]
                heappush(queue, (total + weight * ahead, ahead, total, *state))
    return None, True


def _pushes(board: Board, boxes: int, man: int, steps: tuple[int, int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Every push within reach: (steps walked before it, cell of the box, direction)."""
    free = board.floor & ~boxes
    ready = [(_shift(boxes, -s) & free & _shift(free, -2 * s), s) for s in steps]
    any_ready = ready[0][0] | ready[1][0] | ready[2][0] | ready[3][0]
    unseen, men, walked, width = free & ~man, man, 0, board.width
    while men:
        if men & any_ready:
            for pushers, step in ready:
                left = men & pushers
                while left:
                    pusher = left & -left
                    left ^= pusher
                    yield walked, _shift(pusher, step), step
        men = (men << 1 | men >> 1 | men << width | men >> width) & unseen
        unseen ^= men
        walked += 1


def _pushes_to_goal(board: Board, steps: tuple[int, int, int, int]) -> dict[int, int]:
    """Pushes from a cell to the nearest goal with no other box on the board; cells from where there is no way are missing."""
    front = [1 << c for c in range(board.width * board.height) if board.goals >> c & 1]
    found = dict.fromkeys(front, 0)
    for box in front:  # grows while it is read: breadth first
        for step in steps:
            came_from = _shift(box, -step)
            if came_from & board.floor and _shift(came_from, -step) & board.floor and came_from not in found:
                found[came_from] = found[box] + 1
                front.append(came_from)
    return found


def _estimate(boxes: int, nearest: dict[int, int]) -> int | None:
    total = 0
    while boxes:
        box = boxes & -boxes
        boxes ^= box
        if box not in nearest:
            return None
        total += nearest[box]
    return total


def _unwind(board: Board, parent: dict[tuple[int, int], tuple[tuple[int, int], int]], state: tuple[int, int]) -> str:
    steps = steps_of(board.width)
    parts: list[str] = []
    while state in parent:
        before, step = parent[state]
        pusher = _shift(state[1], -step)
        parts.append(_walk(board, before[0], before[1], pusher) + LETTERS[steps.index(step)].upper())
        state = before
    return "".join(reversed(parts))


def _walk(board: Board, boxes: int, start: int, goal: int) -> str:
    """A shortest walk between two cells that boxes do not block."""
    steps = steps_of(board.width)
    free = board.floor & ~boxes
    layers = [goal]
    unseen = free & ~goal
    while not layers[-1] & start:
        men = layers[-1]
        men = (men << 1 | men >> 1 | men << board.width | men >> board.width) & unseen
        unseen ^= men
        layers.append(men)
    moves: list[str] = []
    man = start
    for layer in reversed(layers[:-1]):
        letter, man = next((x, _shift(man, s)) for x, s in zip(LETTERS, steps, strict=True) if _shift(man, s) & layer)
        moves.append(letter)
    return "".join(moves)
