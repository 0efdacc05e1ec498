"""Whether two query results say the same: rows as a multiset, columns in any order, numbers within a tolerance.

Policy of values: NULL equals NULL and nothing else; an int equals only the very same int; a number equals a number within the
tolerance where one of them is a float; text is never a number ('1' is not 1), a blob never a text; true is 1.
Columns are matched by what is in them, never by trying all n! orders: a column is coloured by the multiset of its (row colour,
cell) pairs, a row by that of its (column colour, cell) pairs, until nothing changes (colour refinement). Columns that are still
alike are told apart by trying one pair and refining again, at most `TRIES` times; a result so regular that this is not enough
counts as different, unless its columns stand in the gold's own order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, pairwise
from operator import add
from typing import Any

__all__ = ["TOLERANCE", "Table", "difference"]

TOLERANCE = 1e-9
"""Relative above 1, absolute below."""
TRIES = 200
_HUGE = 1e300
_NUMBER = (float, int)
Grid = list[list[int]]
"""Cells as small ints, equal where the cells are."""


@dataclass(frozen=True, slots=True)
class Table:
    """A whole result."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Hashable, ...], ...]

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Table:
        """From what the tool `query` answers; the caller has seen that it is complete."""
        return cls(tuple(result["columns"]), tuple(tuple(_cell(c) for c in row) for row in result["rows"]))


def difference(
    gold: Table, other: Table, places: Sequence[int] | None = None, *, permute: bool = True, tolerance: float = TOLERANCE
) -> str:
    """ "" where they agree, else why not.

    `places`, one per row and not falling: the row must stand within the rows of the same place; None: in any order. Without
    `permute` the columns must stand as they are.
    """
    width, height = len(gold.columns), len(gold.rows)
    if len(other.columns) != width:
        return f"{len(other.columns)} columns instead of {width}"
    if len(other.rows) != height:
        return f"{len(other.rows)} rows instead of {height}"
    one, two = _grids(gold, other, tolerance)
    colours = list(places) if places is not None else [0] * height
    if Counter(_keyed(one, colours)) == Counter(_keyed(two, colours)):
        return ""
    if not permute or width < 2:
        return "the rows differ" if places is None else "the rows or their order differ"
    return _Alignment(one, two, colours).search()


def _cell(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        ((kind, content),) = value.items()
        if kind == "decimal":
            number = Decimal(content)
            return int(number) if number == number.to_integral_value() else float(number)
        return float(content) if kind == "float" and content != "nan" else (kind, content)
    return tuple(_cell(v) for v in value) if isinstance(value, list) else value


def _grids(gold: Table, other: Table, tolerance: float) -> tuple[Grid, Grid]:
    mine, theirs = set(chain.from_iterable(gold.rows)), set(chain.from_iterable(other.rows))
    stand_in = _stand_ins(mine, theirs - mine, tolerance)
    numbers: dict[Hashable, int] = {}
    ids = {cell: numbers.setdefault(stand_in.get(cell, cell), len(numbers)) for cell in mine | theirs}
    one, two = ([[*map(ids.__getitem__, row)] for row in table.rows] for table in (gold, other))
    return one, two


def _stand_ins(mine: set[Hashable], others: set[Hashable], tolerance: float) -> dict[Hashable, Hashable]:
    """Number -> the gold number that stands for it; only gold numbers draw clusters, so a prediction cannot bridge two."""
    found: dict[Hashable, Hashable] = {}
    numbers = sorted(c for c in mine if isinstance(c, _NUMBER) and -_HUGE < c < _HUGE)
    for last, x in pairwise(numbers):
        if x - last <= tolerance * (2 + abs(x)) and _near(last, x, tolerance):
            found[x] = found.get(last, last)
    for x in others:
        if isinstance(x, _NUMBER) and -_HUGE < x < _HUGE:
            at = bisect_left(numbers, x)
            near = next((y for y in numbers[max(0, at - 1) : at + 1] if _near(x, y, tolerance)), x)
            found[x] = found.get(near, near)
    return found


def _near(x: float | int, y: float | int, tolerance: float) -> bool:
    return (isinstance(x, float) or isinstance(y, float)) and abs(x - y) <= tolerance * max(1, abs(x), abs(y))


def _keyed(grid: Grid, colours: Sequence[int], order: Sequence[int] | None = None) -> Iterable[tuple[int, ...]]:
    if order is None:
        return ((colour, *row) for colour, row in zip(colours, grid, strict=True))
    return ((colour, *[row[j] for j in order]) for colour, row in zip(colours, grid, strict=True))


@dataclass(frozen=True, slots=True)
class _Colours:
    """Colours of the rows and columns of both tables; equal colours may correspond."""

    rows: tuple[list[int], list[int]]
    columns: tuple[list[int], list[int]]


class _Alignment:
    """The search for an order of the columns under which both grids hold the same rows."""

    def __init__(self, one: Grid, two: Grid, places: list[int]) -> None:
        self.grids, self.places = (one, two), places
        self.upright = tuple([*zip(*grid, strict=True)] for grid in self.grids)
        self.shift = 1 + max(chain.from_iterable(one + two), default=0).bit_length()
        self.tries = 0

    def search(self) -> str:
        width = len(self.upright[0])
        start = _Colours((self.places, self.places), ([0] * width, [0] * width))
        found = self._search(start)
        if found or self.tries <= TRIES:
            return "" if found else "the rows differ"
        return "the columns are too much alike to be matched; give them in the order of the question"

    def _search(self, colours: _Colours) -> bool:
        self.tries += 1
        refined = self._refined(colours) if self.tries <= TRIES else None
        if refined is None:
            return False
        left, right = refined.columns
        open_colour = self._ambiguous(left)
        if open_colour is None:
            return self._fits(left, right)
        chosen, fresh = left.index(open_colour), max(left) + 1
        marked = [fresh if j == chosen else c for j, c in enumerate(left)]
        twins: set[tuple[int, ...]] = set()
        for j, colour in enumerate(right):
            if colour == open_colour and self.upright[1][j] not in twins:
                twins.add(self.upright[1][j])
                other = [fresh if i == j else c for i, c in enumerate(right)]
                if self._search(_Colours(refined.rows, (marked, other))):
                    return True
        return False

    def _refined(self, colours: _Colours) -> _Colours | None:
        """The coarsest stable colouring below this one; None where the tables turn out to differ."""
        rows, columns = colours.rows, colours.columns
        count = -1
        while True:
            columns = _joint(*(self._column_signs(side, rows[side], columns[side]) for side in (0, 1)))
            if columns is None:
                return None
            if len(set(columns[0])) == len(columns[0]) or len(set(columns[0])) + len(set(rows[0])) == count:
                return _Colours(rows, columns)
            count = len(set(columns[0])) + len(set(rows[0]))
            rows = _joint(*(self._row_signs(side, rows[side], columns[side]) for side in (0, 1)))
            if rows is None:
                return None

    def _column_signs(self, side: int, rows: list[int], columns: list[int]) -> list[Hashable]:
        raised = [colour << self.shift for colour in rows]
        return [
            (colour, tuple(sorted(map(add, raised, column)))) for colour, column in zip(columns, self.upright[side], strict=True)
        ]

    def _row_signs(self, side: int, rows: list[int], columns: list[int]) -> list[Hashable]:
        raised = [colour << self.shift for colour in columns]
        return [(colour, tuple(sorted(map(add, raised, row)))) for colour, row in zip(rows, self.grids[side], strict=True)]

    def _ambiguous(self, left: list[int]) -> int | None:
        """A colour of several columns that are not copies of one another."""
        first: dict[int, tuple[int, ...]] = {}
        for colour, column in zip(left, self.upright[0], strict=True):
            if first.setdefault(colour, column) != column:
                return colour
        return None

    def _fits(self, left: list[int], right: list[int]) -> bool:
        order = [j for _, j in sorted((c, j) for j, c in enumerate(right))]
        mine = [j for _, j in sorted((c, j) for j, c in enumerate(left))]
        one, two = self.grids
        return Counter(_keyed(one, self.places, mine)) == Counter(_keyed(two, self.places, order))


def _joint(one: list[Hashable], two: list[Hashable]) -> tuple[list[int], list[int]] | None:
    """Signatures as small ints, the same in both; None where the multisets differ."""
    if Counter(one) != Counter(two):
        return None
    ids: dict[Hashable, int] = {}
    for sign in one:
        ids.setdefault(sign, len(ids))
    return [ids[s] for s in one], [ids[s] for s in two]
