"""What is known about some of Gymnasium's own environments: rules, names of the actions, how a state reads, when it is solved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

__all__ = ["GAMES", "Game", "action_values", "plain_view"]

Env = gymnasium.Env[Any, Any]


@dataclass(frozen=True, slots=True)
class Game:
    """How to tell an environment in words. What is empty or None is done in the general way."""

    rules: str = ""
    actions: tuple[str, ...] = ()
    """Names of actions 0, 1, ..."""
    text: Callable[[Any, Env], str] | None = None
    """(observation, environment) -> what the agent reads."""
    outcome: Callable[[float, float, bool], float] | None = None
    """(return, last reward, terminated) -> how far it is solved, in [0, 1]."""
    expert: Callable[[Any, Env], int] | None = None
    """(observation, environment) -> the best action."""


def _frozen_lake(observation: Any, env: Env) -> str:
    lake: Any = env.unwrapped
    rows = [[cell.decode() for cell in row] for row in lake.desc]
    row, column = divmod(int(observation), len(rows[0]))
    rows[row][column] = "@"
    return "\n".join("".join(row) for row in rows)


def _cliff(observation: Any, env: Env) -> str:
    cliff: Any = env.unwrapped
    height, width = cliff.shape
    rows = [["C" if cliff._cliff[r, c] else "." for c in range(width)] for r in range(height)]
    rows[-1][-1] = "G"
    row, column = divmod(int(observation), width)
    rows[row][column] = "@"
    return "\n".join("".join(row) for row in rows)


_STANDS = ("red (row 0, column 0)", "green (row 0, column 4)", "yellow (row 4, column 0)", "blue (row 4, column 3)")


def _taxi(observation: Any, env: Env) -> str:
    taxi: Any = env.unwrapped
    row, column, passenger, goal = map(int, taxi.decode(int(observation)))
    town = [[cell.decode() for cell in line] for line in taxi.desc]
    town[row + 1][2 * column + 1] = "@"
    where = "in the taxi" if passenger == 4 else f"at {_STANDS[passenger]}"
    picture = "\n".join("".join(line) for line in town)
    return f"{picture}\nTaxi: row {row}, column {column}.\nPassenger: {where}.\nTo: {_STANDS[goal]}."


def _blackjack(observation: Any, env: Env) -> str:
    total, dealer, ace = (int(part) for part in observation)
    shown = "an ace" if dealer == 1 else str(dealer)
    return f"Your cards: {total}{' with an ace that counts 11' if ace else ''}. The dealer shows {shown}."


def _blackjack_expert(observation: Any, env: Env) -> int:
    """Basic strategy for hit or stick."""
    total, dealer, ace = (int(part) for part in observation)
    if ace:
        return int(total < 18 or (total == 18 and dealer in (1, 9, 10)))
    return int(total < 12 or (total < 17 and dealer in (1, 7, 8, 9, 10)) or (total == 12 and dealer in (2, 3)))


def _cart_pole(observation: Any, env: Env) -> str:
    names = ("cart position", "cart velocity", "pole angle", "pole angular velocity")
    return "\n".join(f"{name}: {float(value):+.4f}" for name, value in zip(names, observation, strict=True))


def _cart_pole_expert(observation: Any, env: Env) -> int:
    position, velocity, angle, turning = (float(value) for value in observation)
    return int(0.05 * position + 0.2 * velocity + 3.0 * angle + turning > 0)


def action_values(env: Env) -> NDArray[np.float64] | None:
    """[S, A] by value iteration over the environment's own table `P` of transitions; None where it has none."""
    table = getattr(env.unwrapped, "P", None)
    return _values(cast(Mapping[int, Mapping[int, Sequence[Any]]], table)) if isinstance(table, dict) else None


def _values(table: Mapping[int, Mapping[int, Sequence[Any]]]) -> NDArray[np.float64]:
    """[S, A] value of each action, discounted by 0.999 so that shorter ways are better."""
    entries = [
        (state, action, chance, after, reward, over)
        for state, actions in table.items()
        for action, outcomes in actions.items()
        for chance, after, reward, over in outcomes
    ]
    state, action, chance, after, reward, over = (np.array(column) for column in zip(*entries, strict=True))
    q = np.zeros((int(state.max()) + 1, int(action.max()) + 1))
    for _ in range(2000):
        new = np.zeros_like(q)
        np.add.at(new, (state, action), chance * (reward + 0.999 * np.where(over, 0.0, q.max(1)[after])))
        done = bool(np.abs(new - q).max() < 1e-10)
        q = new
        if done:
            break
    return q


_HIGHLIGHT = re.compile(r"\x1b\[[0-9;]*m(.*?)\x1b\[0m", re.DOTALL)
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def plain_view(observation: Any, env: Env) -> str:
    """The general way: what `render` in mode "ansi" shows, highlights in brackets; else the observation's values."""
    if env.render_mode == "ansi":
        shown: Any = env.render()
        return _ESCAPE.sub("", _HIGHLIGHT.sub(r"[\1]", str(shown))).strip("\n")
    return _values_as_text(observation)


def _values_as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_values_as_text(part)}" for key, part in cast(Mapping[Any, Any], value).items())
    if isinstance(value, tuple | list):
        return ", ".join(_values_as_text(part) for part in cast(Sequence[Any], value))
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, separator=", ", threshold=400, suppress_small=True)
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)


_COMPASS = ("left", "down", "right", "up")
GAMES: Mapping[str, Game] = {
    "FrozenLake": Game(
        "Walk over the frozen lake to G. You are @, S is the start, F is ice, H is a hole: do not fall in. Ice can be slippery.",
        _COMPASS,
        _frozen_lake,
        lambda total, last, terminated: float(last >= 1.0),
    ),
    "CliffWalking": Game(
        "Walk to G. You are @; stepping on the cliff C puts you back at the start and costs 100. Every step costs 1.",
        ("up", "right", "down", "left"),
        _cliff,
        lambda total, last, terminated: float(terminated),
    ),
    "Taxi": Game(
        "You drive the taxi @. Fetch the passenger and drop them off where they want to go. | is a wall, : is none. Each step "
        "costs 1, picking up or dropping off in the wrong place 10.",
        ("south", "north", "east", "west", "pick up", "drop off"),
        _taxi,
        lambda total, last, terminated: float(terminated and last == 20.0),
    ),
    "Blackjack": Game(
        "Blackjack: come closer to 21 than the dealer without going over.",
        ("stick", "hit"),
        _blackjack,
        lambda total, last, terminated: float(total > 0.0),
        _blackjack_expert,
    ),
    "CartPole": Game(
        "Keep the pole upright by pushing the cart; it falls at an angle of 0.2095 or where the cart leaves -2.4 to 2.4.",
        ("left", "right"),
        _cart_pole,
        lambda total, last, terminated: min(1.0, total / 500.0),
        _cart_pole_expert,
    ),
}
"""Name of an id without namespace and version -> how to tell it."""
