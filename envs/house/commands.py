"""What a reply asks for, read forgivingly: case, articles, synonyms and a missing "1" do not matter."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from turnwise.envs.house.catalogue import DEVICES, ROOMS, kind_of
from turnwise.envs.puzzles.puzzle import answer_in

__all__ = ["HELP", "Command", "read_command"]

HELP = (
    "Commands: go to PLACE or ROOM, open PLACE, close PLACE, take THING, put THING in PLACE, wash THING, heat THING, cool THING, "
    "slice THING, turn on LAMP, examine THING, look, inventory."
)
_LONGEST = 200
_WHERE = frozenset((*ROOMS, *DEVICES.values(), *(kind for kinds in ROOMS.values() for kind in kinds)))
"""A name of these alone is a wish to go there."""


class Command(NamedTuple):
    verb: str
    """go, open, close, take, put, clean, hot, cold, slice, on, off, switch, examine, look, inventory or help."""
    what: str = ""
    """As it was written, without articles."""
    where: str = ""


_WITH = r"(?: (?:with|using|in|at|under|on|by) (?P<where>.+))?"
_PATTERNS = [
    (verb, re.compile(pattern))
    for verb, pattern in (
        ("look", r"look(?: around)?|l|where am i"),
        ("inventory", r"inventory|inv|i|check inventory"),
        ("help", r"help|commands|\?"),
        ("on", r"(?:turn|switch) on (?P<what>.+)|(?:turn|switch) (?P<what2>.+) on|light (?P<what3>.+)"),
        ("off", r"(?:turn|switch) off (?P<what>.+)|(?:turn|switch) (?P<what2>.+) off"),
        ("switch", r"(?:use|toggle|switch) (?P<what>.+)"),
        ("go", r"(?:go|walk|move|head|run|return)(?: back)?(?: over)?(?: to| into| through)? (?P<what>.+)"),
        ("go", r"(?:enter|approach|goto|visit) (?P<what>.+)"),
        ("open", r"open(?: up)? (?P<what>.+)"),
        ("close", r"(?:close|shut) (?P<what>.+)"),
        ("take", r"pick (?P<what>.+) up"),
        (
            "take",
            r"(?:take|get|grab|pick up|pick|fetch|lift) (?P<what>.+?)(?: (?:from|off|out of|in|on|at) (?P<where>.+))?",
        ),
        ("put", r"(?:put|set) (?P<what>.+) down"),
        (
            "put",
            r"(?:put down|put|place|drop|set down|set|leave|insert|store) (?P<what>.+?)"
            r"(?: (?:in/on|in|on|into|onto|inside|to|at|down on) (?P<where>.+))?",
        ),
        ("clean", rf"(?:clean|wash|rinse) (?P<what>.+?){_WITH}"),
        ("hot", rf"(?:heat up|heat|warm up|warm|cook|microwave) (?P<what>.+?){_WITH}"),
        ("cold", rf"(?:cool down|cool|chill) (?P<what>.+?){_WITH}"),
        ("slice", rf"(?:slice|cut up|cut|chop) (?P<what>.+?){_WITH}"),
        (
            "examine",
            r"(?:examine|look at|inspect|read|check|look in|look inside|look on) (?P<what>.+?)"
            r"(?: (?:under|in light of|with|by|using) (?P<where>.+))?",
        ),
    )
]
_LEAD = re.compile(r"^(?:action|command)\s*:\s*|^>\s*")
_ARTICLES = re.compile(r"\b(?:the|a|an|my|some|this|that)\b ?")
_SPACES = re.compile(r"\s+")


def read_command(reply: str) -> Command | str:
    """The command of a reply: of its answer tag, or else of its last line; or what is wrong with it."""
    answer = answer_in(reply)
    if answer is None:
        return f"<answer> is not closed by </answer>. {HELP}"
    line = answer.strip().rpartition("\n")[2]
    if not 1 <= len(line) <= _LONGEST:
        return f"A reply is one command. {HELP}"
    return _read(line)


@lru_cache(maxsize=8192)
def _read(line: str) -> Command | str:
    text = _LEAD.sub("", line.strip(" \t\"'`*.!").lower())
    text = _SPACES.sub(" ", _ARTICLES.sub("", text)).strip()
    for verb, pattern in _PATTERNS:
        if match := pattern.fullmatch(text):
            found = match.groupdict()
            what = next((words for key, words in found.items() if key.startswith("what") and words), "")
            return Command(verb, what, found.get("where") or "")
    if text in _WHERE or kind_of(text) in _WHERE:
        return Command("go", text)
    return f"{line[:60]!r} is not understood. {HELP}"
