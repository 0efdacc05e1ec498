"""TextArena's games as environments: single-player ones, and two-player ones against a policy that is given.

    env = from_textarena(game="FrozenLake-v0")
    env = from_textarena(game="TicTacToe-v0", opponent=my_policy)             # (what it reads, generator) -> its reply
    env = gym.make("turnwise/TextArena-v0", game="KuhnPoker-v0", opponent="random")

A reply is given to the game as it stands (most games look for [moves] in square brackets); the observation is what the game says
until it is the agent's turn again. Rewards are the game's own, paid at its end; the outcome is 1 for a win, 1/2 for a draw, 0 for
a loss, and in single-player games the reward where it is between 0 and 1. A task is a seed: games draw from generators that are
lent to them (`turnwise.envs.adapters.lent_random`), so they replay and leave those of the process alone.

The opponent "random" takes one of the moves in square brackets that the game offers it, so it suits games that list them. Some
games of TextArena 0.7.4 need a newer Python, data or a key of their own; whatever they raise when they are made is a ConfigError
with that message.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.adapters.lent_random import Generators, lend_to, using
from turnwise.envs.adapters.packages import needed
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.options import TurnOptions
from turnwise.errors import ConfigError, EnvFailure, UnknownName, Unsupported
from turnwise.seeds import child
from turnwise.types import Task

__all__ = ["Opponent", "TextArenaEnv", "from_textarena", "random_move"]

Opponent = Callable[[str, np.random.Generator], str]
"""(what the game said to it since its last reply, its own generator) -> its reply."""
MAX_TURNS = 100
"""Turn limit of games that have none."""
MAX_OPPONENT = 200
"""Replies of the opponent in a row; more of them means that the two talk past each other."""
_OFFERED = re.compile(r"\[[^\[\]\n]{1,40}\]")


def random_move(observation: str, rng: np.random.Generator) -> str:
    """One of the moves in square brackets in the last line that has any; "[pass]" where none has."""
    lines = [line for line in observation.splitlines() if _OFFERED.search(line)]
    moves = _OFFERED.findall(lines[-1]) if lines else ["[pass]"]
    return moves[int(rng.integers(len(moves)))]


class TextArenaEnv(TurnEnv):
    """A game of TextArena; see the module.

    game: its id, such as "TicTacToe-v0"; its raw form is played, without TextArena's wrappers.
    opponent: who plays the other seat of a two-player game: a function, or "random".
    seat: the agent's, 0 or 1; None: by the task, either as often.
    settings: keywords for `textarena.make`, over those of the id; JSON.
    expert: (environment) -> the best reply; there is none by default.
    """

    metadata = {**TurnEnv.metadata, "inline": False}  # noqa: RUF012  (Gymnasium's)
    levels = range(1, 2)

    def __init__(
        self,
        *,
        game: str,
        opponent: Opponent | str = "random",
        seat: int | None = None,
        settings: Mapping[str, Any] | None = None,
        expert: Callable[[TextArenaEnv], str] | None = None,
        **options: Unpack[TurnOptions],
    ) -> None:
        super().__init__(**options)
        self._arena = needed("textarena", "textarena")
        registry: Mapping[str, Any] = needed("textarena.envs.registration", "textarena").ENV_REGISTRY
        self.game = game.removesuffix("-raw")
        if f"{self.game}-raw" not in registry:
            raise UnknownName("game of TextArena", game, [name for name in registry if not name.endswith(("-raw", "-train"))])
        self._entry_point = str(registry[f"{self.game}-raw"].entry_point)
        if seat not in (None, 0, 1):
            raise ConfigError(f"TextArena {self.game}: seat must be 0, 1 or None, got {seat!r}.")
        if isinstance(opponent, str) and opponent != "random":
            raise UnknownName("opponent", opponent, ("random",))
        self._opponent: Opponent = random_move if isinstance(opponent, str) else opponent
        self._given_seat, self._settings, self._expert = seat, dict(settings or {}), expert
        self.players = 1
        self.seat = 0
        self._game: Any = None
        self._lent = Generators(0)
        self._their_rng = np.random.default_rng(0)
        self._heard: list[str] = []

    # --- the game ---------------------------------------------------------------------------------------------------

    def _made(self) -> Any:
        try:
            needed(self._entry_point.partition(":")[0], "textarena")
            lend_to("textarena")
            with using(Generators(0)):
                return self._arena.make(f"{self.game}-raw", **self._settings)
        except Exception as error:  # whatever its module raises when it is imported or made
            raise ConfigError(f"TextArena {self.game} cannot be made here: {type(error).__name__}: {error}") from error

    def _start(self, game: Any, seed: int) -> int:
        """Reset for one player, else for two; how many it took."""
        for players in (1, 2):
            self._lent = Generators(seed)
            try:
                with using(self._lent):
                    game.reset(num_players=players, seed=seed)
            except AssertionError:  # how TextArena refuses a number of players
                continue
            except Exception as error:  # the boundary of somebody else's game
                raise EnvFailure("textarena", f"{self.game}: reset(seed={seed}): {type(error).__name__}: {error}") from error
            return players
        raise ConfigError(f"TextArena {self.game} is for more than two players; only games for one or two can be played.")

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            with using(self._lent):
                return getattr(self._game, name)(*arguments)
        except Exception as error:  # the same boundary
            raise EnvFailure("textarena", f"{self.game}: {name}: {type(error).__name__}: {error}") from error

    # --- the contract -----------------------------------------------------------------------------------------------

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        seed = int(rng.integers(2**31))
        return Task(f"textarena/{self.game}/{seed:08x}", f"Play {self.game}.", "", difficulty, {"seed": seed})

    @override
    def turn_limit(self, task: Task) -> int:
        limit = getattr(getattr(self._game, "state", None), "max_turns", None)
        return 2 * limit if isinstance(limit, int) and limit > 0 else MAX_TURNS

    @override
    def begin(self, task: Task) -> str:
        seed = int(task.metadata["seed"])
        self._game = self._game if self._game is not None else self._made()
        self.players = self._start(self._game, seed)
        self._limit = self._max_turns or self.turn_limit(task)  # known only now
        drawn = child(seed, "seat") % 2 if self._given_seat is None else self._given_seat
        self.seat = drawn if self.players == 2 else 0
        self._their_rng = np.random.default_rng(child(seed, "opponent"))
        self._heard = []
        text, over, _ = self._until_our_turn()
        if over:
            raise EnvFailure("textarena", f"{self.game}: the game was over before the agent's first turn: {text[-300:]}")
        return text

    def _until_our_turn(self) -> tuple[str, bool, bool]:
        """What the agent hears while the opponent plays, whether the game is over, and whether our move was refused."""
        said, refused = list[str](), False
        for _ in range(MAX_OPPONENT):
            if self._game.state.done:
                said += _lines(self._game.state.observations.get(self.seat, ()), self.seat)[0]
                return "\n".join(said) or "The game is over.", True, refused
            player, messages = self._call("get_observation")
            lines, invalid = _lines(messages, player)
            if player == self.seat:
                text = "\n".join([*said, *lines])
                self._heard.append(text)
                return text, False, refused or invalid
            reply = self._opponent("\n".join(lines), self._their_rng)
            self._call("step", reply)
        raise EnvFailure("textarena", f"{self.game}: the opponent's last {MAX_OPPONENT} replies led to no turn of the agent.")

    @override
    def play(self, action: str) -> Transition:
        self._heard.append(f"> {action}")
        self._call("step", action)
        text, over, refused = self._until_our_turn()
        if not over:
            return Transition(_clean(text), valid=not refused)
        rewards, about = self._call("close")
        reward = float((rewards or {}).get(self.seat, 0.0))
        ours: Mapping[str, Any] = about.get(self.seat, {})
        reason = str(ours.get("reason") or "")
        outcome = (reward + 1.0) / 2.0 if self.players == 2 else reward
        text = "\n".join(part for part in (text, reason) if part)
        self._heard.append(text)
        return Transition(
            _clean(text),
            reward,
            terminated=True,
            outcome=min(1.0, max(0.0, outcome)),
            terms={"game": reward},
            valid=not (refused or ours.get("invalid_move")),
        )

    @override
    def expert_action(self) -> str:
        """What `expert` says. Raises Unsupported without one: TextArena has no oracle."""
        if self._expert is None:
            raise Unsupported(f"TextArena {self.game}: no expert is known; give one: expert=(environment) -> reply.")
        return self._expert(self)

    @property
    def heard(self) -> Sequence[str]:
        """What was said to the agent, and by it after "> ", in order; for experts."""
        return tuple(self._heard)

    @override
    def render(self) -> str:
        return _clean("\n".join(self._heard))

    @override
    def fork(self) -> Self:
        """A deep copy, modules and functions shared."""
        memo: dict[int, Any] = {id(self.spec): self.spec, id(self._arena): self._arena, id(self._opponent): self._opponent}
        memo[id(self._expert)] = self._expert
        return copy.deepcopy(self, memo)


def _lines(messages: Any, player: int) -> tuple[list[str], bool]:
    """What messages say to a player, its own moves left out, and whether one of them refuses its move."""
    said, refused = list[str](), False
    for sender, text, kind in messages:
        own = sender == player and kind.name == "PLAYER_ACTION"
        refused = refused or (kind.name == "GAME_ADMIN" and "invalid move" in text)
        if not own:
            said.append(f"Player {sender}: {text}" if kind.name == "PLAYER_ACTION" else text.strip("\n"))
    return said, refused


def _clean(text: str) -> str:
    """Text that can be encoded, and never empty."""
    return text.encode("utf-8", "replace").decode() or "(nothing was said)"


from_textarena = TextArenaEnv
