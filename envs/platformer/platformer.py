"""turnwise/Platformer-v0: a side-scrolling game of many decisions: run and jump to the flag.

One sees a part of the course that goes along with the player: as text (a map with a ruler, the player's exact place and speed,
what comes next, where the enemies are on their beats), as a picture of 240 x 440 pixels, or both, drawn from the same state.

A reply holds buttons for a number of ticks: "right 10", "left 4", "right jump 14", "jump 12", "wait 5"; several commands with
commas between. Whole-number physics, the same on every machine: one speeds up by 0.1 cells a tick each tick up to 0.4, and a full
jump is some six cells wide and three and a half high; who lets go of the jump button while rising jumps lower. Pits and spikes
kill. Walkers can be jumped onto, hedgehogs and bats cannot. Who dies goes on from the last checkpoint, while lives are left.

Courses are rows of sections, each of which can be passed by how it is made: pits, roofs with spikes that hang from them, spikes,
walkers, walls, stairs, platforms over pits, hedgehogs, tunnels, bats, high walls to climb; and towers, on which one has to turn
back to get up, so that nobody arrives by going right for ever. What one has to jump over and what one must not jump under come in
any order, so that the moves of one course do not solve others. Wherever one stands there is a way on: only death ends an attempt.

    level  sections  towers  kinds of the other sections
      1        6       1     4
      2        9       1     7
      3       17       2     10, wider and higher
      4       30       3     11
      5       60       5     11; more than 100 decisions

The expert searches button presses with the exact physics, from one safe place to the next, and finds its way from anywhere.
A step plays its ticks one by one and draws the map anew: 33,000 to 40,000 steps a CPU second.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import Any, cast

import numpy as np
from gymnasium import Space, spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, TurnEnv, seed_in
from turnwise.envs.draws import Draws
from turnwise.envs.options import TurnOptions
from turnwise.envs.platformer.commands import command_text, read_commands
from turnwise.envs.platformer.course import START, Course
from turnwise.envs.platformer.frames import FRAME, frame
from turnwise.envs.platformer.generator import LEVELS, random_course
from turnwise.envs.platformer.physics import FELL, FLAG, HIT, PLAYING, SPIKED, Body, run, spawned, stands
from turnwise.envs.platformer.planner import LONGEST, Command, Planner
from turnwise.envs.platformer.view import View
from turnwise.envs.text_space import TextSpace
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["LEVELS", "Platformer"]

_DEATHS = {FELL: "You fell into a pit.", SPIKED: "You ran into spikes.", HIT: "An enemy got you."}
_TURNS = 4
"""Turns that a section may take, on average."""


class Platformer(TurnEnv):
    """Reward 1 at the flag, else 0; two more terms can be asked for, which are progress.

    They never exceed solving: p and c below are together at most 1.

    lives: attempts; who dies goes on from the last checkpoint passed, after the last life the episode is over.
    commands_per_turn: how many commands one reply may hold.
    image: whether observations are {"text": str, "image": uint8[240, 440, 3]}.
    text_view: whether the text shows the course; without it (for image=True) it only says what happened.
    progress_reward: p; the term `progress` pays p times the share of the way by which one got farther than ever before.
    coin_reward: c; the term `coins` pays c times the share of all coins with each coin. With 0 there are no coins.
    """

    metadata: dict[str, Any] = {**TurnEnv.metadata, "render_modes": ["ansi", "rgb_array"]}  # noqa: RUF012  (Gymnasium's)
    levels = range(1, len(LEVELS) + 1)
    default_level = 2

    def __init__(
        self,
        *,
        lives: int = 3,
        commands_per_turn: int = 4,
        image: bool = False,
        text_view: bool = True,
        progress_reward: float = 0.0,
        coin_reward: float = 0.0,
        instructions: bool = True,
        **options: Unpack[TurnOptions],
    ) -> None:
        """`instructions=False` leaves the rules out of the first observation."""
        super().__init__(**options)
        for name, value, most in (("lives", lives, 9), ("commands_per_turn", commands_per_turn, 20)):
            if type(value) is not int or not 1 <= value <= most:
                raise ConfigError(f"Platformer: {name} must be an int from 1 to {most}, got {value!r}.")
        if not (progress_reward >= 0.0 and coin_reward >= 0.0 and progress_reward + coin_reward <= 1.0):
            raise ConfigError(
                "Platformer: progress_reward and coin_reward must be at least 0 and together at most 1, so that they never "
                f"exceed solving; got {progress_reward!r} and {coin_reward!r}."
            )
        if not (text_view or image):
            raise ConfigError("Platformer: text_view=False needs image=True, else there is nothing to see.")
        self.lives, self.commands_per_turn = lives, commands_per_turn
        self.image, self.text_view = image, text_view
        self.progress_reward, self.coin_reward = float(progress_reward), float(coin_reward)
        self.instructions = instructions
        if image:
            both = spaces.Dict({"text": TextSpace(), "image": spaces.Box(0, 255, FRAME, np.uint8)})
            self.observation_space = cast(Space[str], both)
        self._view: View
        self._body: Body
        self._planner: Planner | None = None
        self._left = lives
        self._checkpoint = self._farthest = START

    # --- tasks ----------------------------------------------------------------------------------------------------

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return _task(difficulty, int(rng.integers(2**63)))

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """Aims at the split: only the course that is played is built."""
        return _task(difficulty, seed_in(split, rng, lambda seed: _id_of(difficulty, seed)))

    @override
    def turn_limit(self, task: Task) -> int:
        return 10 + _TURNS * LEVELS[task.difficulty].sections if task.difficulty in LEVELS else 500

    @override
    def begin(self, task: Task) -> str:
        try:
            rows, enemies = tuple(task.metadata["rows"]), tuple([tuple(enemy) for enemy in task.metadata["enemies"]])
            self._view = _view(rows, enemies, self.coin_reward > 0.0)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ConfigError(
                f"Platformer: task {task.id!r} must hold a course as this environment makes them, got metadata "
                f"{str(dict(task.metadata))[:200]} ({type(error).__name__}: {error}). Take tasks from env.task."
            ) from error
        course = self._view.course
        self._body, self._planner = spawned(course, START), None
        self._left, self._checkpoint, self._farthest = self.lives, START, START
        text = self._seen("") if self.text_view else f"The flag is at column {course.flag}."
        return f"{self.rules()}\n\n{text}" if self.instructions else text

    def rules(self) -> str:
        """The paragraph above the first view."""
        coins = " o is a coin, worth collecting." if self.coin_reward else ""
        signs = (
            "@ is you, # ground, = a platform (you can jump through it from below), ^ spikes, w a walker, h a hedgehog, v a bat, "
            f"C a checkpoint, F the flag.{coins} The ruler above gives columns, the numbers on the left heights in cells.\n"
            if self.text_view
            else ""
        )
        return (
            "Platformer: run and jump to the flag on the right. Pits, spikes and enemies kill; a walker is removed by coming "
            f"down on it from above. Lives: {self.lives}; after a death you go on from the last checkpoint you passed.\n{signs}"
            f"A command holds buttons for 1 to {LONGEST} ticks: right 10, left 4, right jump 14, jump 12, wait 5. You speed up "
            "by 0.1 cells a tick each tick up to 0.4, and slow down likewise. A jump starts only from standing, in the first "
            "tick of a command; held for 8 ticks and more it goes 3.6 cells high and, at full speed, 6.8 cells far; held for "
            "less it is lower.\n"
            f"Reply with up to {self.commands_per_turn} commands, for example <answer>right 6, right jump 14</answer>."
        )

    # --- play -----------------------------------------------------------------------------------------------------

    @override
    def play(self, action: str) -> Transition:
        commands = read_commands(action, self.commands_per_turn)
        if isinstance(commands, str):
            return self.refuse(f"{commands} Nothing moved.")
        course, before, notes = self._view.course, self._body, list[str]()
        for command in commands:
            body = self._body
            self._body = run(course, body, *command)
            self._tell(notes, body, command)
            if self._body.status:
                break
        reached = min(self._body.column, course.flag)
        terms = self._progress(reached, before)
        status = self._body.status
        solved, died = status == FLAG, status not in (PLAYING, FLAG)
        if died:
            self._left -= 1
            notes.append(self._death())
        elif solved:
            notes.append("You are at the flag.")
        over = died and not self._left
        text = self._seen(" ".join(dict.fromkeys(notes)) if notes else "")
        if solved:
            terms["solved"] = 1.0
        return Transition(text, sum(terms.values()), solved or over, float(solved), terms)

    def _tell(self, notes: list[str], before: Body, command: Command) -> None:
        """Notes what a command did that the view alone does not show."""
        after, course = self._body, self._view.course
        if command.jump and before.vy != after.vy and not stands(course, before):
            notes.append("You were in the air, so no new jump started.")
        if command.way and not after.vx and command.ticks > 4 and not after.status:
            notes.append("The ground ahead stopped you.")
        if after.gone != before.gone:
            notes.append("You removed a walker.")
        if after.coins != before.coins:
            notes.append(f"Coins: {after.coins.bit_count()} of {len(course.coins)}.")

    def _progress(self, reached: int, before: Body) -> dict[str, float]:
        """The terms that are progress; takes down how far one got."""
        terms, course = dict[str, float](), self._view.course
        if reached > self._farthest:
            if self.progress_reward:
                terms["progress"] = self.progress_reward * (reached - self._farthest) / (course.flag - START)
            self._farthest = reached
            self._checkpoint = course.checkpoints[bisect_right(course.checkpoints, reached) - 1]
        if self._body.coins != before.coins:
            new = (self._body.coins & ~before.coins).bit_count()
            terms["coins"] = self.coin_reward * new / len(course.coins)
        return terms

    def _death(self) -> str:
        """Puts the player back, if there are lives left; what is said about it."""
        body, course = self._body, self._view.course
        how = f"{_DEATHS[body.status]}"
        if not self._left:
            return f"{how} That was the last life."
        self._body = spawned(course, self._checkpoint, body.tick, body.gone, body.coins)
        return f"{how} You go on from column {self._checkpoint}; lives left: {self._left}."

    def _seen(self, note: str) -> str:
        """What happened, and the view where it is shown."""
        if not self.text_view:
            return note or f"Lives: {self._left}."
        text = self._view.text(self._body)
        return f"{text}\n{note}" if note else text

    @override
    def expert_action(self) -> str:
        """Runs and jumps to the next safe place; with `coin_reward` it collects the coins on the way."""
        if not self._playing:
            raise ResetNeeded("Platformer: no episode is being played; call reset() before expert_action().")
        if self._planner is None:
            self._planner = Planner(self._view.course, coins=self.coin_reward > 0.0)
        return f"<answer>{command_text(self._planner.next(self._body))}</answer>"

    # --- pictures -------------------------------------------------------------------------------------------------

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        return self._with_picture(observation), info

    @override
    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return self._with_picture(observation), reward, terminated, truncated, info

    def _with_picture(self, text: str) -> Any:
        return {"text": text, "image": self._frame()} if self.image else text

    def _frame(self) -> NDArray[np.uint8]:
        return frame(self._view, self._body, self._left)

    @override
    def render(self) -> str | NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]  (Gymnasium's is wider)
        """The map as text, or the picture as uint8 [240, 440, 3] with `render_mode="rgb_array"`."""
        if self._task is None:
            raise ResetNeeded("Platformer: there is nothing to see before the first reset().")
        return self._frame() if self.render_mode == "rgb_array" else self._view.text(self._body)


@lru_cache(maxsize=64)
def _view(rows: tuple[str, ...], enemies: tuple[tuple[Any, ...], ...], coins: bool) -> View:
    """What never changes in an episode; the episodes of a group share it."""
    return View(Course.made(rows, enemies, coins=coins))


def _id_of(difficulty: int, seed: int) -> str:
    return f"platformer/{difficulty}/{seed:016x}"


def _task(difficulty: int, seed: int) -> Task:
    course = random_course(Draws(np.random.default_rng(seed)), difficulty)
    flag = len(course["rows"][0]) - 5
    prompt = f"Platformer: run and jump to the flag at column {flag} (course {seed:016x})."
    return Task(_id_of(difficulty, seed), prompt, "", difficulty, course)
