"""Puzzle: what the puzzles share, so that each is its rules, its generator and its solver.

The first observation is the rules and the board, every later one the board and a note. A reply is what stands in its last
`<answer>...</answer>`, or all of it. The reward is 1 for the move that solves the task, else 0.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from turnwise.envs.actions import final_answer
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.options import TurnOptions
from turnwise.envs.puzzles.counted_moves import CountedMoves
from turnwise.envs.puzzles.grid_picture import Cell, picture
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["Puzzle", "answer_in", "task_id"]

_SOLVED = {"solved": 1.0}


class Puzzle(CountedMoves):
    """A board that an agent changes by text.

    Authors write `rules`, `place`, `turns`, `board`, `cells`, and `generate`, `play` and `expert_action` as for any TurnEnv.
    """

    metadata: dict[str, Any] = {**TurnEnv.metadata, "render_modes": ["ansi", "rgb_array"]}  # noqa: RUF012  (Gymnasium's)

    def __init__(self, *, instructions: bool = True, **options: Unpack[TurnOptions]) -> None:
        """`instructions=False` leaves the rules out of the first observation."""
        super().__init__(**options)
        self.instructions = instructions

    @abstractmethod
    def rules(self) -> str:
        """The paragraph above the first board: the aim, what the signs mean, how to reply."""

    @abstractmethod
    def place(self, task: Task) -> None:
        """Put the board at the start of `task`. A KeyError, IndexError, TypeError or ValueError says that it is no such task."""

    @abstractmethod
    def board(self) -> str:
        """The board as the agent reads it."""

    @abstractmethod
    def cells(self) -> Sequence[Sequence[Cell]]:
        """The board as a picture is made of it."""

    @abstractmethod
    def turns(self, task: Task) -> int:
        """The turn limit of `task`; may raise what `place` may."""

    @override
    def turn_limit(self, task: Task) -> int:
        with self._made_here(task):
            return self.turns(task)

    @override
    def begin(self, task: Task) -> str:
        with self._made_here(task):
            self.place(task)
        return f"{self.rules()}\n\n{self.opening()}" if self.instructions else self.opening()

    @contextmanager
    def _made_here(self, task: Task) -> Generator[None]:
        """Tells of a task that is not one of this environment as a ConfigError."""
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{type(self).__name__}: task {task.id!r} must be one that this environment made, got metadata "
                f"{str(dict(task.metadata))[:200]} ({type(error).__name__}: {error}). Take tasks from env.task."
            ) from error

    def opening(self) -> str:
        """The first board; with what is wanted of it, where that is a part of the task."""
        return self.board()

    @override
    def refuse(self, message: str) -> Transition:
        return super().refuse(f"{message}\n{self.board()}")

    def moved(self, note: str = "", *, solved: bool = False, lost: bool = False) -> Transition:
        """The answer to moves that were played: the board, a note, and 1 if that solved it."""
        text = f"{self.board()}\n{note}" if note else self.board()
        return Transition(text, 1.0, True, 1.0, _SOLVED) if solved else Transition(text, terminated=lost)

    def need_episode(self) -> None:
        """Raises ResetNeeded where no episode is being played; for `expert_action`."""
        if not self._playing:
            raise ResetNeeded(f"{type(self).__name__}: no episode is being played; call reset() before expert_action().")

    @override
    def render(self) -> str | NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]  (Gymnasium's is wider)
        """The board as text, or as uint8 [H, W, 3] with `render_mode="rgb_array"`."""
        if self._task is None:
            raise ResetNeeded(f"{type(self).__name__}: there is no board before the first reset().")
        return picture(self.cells()) if self.render_mode == "rgb_array" else self.board()


def answer_in(reply: str) -> str | None:
    """What stands in the last `<answer>...</answer>`, or the whole reply where there is no such tag; None if it is not closed."""
    return final_answer(reply) if "<answer>" in reply else reply.strip()


def task_id(name: str, content: str) -> str:
    """`name/` and a hash of everything that makes the task."""
    return f"{name}/{hashlib.blake2b(content.encode(), digest_size=10).hexdigest()}"
