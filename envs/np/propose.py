"""ProposeAndImprove: what the NP-hard problems share, so that each is its instances, its verifier and its optimum.

The first observation is the rules, the instance and the value to beat; every later one the verdict on a proposal: the first
constraint that it breaks, or its value, and the best value so far. The optimum is never told; reaching it ends the episode.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray
from typing_extensions import override

from turnwise.envs.core import Split, Transition, split_of
from turnwise.envs.draws import Draws
from turnwise.envs.np.proposals import Proposal, read_proposal, written
from turnwise.envs.puzzles.grid_picture import Cell, Colour, picture
from turnwise.envs.puzzles.puzzle import Puzzle, answer_in, task_id
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["Draft", "ProposeAndImprove"]

Instance = TypeVar("Instance")
Draft = tuple[dict[str, Any], Callable[[], Proposal]]
"""The metadata of a random instance, and what finds an optimal proposal, or has it, where the instance was drawn round one."""

_TRIES = 100_000
_GRAIN = 1024
"""Quality is rounded down to a 1024th, so that sums of rewards are exact."""
_PAPER: Colour = (236, 230, 216)
_TILE: Colour = (60, 100, 170)
_INK: Colour = (250, 250, 250)


class ProposeAndImprove(Puzzle, Generic[Instance]):
    """A problem whose solutions are proposed whole, checked strictly, and improved over turns.

    quality = (value - value to beat) / (optimum - value to beat), within 0 and 1, where the value to beat is the best that the
    problem's simple rules of thumb reach; none of them is ever optimal. A turn is paid half of what it adds to the best quality
    so far (`progress`), and the optimum the other half (`solved`). What breaks a constraint earns nothing. So no sum of progress
    reaches what solving pays, and equal values earn once.
    """

    levels = range(1, 6)

    name: ClassVar[str]
    """The first part of task ids."""
    aim: ClassVar[str]
    """What is wanted, in a sentence or two."""
    form: ClassVar[str]
    """How to write a proposal."""
    several: ClassVar[bool] = False
    """Whether a proposal is several lists."""
    most: ClassVar[bool] = False
    """Whether larger values are better."""
    pays: ClassVar[str] = (
        "Only what is better than the value to beat earns anything, and the whole reward is for an optimal proposal"
    )

    _instance: Instance
    _optimal: Proposal = ()
    _optimum: int = 0
    _beat: int = 0
    _best: Proposal = ()
    """The best feasible proposal so far, () if there is none."""
    _value: int | None = None
    """Of that one."""
    _quality: float = 0.0
    """Of that one."""
    _climb: list[tuple[int, Proposal]] | None = None
    """What the expert would propose from the start: (value, proposal), each better than the one before, the last optimal."""

    # --- what a problem is ----------------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, draws: Draws, level: int) -> Draft:
        """A random instance; nothing else makes the task's id."""

    @abstractmethod
    def read(self, metadata: Mapping[str, Any]) -> Instance:
        """The instance in a task's metadata. A KeyError, TypeError or ValueError says that it is none."""

    @abstractmethod
    def show(self, instance: Instance) -> str:
        """The instance as the agent reads it."""

    @abstractmethod
    def flaw(self, instance: Instance, proposal: Proposal) -> str:
        """The first constraint that a proposal breaks, in words; "" if it is feasible."""

    @abstractmethod
    def value(self, instance: Instance, proposal: Proposal) -> int:
        """The objective of a feasible proposal."""

    @abstractmethod
    def named(self, value: int) -> str:
        """A value in words."""

    @abstractmethod
    def thumbs(self, instance: Instance) -> Iterator[int]:
        """The values of some simple rules of thumb, which must earn nothing; one after the other, as they are asked for."""

    @abstractmethod
    def climb(self, instance: Instance, optimal: Proposal) -> Iterable[Proposal]:
        """Feasible proposals from a simple one to the optimal one, a decision at a time; those no better are left out."""

    def report(self, instance: Instance, proposal: Proposal, value: int) -> str:
        """What a feasible proposal amounts to, in words."""
        return self.named(value)

    def wanted(self, beat: int) -> str:
        """The value to beat, in words."""
        return f"To beat: {self.named(beat)}."

    # --- what follows from it -------------------------------------------------------------------------------------

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return self._drawn(rng, None, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return self._drawn(rng, split, difficulty)

    def _drawn(self, rng: np.random.Generator, split: Split | None, level: int) -> Task:
        """The first task of that split whose rules of thumb fall short of the optimum. Solves only where that is open."""
        draws = Draws(rng)
        for _ in range(_TRIES):
            metadata, solve = self.draw(draws, level)
            ident = task_id(self.name, json.dumps(metadata))
            if split is None or split_of(ident) == split:
                task = self._posed(ident, metadata, solve(), level)
                if task is not None:
                    return task
        raise ConfigError(f"{type(self).__name__}: no task in {_TRIES} tries at difficulty {level}; too few exist.")

    def _posed(self, ident: str, metadata: dict[str, Any], optimal: Proposal, level: int) -> Task | None:
        """The task; None if a rule of thumb solves it."""
        instance = self.read(metadata)
        optimum = self.value(instance, optimal)
        reached = list[int]()
        for value in self.thumbs(instance):
            if value == optimum:
                return None
            reached.append(value)
        beat = max(reached) if self.most else min(reached)
        prompt = f"{self.aim}\n{self.show(instance)}\n{self.wanted(beat)}"
        return Task(ident, prompt, written(optimal), level, {**metadata, "beat": beat})

    @override
    def rules(self) -> str:
        return (
            f"{self.aim}\n{self.form}\n"
            f"Each reply is a whole proposal. It is checked, and you may propose again; the best one counts. {self.pays}; "
            "that ends the episode."
        )

    @override
    def place(self, task: Task) -> None:
        instance, optimal, beat = self.read(task.metadata), self._proposal_in(task.answer), task.metadata["beat"]
        flaw = optimal if isinstance(optimal, str) else self.flaw(instance, optimal)
        if flaw or isinstance(optimal, str):
            raise ValueError(f"the answer is no solution: {flaw}")
        optimum = self.value(instance, optimal)
        if type(beat) is not int or not self._better(optimum, beat):
            raise ValueError("beat is a value that is worse than the answer's")
        self._instance, self._optimal, self._optimum, self._beat = instance, optimal, optimum, beat
        self._best, self._value, self._quality, self._climb = (), None, 0.0, None

    @override
    def opening(self) -> str:
        return f"{self.show(self._instance)}\n{self.wanted(self._beat)}"

    @override
    def board(self) -> str:
        best = "none" if self._value is None else self.named(self._value)
        return f"Best so far: {best}. {self.wanted(self._beat)}"

    @override
    def cells(self) -> list[list[Cell]]:
        """The best proposal, a row for each of its lists."""
        rows = [[str(label) for label in labels] for labels in self._best] or [[""]]
        width = max(map(len, rows))
        return [[(row[i], _TILE, _INK) if i < len(row) else ("", _PAPER, _PAPER) for i in range(width)] for row in rows]

    def drawing(self) -> NDArray[np.uint8]:
        """The instance and the best proposal as a picture."""
        return picture(self.cells())

    @override
    def play(self, action: str) -> Transition:
        answer = answer_in(action)
        if answer is None:
            return self.refuse(f"<answer> is not closed by </answer>. {self.form}")
        proposal = self._proposal_in(answer)
        if isinstance(proposal, str):
            return self.refuse(f"{proposal} {self.form}")
        flaw = self.flaw(self._instance, proposal)
        if flaw:
            return Transition(f"Not feasible: {flaw}\n{self.board()}", outcome=self._quality)
        return self._judged(proposal, self.value(self._instance, proposal))

    def _proposal_in(self, text: str) -> Proposal | str:
        proposal = read_proposal(text)
        if not isinstance(proposal, str) and len(proposal) > 1 and not self.several:
            return f"One list is wanted, these are {len(proposal)}."
        return proposal

    def _judged(self, proposal: Proposal, value: int) -> Transition:
        """The answer to a feasible proposal."""
        gain = 0.0
        if self._value is None or self._better(value, self._value):
            quality = self._quality_of(value)
            gain, self._quality = quality - self._quality, quality
            self._best, self._value = proposal, value
        verdict = f"Feasible: {self.report(self._instance, proposal, value)}."
        if self._quality == 1.0:
            return Transition(f"{verdict}\nSolved.", (gain + 1) / 2, True, 1.0, {"progress": gain / 2, "solved": 0.5})
        terms = {"progress": gain / 2} if gain else {}
        return Transition(f"{verdict}\n{self.board()}", gain / 2, False, self._quality, terms)

    def _better(self, one: int, other: int) -> bool:
        return one > other if self.most else one < other

    def _quality_of(self, value: int) -> float:
        grains = _GRAIN * (value - self._beat) // (self._optimum - self._beat)
        return min(max(grains, 0), _GRAIN) / _GRAIN

    @override
    def refuse(self, message: str) -> Transition:
        return super().refuse(message)._replace(outcome=self._quality)

    @override
    def expert_action(self) -> str:
        """The next step of the climb that is better than the best so far; later ones where turns run out."""
        self.need_episode()
        if self._climb is None:
            self._climb = []
            for proposal in self.climb(self._instance, self._optimal):
                value = self.value(self._instance, proposal)
                if not self._climb or self._better(value, self._climb[-1][0]):
                    self._climb.append((value, proposal))
        left = [step for value, step in self._climb if self._value is None or self._better(value, self._value)]
        return f"<answer>{written(left[max(0, len(left) - (self._limit - self.turn))])}</answer>"

    @override
    def render(self) -> str | NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]  (Gymnasium's is wider)
        """The instance and the best proposal as text, or as uint8 [H, W, 3] with `render_mode="rgb_array"`."""
        if self._task is None:
            raise ResetNeeded(f"{type(self).__name__}: there is no instance before the first reset().")
        if self.render_mode == "rgb_array":
            return self.drawing()
        return f"{self.show(self._instance)}\n{self.board()}" + (f"\n{written(self._best)}" if self._best else "")
