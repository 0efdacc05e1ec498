"""Level files in the standard XSB text format, as Boxoban, Microban and most collections use it.

; 0                a comment, or a title; so is any line without level characters
#######
#  .  #            # wall   @ player   + player on goal   $ box   * box on goal   . goal   space, - or _ floor
#  $@ #
#######
                   an empty line or a comment ends a level
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from turnwise.envs.puzzles.sokoban_rules import FLOOR, SYMBOLS, WALL, level_id
from turnwise.errors import ConfigError

__all__ = ["FileLevel", "load_levels"]

_KNOWN = frozenset(SYMBOLS) | set(" -")
_KEY = re.compile(r"[A-Za-z][\w ]*:")
_LARGEST = 64
"""Cells a side."""


@dataclass(frozen=True, slots=True)
class FileLevel:
    """One level of a file, checked and normalised: rows of equal width, walls wherever no man and no box can ever be."""

    id: str
    rows: tuple[str, ...]
    where: str
    """File, number of the level and its first line, for messages."""


def load_levels(path: str | os.PathLike[str]) -> tuple[FileLevel, ...]:
    """All levels of a file, in order. Raises ConfigError that names file, level and line for whatever is malformed.

    Whether a level can be solved is not looked at here, because a collection may hold thousands.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"levels={os.fspath(path)!r}: cannot be read as UTF-8 text ({error}). Give the path of an XSB file."
        ) from error
    levels: list[FileLevel] = []
    block: list[str] = []
    first = 0
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if _is_row(line, inside=bool(block)):
            if not block:
                first = number
            block.append(line.rstrip())
        elif block:
            levels.append(_level(f"{os.fspath(path)}: level {len(levels) + 1}", first, block))
            block = []
    if not levels:
        raise ConfigError(
            f"{os.fspath(path)}: holds no level. Expected XSB rows such as '#@$.#' with empty lines between levels."
        )
    return tuple(levels)


def _is_row(line: str, inside: bool) -> bool:
    """Inside a level, a line that starts with an unknown character but has walls is a misspelt row, not a comment."""
    text = line.strip()
    if not text or text.startswith(";") or _KEY.match(text) or set(text) <= {"-", "_"}:
        return False
    return text[0] in _KNOWN or (inside and WALL in text)


def _level(where: str, first: int, block: list[str]) -> FileLevel:
    for offset, row in enumerate(block):
        for column, symbol in enumerate(row, start=1):
            if symbol not in _KNOWN:
                raise ConfigError(
                    f"{where} (line {first + offset}, column {column}): unknown character {symbol!r}; "
                    "a row holds only # @ + $ * . and space, - or _. Run-length rows must be expanded first."
                )
    width = max(map(len, block))
    if max(width, len(block)) > _LARGEST:
        raise ConfigError(f"{where} (line {first}): {width} x {len(block)} cells; at most {_LARGEST} x {_LARGEST} can be played.")
    rows = [row.replace(" ", FLOOR).replace("-", FLOOR).ljust(width, FLOOR) for row in block]
    men = [(r, c) for r, row in enumerate(rows) for c, symbol in enumerate(row) if symbol in "@+"]
    if len(men) != 1:
        lines = ", ".join(str(first + r) for r, _ in men)
        found = f"{len(men)} (lines {lines})" if men else "none"
        raise ConfigError(f"{where} (line {first}): expected one player (@ or +), got {found}. Mark one cell.")
    room = _room(where, first, rows, men[0])
    return _checked(where, first, rows, room)


def _room(where: str, first: int, rows: list[str], man: tuple[int, int]) -> set[tuple[int, int]]:
    """The cells the man can reach if no box is in the way."""
    room, edge = {man}, [man]
    while edge:
        r, c = edge.pop()
        if r in (0, len(rows) - 1) or c in (0, len(rows[0]) - 1):
            raise ConfigError(
                f"{where} (line {first + r}, column {c + 1}): the border is open; the player could leave the board here. "
                "Close it with #."
            )
        for cell in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if rows[cell[0]][cell[1]] != WALL and cell not in room:
                room.add(cell)
                edge.append(cell)
    return room


def _checked(where: str, first: int, rows: list[str], room: set[tuple[int, int]]) -> FileLevel:
    boxes, goals = (sum(row.count(symbol) for row in rows for symbol in kinds) for kinds in ("$*", ".*+"))
    if boxes != goals or not boxes:
        raise ConfigError(
            f"{where} (line {first}): expected as many boxes ($ *) as goals (. * +), at least one, "
            f"got {boxes} boxes and {goals} goals."
        )
    for r, row in enumerate(rows):
        for c, symbol in enumerate(row):
            if symbol in "$." and (r, c) not in room:
                what = "box" if symbol == "$" else "goal"
                raise ConfigError(
                    f"{where} (line {first + r}, column {c + 1}): the {what} is walled off from the player, so the "
                    "level cannot be solved. Open a way or remove it."
                )
    if not any("$" in row for row in rows):
        raise ConfigError(f"{where} (line {first}): all boxes are on goals already. Move a box off its goal.")
    # What is walled off (outside, or a box on a goal as decoration) never changes: as wall it is the same game.
    closed = tuple("".join(s if (r, c) in room else WALL for c, s in enumerate(row)) for r, row in enumerate(rows))
    return FileLevel(level_id(closed), closed, f"{where} (line {first})")
