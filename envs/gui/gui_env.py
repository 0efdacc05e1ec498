"""What GuiLite and Gui have in common: the tasks, the tools, the verdict. They differ in the surface alone."""

from __future__ import annotations

import unicodedata
from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, split_of
from turnwise.envs.draws import Draws
from turnwise.envs.gui.apps import APPS
from turnwise.envs.gui.goals import STEPS, sentence
from turnwise.envs.gui.surface import Surface
from turnwise.envs.gui.widgets import Node
from turnwise.envs.options import ToolOptions
from turnwise.envs.screen_env import ScreenEnv
from turnwise.envs.tools import tool
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

__all__ = ["GuiEnv", "GuiOptions"]

MAX_TYPED = 150
"""Characters that a field takes."""


class GuiOptions(ToolOptions, total=False):
    """What both take."""

    apps: Sequence[str] | None


class GuiEnv(ScreenEnv):
    """Tasks in small web apps. Subclasses say which surface they are played on."""

    levels = range(1, len(STEPS) + 1)
    default_level = 2
    shown = "the screen afterwards, on which [n] are the marks of what can be used"
    ending = "the episode is over when the task is done"

    def __init__(self, *, apps: Sequence[str] | None = None, **options: Unpack[ToolOptions]) -> None:
        """`apps`: which apps tasks are for (default all)."""
        super().__init__(**options)
        self.apps = tuple(APPS if apps is None else apps)
        for name in self.apps:
            if name not in APPS:
                raise UnknownName("app", str(name), APPS)
        if not self.apps:
            raise ConfigError(f"{type(self).__name__}: apps must name at least one of {', '.join(APPS)}.")
        self.surface = self.make_surface()

    @abstractmethod
    def make_surface(self) -> Surface:
        """A fresh one."""

    # --- tools ----------------------------------------------------------------------------------------------------

    @tool
    def click(self, mark: int) -> str:
        """Click the element with this mark."""
        return self._wrong(mark) or self._done(self.surface.click(mark))

    @tool
    def type(self, mark: int, text: str) -> str:
        """Write text into the text box with this mark; it replaces what stands there."""
        if wrong := self._wrong(mark, "textbox"):
            return wrong
        written = plain(text)
        if (size := _size(written)) > MAX_TYPED:
            return f"Error: type: a field takes {MAX_TYPED} characters, got {size}."
        return self._done(self.surface.type(mark, written))

    @tool
    def select(self, mark: int, option: str) -> str:
        """Choose an option of the combo box with this mark."""
        if wrong := self._wrong(mark, "combobox"):
            return wrong
        if option not in self._node(mark).options:
            return f"Error: select: mark {mark} has no option {option[:80]!r}."
        return self._done(self.surface.select(mark, option))

    @tool
    def press(self, key: Literal["Enter", "Escape"]) -> str:
        """Press a key. Enter uses what has the focus, Escape closes a dialog.

        Args:
            key: Which.
        """
        return self._done(self.surface.press(key))

    @tool
    def scroll(self, direction: Literal["up", "down"]) -> str:
        """Scroll a long list by one screen.

        Args:
            direction: Where to.
        """
        return self._done(self.surface.scroll(direction))

    @tool
    def back(self) -> str:
        """Go back to the page before this one."""
        if not self.surface.app.history:
            return "Error: back: there is no page to go back to."
        return self._done(self.surface.back())

    toolset = (click, type, select, press, scroll, back)

    def _node(self, mark: int) -> Node:
        return self.surface.screen.marks[mark - 1]

    def _wrong(self, mark: int, kind: str = "") -> str:
        """What is wrong with using this mark, "" for nothing."""
        marks = self.surface.screen.marks
        if not 1 <= mark <= len(marks):
            return f"Error: there is no mark {str(mark)[:20]}; there are 1 to {len(marks)}."
        node = marks[mark - 1]
        if node.off:
            return f"Error: mark {mark} is disabled."
        if kind and node.kind != kind:
            return f"Error: mark {mark} is a {node.kind}, no {kind}."
        return ""

    def _done(self, _: None) -> str:
        return ""

    # --- tasks ----------------------------------------------------------------------------------------------------

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return self._made(self.apps[int(rng.integers(len(self.apps)))], difficulty, int(rng.integers(2**63)))

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """Aims at the split: only the task that is played is built."""
        while True:
            name, seed = self.apps[int(rng.integers(len(self.apps)))], int(rng.integers(2**63))
            if split_of(_id_of(name, difficulty, seed)) == split:
                return self._made(name, difficulty, seed)

    def _made(self, name: str, difficulty: int, seed: int) -> Task:
        made = APPS[name].make(Draws(np.random.default_rng(seed)), difficulty)
        metadata = {"app": name, "data": made.data, "goal": made.goal, "steps": made.steps}
        return Task(_id_of(name, difficulty, seed), sentence(made.said), "", difficulty, metadata)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * task.metadata["steps"] + 6

    @override
    def question(self, task: Task) -> str:
        return f"{APPS[task.metadata['app']].title}. {task.prompt}"

    # --- play -----------------------------------------------------------------------------------------------------

    @override
    def open(self, task: Task) -> None:
        self.surface.start(APPS[task.metadata["app"]](task.metadata["data"], task.metadata["goal"]))

    @override
    def look(self) -> str:
        return self.surface.text()

    @override
    def end(self) -> Transition | None:
        solved = self.surface.app.solved
        if not (solved or self.surface.app.over):
            return None
        outcome = float(solved)
        return Transition("", outcome, terminated=True, outcome=outcome, terms={"solved": outcome})

    @override
    def expert_action(self) -> str:
        """What the app's expert does next, from wherever it stands."""
        name, key, words = self.surface.app.next_step()
        mark = self.surface.screen.mark_of(key)
        arguments = {
            "click": {"mark": mark},
            "type": {"mark": mark, "text": words},
            "select": {"mark": mark, "option": words},
            "press": {"key": words},
            "scroll": {"direction": words},
            "back": {},
        }[name]
        return self.format.call(name, arguments)

    @override
    def close(self) -> None:
        self.surface.close()
        super().close()


def plain(text: str) -> str:
    """One line that a keyboard can write: no control or format characters, no lone surrogates, single spaces."""
    if not text.isascii():
        text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _size(text: str) -> int:
    """Characters as a browser counts them: two for most emoji."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def _id_of(name: str, difficulty: int, seed: int) -> str:
    return f"gui/{name}/{difficulty}/{seed:016x}"
