"""The rules of Sokoban, on the text that the agent reads.

A board is shown with one space between cells, so that the cell in column c of row r is character 2 * (r * width + c). An episode
plays on that very text (a bytearray), which is what makes a step cost a microsecond. Searches use masks: bit r * width + c.
Every board has a closed border of walls, so neither needs a check for the edge.

Rules as in gym-sokoban (Schrader, 2018): a move into a wall, or into a box with a wall or a box behind it, does nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.envs.actions import final_answer
from turnwise.errors import ConfigError

__all__ = [
    "DIRECTIONS",
    "MAX_MOVES",
    "SYMBOLS",
    "Board",
    "board_of",
    "check_rows",
    "level_id",
    "move",
    "read_moves",
    "rows_of",
    "steps_of",
    "text_of",
]

WALL, FLOOR, GOAL, BOX, BOX_ON_GOAL, MAN, MAN_ON_GOAL = "#_.$*@+"
SYMBOLS = "#_.$*@+"
"""XSB, with "_" for the floor: spaces between cells then give every cell one token of its own in the usual vocabularies, where
runs of "#" or of spaces merge into tokens of every width and hide the columns."""
DIRECTIONS = ("up", "down", "left", "right")
"""Index = how moves are numbered everywhere here."""
MAX_MOVES = 100
"""Moves one reply may hold."""

_ENTER = {ord(FLOOR): ord(MAN), ord(GOAL): ord(MAN_ON_GOAL)}
_LEAVE = {ord(MAN): ord(FLOOR), ord(MAN_ON_GOAL): ord(GOAL)}
_BOX_ENTERS = {ord(FLOOR): ord(BOX), ord(GOAL): ord(BOX_ON_GOAL)}
_BOX_LEAVES = {ord(BOX): ord(MAN), ord(BOX_ON_GOAL): ord(MAN_ON_GOAL)}


def steps_of(width: int) -> tuple[int, int, int, int]:
    """Cells from a cell to its neighbour up, down, left and right."""
    return (-width, width, -1, 1)


def move(text: bytearray, man: int, step: int) -> int:
    """Play one move on the shown text, in place; `man` and `step` count characters. Where the man is then (`man` if blocked)."""
    to = man + step
    here = _ENTER.get(text[to])
    if here is None:
        here = _BOX_LEAVES.get(text[to])
        if here is None:
            return man
        pushed = _BOX_ENTERS.get(text[to + step])
        if pushed is None:
            return man
        text[to + step] = pushed
    text[to] = here
    text[man] = _LEAVE[text[man]]
    return to


@dataclass(frozen=True, slots=True)
class Board:
    """A position as bit masks; bit r * width + c is the cell in row r, column c."""

    width: int
    height: int
    floor: int
    """Everything that is not wall."""
    goals: int
    boxes: int
    man: int
    """One bit."""


def board_of(rows: Sequence[str]) -> Board:
    """The masks of a level written in SYMBOLS, rows of equal width."""
    cells = "".join(rows)[::-1]
    return Board(
        width=len(rows[0]),
        height=len(rows),
        floor=int(cells.translate(_IS_FLOOR), 2),
        goals=int(cells.translate(_IS_GOAL), 2),
        boxes=int(cells.translate(_IS_BOX), 2),
        man=int(cells.translate(_IS_MAN), 2),
    )


def _indicator(members: str) -> dict[int, str]:
    return {ord(s): "1" if s in members else "0" for s in SYMBOLS}


_IS_FLOOR, _IS_GOAL, _IS_BOX, _IS_MAN = _indicator("_.$*@+"), _indicator(".*+"), _indicator("$*"), _indicator("@+")


def rows_of(board: Board) -> tuple[str, ...]:
    """The level in SYMBOLS, one string a row; the inverse of board_of."""
    size = board.width * board.height
    cells = [WALL] * size
    for cell in range(size):
        bit = 1 << cell
        if board.floor & bit:
            kind = 3 * bool(board.goals & bit) + (1 if board.boxes & bit else 2 if board.man & bit else 0)
            cells[cell] = "_$@.*+"[kind]
    joined = "".join(cells)
    return tuple(joined[start : start + board.width] for start in range(0, size, board.width))


def text_of(rows: Sequence[str]) -> str:
    """The board as the agent reads it: a space between cells, a line a row."""
    return "\n".join(" ".join(row) for row in rows)


def level_id(rows: Sequence[str]) -> str:
    """The id of a level: equal for its 8 rotations and mirror images and for any thickness of the walls around it.

    So a level and its mirror image always fall into the same split.
    """
    rows = _cropped(rows)
    images: list[str] = []
    for grid in (rows, tuple(map("".join, zip(*rows, strict=True)))):
        for flipped in (grid, grid[::-1]):
            image = "\n".join(flipped)
            images += [image, image[::-1]]  # read backwards: turned by 180 degrees
    canonical = min(images)
    return "sokoban/" + hashlib.blake2b(canonical.encode(), digest_size=10).hexdigest()


def _cropped(rows: Sequence[str]) -> tuple[str, ...]:
    """The level with one layer of wall around the cells that are not wall."""
    inside = [r for r, row in enumerate(rows) if row.strip(WALL)]
    left = min(len(row) - len(row.lstrip(WALL)) for row in rows if row.strip(WALL))
    right = max(len(row.rstrip(WALL)) for row in rows)
    return tuple(row[left - 1 : right + 1] for row in rows[inside[0] - 1 : inside[-1] + 2])


_WORDS = {word: index for index, word in enumerate(DIRECTIONS)}
_LETTERS = {word[0]: index for index, word in enumerate(DIRECTIONS)}
_BETWEEN = re.compile(r"(?:\s|,|\|\|)+")
_HOW = "Write up, down, left or right (or u, d, l, r), separated by spaces."


def read_moves(reply: str) -> list[int] | str:
    """The moves of a reply as indices into DIRECTIONS, or what is wrong with it.

    The moves are the whole reply, or what stands in its last `<answer>...</answer>`: words or letters of either case, letters
    also run together (LURD notation), separated by spaces, commas, newlines or "||".
    """
    answer: str | None = reply
    if "<answer>" in reply:
        answer = final_answer(reply)
        if answer is None:
            return "<answer> is not closed by </answer>."
    moves: list[int] = []
    for word in _BETWEEN.split(answer.lower()):
        if word in _WORDS:
            moves.append(_WORDS[word])
        elif set(word) <= _LETTERS.keys():
            moves += [_LETTERS[letter] for letter in word[: MAX_MOVES + 1]]
        else:
            return f"{word[:20]!r} is not a move. {_HOW}"
        if len(moves) > MAX_MOVES:
            return f"A reply may hold at most {MAX_MOVES} moves."
    return moves or f"There is no move in the reply. {_HOW}"


def check_rows(where: str, rows: object) -> tuple[str, ...]:
    """Rows of a task's metadata as this module writes them; raises ConfigError for anything else."""
    ok = (
        isinstance(rows, (list, tuple))
        and len(rows) > 2
        and all(isinstance(row, str) and len(row) == len(rows[0]) > 2 and set(row) <= set(SYMBOLS) for row in rows)
    )
    if ok and isinstance(rows, (list, tuple)):
        grid = tuple(str(row) for row in rows)
        border = grid[0] + grid[-1] + "".join(row[0] + row[-1] for row in grid)
        cells = "".join(grid)
        boxes, goals = (sum(map(cells.count, kinds)) for kinds in ("$*", ".*+"))
        if set(border) == {WALL} and cells.count(MAN) + cells.count(MAN_ON_GOAL) == 1 and boxes == goals > 0 and BOX in cells:
            return grid
    raise ConfigError(
        f"{where}: metadata['level'] must be rows of equal width in {SYMBOLS!r} with a border of walls, one player and as many "
        f"boxes as goals, not all solved; got {str(rows)[:200]}. Use a task that this environment made."
    )
