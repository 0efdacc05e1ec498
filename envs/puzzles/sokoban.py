"""turnwise/Sokoban-v0: push every box onto a goal, as text."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, TurnEnv, split_of
from turnwise.envs.options import TurnOptions
from turnwise.envs.puzzles.counted_moves import CountedMoves
from turnwise.envs.puzzles.sokoban_levels import LENGTHS, difficulty_of, random_level
from turnwise.envs.puzzles.sokoban_render import picture
from turnwise.envs.puzzles.sokoban_rules import (
    BOX,
    DIRECTIONS,
    MAX_MOVES,
    board_of,
    check_rows,
    move,
    read_moves,
    steps_of,
    text_of,
)
from turnwise.envs.puzzles.sokoban_solver import Solution, solve
from turnwise.envs.puzzles.sokoban_xsb import FileLevel, load_levels
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["SLIPS", "Sokoban", "novice_action"]

SLIPS = 0.4
"""Share of a novice's moves that go anywhere (see `novice_action`)."""

_BOX = ord(BOX)
_ONE_MOVE = {
    form: index
    for index, word in enumerate(DIRECTIONS)
    for name in (word, word.capitalize(), word.upper(), word[0], word[0].upper())
    for form in (name, f"<answer>{name}</answer>")
}
"""The usual replies of one move, which need no parsing."""


class Sokoban(CountedMoves):
    """Push every box ($) onto a goal (.). One reply plays one or several moves; the answer is the new board.

    Difficulty is the number of moves (steps of the man) of a shortest solution, whatever the size of the board:
    1: 5 to 7, 2: 8 to 10, 3: 11 to 13, 4: 14 to 17, 5: 18 and more. Only 1.2 million levels of 6 x 6 with 2 boxes exist (mirror
    images counted once), 30,000 of them of difficulty 5, so among 1,000 of those some come twice; larger boards offer far more.

    The turn limit is twice the moves that the task needs, and each move counts, also where one reply holds several: a walk that
    does not look solves next to nothing (1.6 % of all levels the best cycle of up to four moves, over and over). With `max_turns`
    or `moves_per_turn` of your own, turns are counted and not moves.

    Reward: 1 for the move that solves the level, else 0. With `box_reward=b` a term `boxes` pays b times the change of the share
    of boxes that stand on goals, so pushing to and fro earns nothing and it never sums to more than b. `outcome` is 1.0 when
    solved, else 0.0. A level can become unsolvable; the episode then goes on to its turn limit, as in gym-sokoban, for 0.
    """

    metadata: dict[str, Any] = {**TurnEnv.metadata, "render_modes": ["ansi", "rgb_array"]}  # noqa: RUF012  (Gymnasium's)
    levels: ClassVar[range] = range(1, len(LENGTHS) + 1)

    def __init__(
        self,
        *,
        size: int = 7,
        boxes: int = 2,
        lengths: Sequence[int] | None = None,
        levels: str | os.PathLike[str] | None = None,
        moves_per_turn: int | None = None,
        box_reward: float = 0.0,
        instructions: bool = True,
        **options: Unpack[TurnOptions],
    ) -> None:
        """`size` is the side of the board, walls included (6 to 10); `boxes` goes from 1 to 6, at most size - 2.

        `lengths` is (least, most) moves of a shortest solution, in place of what the difficulty says: a policy that begins from
        random weights may want (1, 4).
        `levels` is the path of an XSB file (Boxoban, Microban, ...) to play instead of random levels; `size` and `boxes` are then
        those of the file, and unless a difficulty is asked for, any of its levels in the split may come.
        `moves_per_turn` limits the moves played of one reply (None: as many as it holds, up to 100, and up to the turn limit).
        `instructions=False` leaves rules and legend out of the first observation.
        """
        super().__init__(**options)
        _check_int("size", size, 6, 10)
        _check_int("boxes", boxes, 1, min(6, size - 2))
        if moves_per_turn is not None:
            _check_int("moves_per_turn", moves_per_turn, 1, MAX_MOVES)
        _check_lengths(lengths, levels)
        if not 0.0 <= box_reward <= 1.0:
            raise ConfigError(f"Sokoban: box_reward must be from 0 to 1, so that it never exceeds solving; got {box_reward!r}.")
        self.size, self.boxes = size, boxes
        self._lengths = None if lengths is None else (lengths[0], lengths[1])
        self.moves_per_turn = moves_per_turn
        self.box_reward = float(box_reward)
        self.instructions = instructions
        self._files = None if levels is None else load_levels(levels)
        self._path = "" if levels is None else os.fspath(levels)
        self._any_difficulty = options.get("difficulty") is None
        self._asked_difficulty = False
        self._text = bytearray()
        self._man = 0
        self._steps = (0, 0, 0, 0)  # in characters
        self._plan: dict[bytes, str] = {}  # text of a board -> LURD from there

    # --- tasks ----------------------------------------------------------------------------------------------------

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._asked_difficulty = bool(options and "difficulty" in options)
        return super().reset(seed=seed, options=options)

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return self._task_for(rng, None, difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        return self._task_for(rng, split, difficulty)

    def _task_for(self, rng: np.random.Generator, split: Split | None, difficulty: int) -> Task:
        if self._files is not None:
            return self._from_file(self._files, rng, split, difficulty)
        name, rows, answer, length = random_level(rng, self.size, self.boxes, self._lengths or LENGTHS[difficulty], split)
        return _task(name, rows, answer, difficulty, length, optimal=True)

    def _from_file(self, files: tuple[FileLevel, ...], rng: np.random.Generator, split: Split | None, difficulty: int) -> Task:
        mine = [level for level in files if split is None or split_of(level.id) == split]
        if not mine:
            raise ConfigError(
                f"{self._path}: none of its {len(files)} levels falls into split {split!r} (its shape decides, so that "
                "no level is in both). Add levels, or play the other split."
            )
        wanted = None if self._any_difficulty and not self._asked_difficulty else difficulty
        for index in rng.permutation(len(mine)).tolist():
            level = mine[index]
            answer, optimal = _solved(level.rows, level.where)
            if wanted in (None, difficulty_of(len(answer))):
                return _task(level.id, level.rows, answer, difficulty_of(len(answer)), len(answer), optimal, source=level.where)
        high = LENGTHS[difficulty][1]
        low = LENGTHS[difficulty][0] if difficulty > 1 else 1
        raise ConfigError(
            f"{self._path}: none of the {len(mine)} levels in split {split!r} has difficulty {difficulty} ({low} to {high} "
            "moves). Ask for another difficulty, or for none to play them all."
        )

    @override
    def turn_limit(self, task: Task) -> int:
        """Twice the moves of a shortest solution; with `moves_per_turn` twice the turns that it takes, and 8.

        Without, each move of a reply counts as a turn, else a walk without aim would solve what is easy; a task of yours that
        names no answer has MAX_MOVES.
        """
        n = self.moves_per_turn
        return 2 * -(-len(task.answer) // n) + 8 if n else 2 * len(task.answer) or MAX_MOVES

    # --- play -----------------------------------------------------------------------------------------------------

    @override
    def begin(self, task: Task) -> str:
        rows = check_rows(f"Sokoban task {task.id!r}", task.metadata.get("level"))
        board = text_of(rows)
        self._text = bytearray(board, "ascii")
        self._man = max(board.find("@"), board.find("+"))
        up, down, left, right = steps_of(len(rows[0]))
        self._steps = (2 * up, 2 * down, 2 * left, 2 * right)
        self._plan = {}
        return f"{self._rules()}\n\n{board}" if self.instructions else board

    def _rules(self) -> str:
        n = self.moves_per_turn
        many = f"one to {n} moves" if n else "one or several moves"
        example = "<answer>right</answer>" if n == 1 else "<answer>right up</answer>"
        return (
            "Sokoban: push every box onto a goal.\n"
            "# wall, _ floor, . goal, $ box, * box on goal, @ you, + you on goal\n"
            "Moves: up, down, left, right. Moving into a box pushes it if the cell behind it is free; boxes cannot be pulled.\n"
            f"Reply with {'one move' if n == 1 else many} each turn, for example {example}."
            + ("" if n or self._max_turns else " You have twice the moves that a shortest solution takes.")
        )

    @override
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """As TurnEnv.step, with a shorter way for a reply of one plain move: the same answer, in a fraction of the time."""
        index = _ONE_MOVE.get(action) if type(action) is str else None
        if index is None or self.box_reward or not self._playing:
            return super().step(action)
        self.turn += 1
        text, before = self._text, self._man
        self._man = man = move(text, before, self._steps[index])
        observation = text.decode("ascii")
        if man == before:
            observation += "\nBlocked."
        elif _BOX not in text:
            self._playing = False
            info = {"outcome": 1.0, "reward_terms": {"solved": 1.0}, "valid_action": True, "role": "user"}
            return observation + "\nSolved.", 1.0, True, False, info
        truncated = self.turn >= self._limit
        self._playing = not truncated
        return observation, 0.0, False, truncated, {"outcome": 0.0, "reward_terms": {}, "valid_action": True, "role": "user"}

    @override
    def play(self, action: str) -> Transition:
        moves = read_moves(action)
        if isinstance(moves, str):
            return self.refuse(f"{moves}\n{self._text.decode('ascii')}")
        asked, limit, played = len(moves), self.moves_per_turn or MAX_MOVES, 0
        off_goal, blocked, solved = self._text.count(_BOX), 0, False
        for index in moves[:limit] if self.moves_per_turn else self.in_turns(moves[:limit]):
            played += 1
            man = move(self._text, self._man, self._steps[index])
            blocked += man == self._man
            self._man = man
            solved = _BOX not in self._text
            if solved:
                break  # what follows in the reply is ignored
        terms = {"solved": 1.0} if solved else {}
        if self.box_reward:
            home = off_goal - self._text.count(_BOX)
            terms["boxes"] = self.box_reward * home / self._box_count()
        lines = [self._text.decode("ascii")]
        if solved:
            lines.append("Solved.")
        elif blocked:
            lines.append("Blocked." if asked == 1 else f"Blocked: {blocked} of {played} moves.")
        if asked > played and not solved:
            why = "of one reply" if played == limit else "of the episode"
            lines.append(f"Only {played} of {asked} moves were played: that is the limit {why}.")
        return Transition("\n".join(lines), sum(terms.values()), solved, 1.0 if solved else 0.0, terms)

    def _box_count(self) -> int:
        return self._text.count(_BOX) + self._text.count(b"*")

    # --- expert, fork, render -------------------------------------------------------------------------------------

    @override
    def expert_action(self) -> str:
        """The next moves of a shortest solution from this very position: up to and with the next run of pushes in a line.

        At most `moves_per_turn` moves. From a position that cannot be solved any more (or that a search of 140,000 positions
        did not solve) it is "up", because nothing helps.
        """
        if not self._playing:
            raise ResetNeeded("Sokoban: no episode is being played; call reset() before expert_action().")
        here = bytes(self._text)
        if here not in self._plan:
            self._plan = {**self._plan, **self._planned(here)}
        lurd = self._plan[here] or "u"
        stop = next((i for i, letter in enumerate(lurd) if letter.isupper()), len(lurd) - 1) + 1
        while stop < len(lurd) and lurd[stop] == lurd[stop - 1]:
            stop += 1
        words = (DIRECTIONS["udlr".index(letter)] for letter in lurd[: min(stop, self.moves_per_turn or MAX_MOVES)].lower())
        return f"<answer>{' '.join(words)}</answer>"

    def _planned(self, here: bytes) -> dict[bytes, str]:
        """The rest of the way from every board on the way from `here`; "" where there is none."""
        if self.turn == 0 and (plan := self._along(here, self.task.answer)):
            return plan  # the task's own solution, where it is one
        rows = [row[::2] for row in here.decode("ascii").split("\n")]
        solution = solve(board_of(rows))
        return {here: ""} if solution is None else self._along(here, solution[0])

    def _along(self, here: bytes, lurd: str) -> dict[bytes, str]:
        """The boards on the way with what is left to play at each; empty if the moves do not solve it."""
        text, man, plan = bytearray(here), self._man, dict[bytes, str]()
        for done, letter in enumerate(lurd):
            plan[bytes(text)] = lurd[done:]
            man = move(text, man, self._steps["udlr".find(letter.lower())])
        return {} if _BOX in text else plan

    @override
    def fork(self) -> Self:
        """An independent environment at this very point; copies the board and the generators, the rest never changes in place."""
        twin = copy.copy(self)
        twin._text = bytearray(self._text)
        twin._np_random = copy.deepcopy(self._np_random)
        twin.action_space = copy.deepcopy(self.action_space)
        twin.observation_space = copy.deepcopy(self.observation_space)
        return twin

    @override
    def render(self) -> str | NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]  (Gymnasium's is wider)
        """The board as text, or as uint8 [H, W, 3] with `render_mode="rgb_array"`."""
        if not self._text:
            raise ResetNeeded("Sokoban: there is no board before the first reset().")
        text = self._text.decode("ascii")
        return picture(text) if self.render_mode == "rgb_array" else text


def _task(name: str, rows: tuple[str, ...], answer: str, difficulty: int, length: int, optimal: bool, source: str = "") -> Task:
    """`metadata`: the level as XSB rows, its length in moves, whether that is the optimum, and where a file's level stands."""
    prompt = "Push every box ($) onto a goal (.). You are @.\n" + text_of(rows)
    metadata: dict[str, Any] = {"level": list(rows), "length": length, "optimal": optimal}
    if source:
        metadata["source"] = source
    return Task(name, prompt, answer, difficulty, metadata)


@lru_cache(maxsize=4096)
def _solved(rows: tuple[str, ...], where: str) -> Solution:
    solution = solve(board_of(rows))
    if solution is None:
        raise ConfigError(
            f"{where}: cannot be solved, or not within the search's 140,000 positions, so it has neither difficulty nor "
            "expert. Mend it or take it out of the file."
        )
    return solution


def _check_int(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"Sokoban: {name} must be an int from {low} to {high}, got {value!r}.")


def _check_lengths(lengths: Sequence[int] | None, levels: object) -> None:
    if lengths is None:
        return
    if [type(n) for n in lengths] != [int, int] or not 1 <= lengths[0] <= lengths[1]:
        raise ConfigError(f"Sokoban: lengths must be two ints, the least moves (1 or more) and the most; got {lengths!r}.")
    if levels is not None:
        raise ConfigError("Sokoban: lengths is for random levels; leave it out or leave out levels.")


def novice_action(env: Sokoban, rng: np.random.Generator, slips: float = SLIPS) -> str:
    """The next action of somebody who knows the way but not how to walk it: the expert's, or with probability `slips` any move.

    Source of warm-start data. Imitating the expert alone teaches no doubt, and a policy that never tries another move learns
    nothing from reinforcement; imitating this teaches both, and leaves to reinforcement which of the moves are worth making.
    """
    if rng.random() < slips:
        return f"<answer>{DIRECTIONS[int(rng.integers(len(DIRECTIONS)))]}</answer>"
    return env.expert_action()
