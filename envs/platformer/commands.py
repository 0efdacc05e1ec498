"""What a reply asks for: "right 10", "right jump 14, wait 5". Forgiving about order, case, short forms and filler words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from turnwise.envs.platformer.planner import LONGEST, Command
from turnwise.envs.puzzles.puzzle import answer_in

__all__ = ["USUAL", "command_text", "read_commands"]

USUAL = 10
"""Ticks of a command that says no number."""
_WAYS = {"left": -1, "l": -1, "right": 1, "r": 1, "wait": 0, "stop": 0, "w": 0}
_JUMPS = frozenset(("jump", "j", "up"))
_SHORT = 200
"""Characters of an answer that is read once and remembered."""
_NUMBERS = frozenset(str(number) for number in range(1, LONGEST + 1))
_FILLER = frozenset(("and", "for", "tick", "ticks", "frame", "frames", "run", "walk", "move", "go", "hold", "press"))
_BETWEEN = re.compile(r"[,;\n]|\bthen\b")
_WORD = re.compile(r"[a-z]+|[0-9]+|[^a-z0-9\s]", re.ASCII)
_HOW = (
    f'Write commands such as "right 10", "left 4", "right jump 14", "jump 12" or "wait 5": 1 to {LONGEST} ticks, commas between.'
)


def command_text(command: Command) -> str:
    """As a reply says it."""
    way = ("left", "", "right")[command.way + 1] or ("" if command.jump else "wait")
    return " ".join(part for part in (way, "jump" * command.jump, str(command.ticks)) if part)


@lru_cache(maxsize=4096)
def _read_one(part: str) -> Command | str:
    way: int | None = None
    jump, ticks = False, 0
    for word in _WORD.findall(part):
        if word in _JUMPS:
            jump = True
        elif word in _WAYS and way is None:
            way = _WAYS[word]
        elif word in _NUMBERS and not ticks:
            ticks = int(word)
        elif word not in _FILLER and word != "+":
            return f"{part.strip()[:40]!r} is not a command. {_HOW}"
    if way is None and not jump:
        return f"{part.strip()[:40]!r} holds no button. {_HOW}"
    return Command(way or 0, jump, ticks or USUAL)


def read_commands(reply: str, most: int) -> Sequence[Command] | str:
    """The commands of a reply, at least one and at most `most`; or what is wrong with it."""
    answer = answer_in(reply)
    if answer is None:
        return f"<answer> is not closed by </answer>. {_HOW}"
    return _read(answer, most) if len(answer) < _SHORT else _read.__wrapped__(answer, most)


@lru_cache(maxsize=4096)
def _read(answer: str, most: int) -> Sequence[Command] | str:
    parts = [part for part in _BETWEEN.split(answer.lower()) if part and not part.isspace()]
    if not 1 <= len(parts) <= most:
        return f"A reply holds 1 to {most} commands, got {len(parts)}. {_HOW}"
    commands = list[Command]()
    for part in parts:
        command = _read_one(part) if len(part) < 100 else f"{part[:40]!r} is too long for a command. {_HOW}"
        if isinstance(command, str):
            return command
        commands.append(command)
    return commands
