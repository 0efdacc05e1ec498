"""TextWorld's generated text adventures as an environment: rooms, doors, keys and a quest, told by the Inform interpreter.

    env = from_textworld(difficulty=2)
    env = gym.make("turnwise/TextWorld-v0", rooms=4, objects=6, quest=5)

A task is a seed of TextWorld's own maker; the game is made and compiled when it is first played (about two seconds of CPU) and
kept for as long as it is among the last `KEPT`. Each point of the quest pays its share of 1; the outcome is the share reached,
1 when the quest is won. The expert follows TextWorld's own policy, which finds back to the quest after a detour.

    level   rooms  objects  quest
      1       2       3       2
      2       3       5       3
      3       5       8       5
      4       8      12       7
      5      10      16      10
"""

from __future__ import annotations

import atexit
import copy
import os
import re
import shutil
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.actions import final_answer
from turnwise.envs.adapters.packages import needed
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.options import TurnOptions
from turnwise.errors import ConfigError, EnvFailure
from turnwise.types import Task

__all__ = ["TextWorldEnv", "from_textworld"]

LEVELS = {1: (2, 3, 2), 2: (3, 5, 3), 3: (5, 8, 5), 4: (8, 12, 7), 5: (10, 16, 10)}
"""Level -> rooms, objects, length of the quest."""
KEPT = 64
"""Compiled games."""
MAX_COMMAND = 200
_COMMAND = re.compile(r"(?!.*\bthen\b)[A-Za-z0-9 '-]{1,200}\.?", re.IGNORECASE)
"""One command: what would join several might hide one to the interpreter."""
_INTERPRETER = re.compile(
    r"\s*(?:quit|q|restart|save|restore|undo|script|unscript|verify|version|superbrief|brief|verbose|notify|score|pronouns|"
    r"transcript|again|g|oops|actions|rules|relations|scope|showme|showverb|test|trace|tree|xact|abstract|purloin|gonear)\b.*",
    re.IGNORECASE | re.DOTALL,
)
"""Commands to the interpreter or its debugger instead of the game; some of them end the process."""
_STATUS = re.compile(r"\n*>[^\n>]*-=[^\n]*\s*$|\n*>\s*$")


class TextWorldEnv(TurnEnv):
    """A generated game of TextWorld; see the module.

    rooms, objects, quest: override what the level says (quest is the number of commands that it takes at least).
    admissible: whether each observation lists the commands that are possible.
    """

    metadata = {**TurnEnv.metadata, "inline": False}  # noqa: RUF012  (Gymnasium's)
    levels = range(1, len(LEVELS) + 1)

    def __init__(
        self,
        *,
        rooms: int | None = None,
        objects: int | None = None,
        quest: int | None = None,
        admissible: bool = False,
        **options: Unpack[TurnOptions],
    ) -> None:
        super().__init__(**options)
        for name, value in (("rooms", rooms), ("objects", objects), ("quest", quest)):
            if value is not None and not 1 <= value <= 50:
                raise ConfigError(f"TextWorld: {name} must be from 1 to 50, got {value}.")
        self._textworld = needed("textworld", "textworld")
        self._sizes = (rooms, objects, quest)
        self.admissible = admissible
        self._game: Any = None
        self._state: Any = None
        self._typed: tuple[str, ...] = ()
        self._transcript: list[str] = []

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        seed = int(rng.integers(2**31))
        rooms, objects, quest = (given or usual for given, usual in zip(self._sizes, LEVELS[difficulty], strict=True))
        metadata = {"seed": seed, "rooms": rooms, "objects": objects, "quest": quest}
        return Task(f"textworld/{rooms}-{objects}-{quest}/{seed:08x}", "Finish the quest of the game.", "", difficulty, metadata)

    @override
    def turn_limit(self, task: Task) -> int:
        """Twice what the quest takes at least, and the same as rooms to look around."""
        return 2 * (int(task.metadata["quest"]) + int(task.metadata["rooms"])) + 10

    @override
    def begin(self, task: Task) -> str:
        self._close_game()
        self._game, self._state = self._started(task)
        self._typed = ()
        opening = f"{self._state.objective.strip()}\n\n{_clean(self._state.description)}"
        rules = "Reply with one command each turn, such as <answer>open the chest</answer> or <answer>go north</answer>."
        self._transcript = [opening]
        return f"{opening}\n\n{rules}{self._possible()}"

    def _started(self, task: Task) -> tuple[Any, Any]:
        try:
            with _LOCK, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Game .* is not fully supported")  # jericho knows no generated game
                file = _game_file(self._textworld, task.metadata)
                infos = self._textworld.EnvInfos(
                    won=True,
                    lost=True,
                    score=True,
                    max_score=True,
                    objective=True,
                    description=True,
                    policy_commands=True,
                    admissible_commands=True,
                )
                game = self._textworld.start(str(file), infos)
                return game, game.reset()
        except Exception as error:  # the boundary of somebody else's maker, compiler and interpreter
            raise EnvFailure("textworld", f"task {task.id}: {type(error).__name__}: {error}") from error

    def _possible(self) -> str:
        return "\nYou can: " + ", ".join(self._state.admissible_commands) + "." if self.admissible else ""

    @override
    def play(self, action: str) -> Transition:
        command = _command(action)
        if not _COMMAND.fullmatch(command) or _INTERPRETER.fullmatch(command):
            known = "one command of the game in plain words, such as <answer>go north</answer>"
            return self.refuse(f"That is no command. Reply with {known}.{self._possible()}")
        before = self._state.score
        text = self._typed_in(self._game, command)
        self._transcript += [f"> {command}", text]
        most = max(1, self._state.max_score)
        won, lost = bool(self._state.won), bool(self._state.lost)
        gain = (self._state.score - before) / most
        outcome = 1.0 if won else min(1.0, max(0.0, self._state.score / most))
        return Transition(
            text if won or lost else text + self._possible(),
            gain,
            terminated=won or lost,
            outcome=outcome,
            terms={"quest": gain},
        )

    def _typed_in(self, game: Any, command: str) -> str:
        try:
            self._state, _, _ = game.step(command)
        except Exception as error:  # the same boundary
            raise EnvFailure("textworld", f"{command!r}: {type(error).__name__}: {error}") from error
        self._typed = (*self._typed, command)
        return _clean(self._state.feedback) or "Nothing happens."

    @override
    def expert_action(self) -> str:
        """The next command of TextWorld's policy; "look" where the quest cannot be won any more."""
        commands = self._state.policy_commands or ["look"]
        return f"<answer>{commands[0]}</answer>"

    @override
    def render(self) -> str:
        return "\n".join(self._transcript)

    @override
    def fork(self) -> Self:
        """The same game again, with the same commands."""
        memo: dict[int, Any] = {id(x): x for x in (self.spec, self._textworld, self._game, self._state)}
        twin = copy.deepcopy(self, memo)
        if self._game is not None:
            twin._game, twin._state = twin._started(self.task)
            twin._typed = ()
            for command in self._typed:
                twin._typed_in(twin._game, command)
            if twin._state.feedback != self._state.feedback:
                raise EnvFailure("replay", f"TextWorld {self.task.id}: the same commands led elsewhere; it cannot be forked.")
        return twin

    def _close_game(self) -> None:
        game, self._game = self._game, None
        if game is not None:
            game.close()

    @override
    def close(self) -> None:
        self._close_game()
        super().close()


def _command(reply: str) -> str:
    """What stands in the answer tags, or the whole reply, on one line."""
    answer = final_answer(reply)
    return " ".join((reply if answer is None else answer).split())


def _clean(text: str | None) -> str:
    """Without the interpreter's prompt and status line, and without runs of empty lines."""
    return re.sub(r"\n{3,}", "\n\n", _STATUS.sub("", (text or "").rstrip())).strip()


_LOCK = threading.Lock()
"""TextWorld's grammars and parsers are shared by the process."""
_files: dict[int, OrderedDict[tuple[int, ...], Path]] = {}
"""Process -> the compiled games of its folder, the last used at the end."""


def _game_file(textworld: Any, metadata: Mapping[str, Any]) -> Path:
    """The compiled game of a task; made if it is not there."""
    files = _files.setdefault(os.getpid(), OrderedDict())
    key = tuple(int(metadata[name]) for name in ("seed", "rooms", "objects", "quest"))
    if key not in files:
        options = textworld.GameOptions()
        options.seeds, options.nb_rooms, options.nb_objects, options.quest_length = key
        options.path = str(_folder(os.getpid()) / f"{'-'.join(map(str, key))}.z8")
        files[key] = Path(textworld.make(options)[0])
    files.move_to_end(key)
    while len(files) > KEPT:
        _, old = files.popitem(last=False)
        for part in old.parent.glob(f"{old.stem}.*"):
            part.unlink(missing_ok=True)
    return files[key]


@cache
def _folder(process: int) -> Path:
    """A folder of a process, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="turnwise-textworld-"))
    atexit.register(lambda: process == os.getpid() and shutil.rmtree(folder, ignore_errors=True))
    return folder


from_textworld = TextWorldEnv
