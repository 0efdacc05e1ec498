"""TextArena 0.7.4 behind our contract: one player, two players against a policy, seeds that replay."""

import random
import re

import gymnasium
import numpy as np
import pytest

from turnwise.envs.adapters.textarena_env import TextArenaEnv, from_textarena, random_move
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError, UnknownName, Unsupported


def bisect(env: TextArenaEnv) -> str:
    """Guess The Number by halving."""
    low, high, guess = 1, 20, 0
    for said in env.heard:
        if said.startswith("> "):
            guess = int((re.findall(r"\[(\d+)\]", said) or ["0"])[0])
        elif "higher" in said and guess:
            low = guess + 1
        elif "lower" in said and guess:
            high = guess - 1
    return f"[{(low + high) // 2}]"


def make_guess() -> TextArenaEnv:
    return from_textarena(game="GuessTheNumber-v0", expert=bisect)


def test_the_contract_of_a_game_for_one() -> None:
    rules = [
        "is_a_turn_env",
        "returns_right_types",
        "reset_takes_options",
        "tasks_are_whole",
        "replays",
        "leaves_global_generators_alone",
        "passes_gymnasium",
        "replays_among_others",
        "tasks_replay",
        "forks_continue_equally",
        "forks_are_independent",
        "render_changes_nothing",
        "ends_in_time",
        "expert_solves",
        "splits_are_disjoint",
    ]
    assert len(check_turn_env(make_guess, tasks=8, rules=rules).seen) == len(rules)


def first_free(observation: str, rng: np.random.Generator) -> str:
    return re.findall(r"'(\[\d\])'", observation.split("Available Moves:")[-1])[0]


def test_two_players_against_a_given_policy() -> None:
    """Whoever takes the middle and then a diagonal beats an opponent that fills the squares in order."""
    env = from_textarena(game="TicTacToe-v0", opponent=first_free, seat=0)
    observation, _ = env.reset(seed=1)
    assert "You are Player 0" in observation and env.players == 2
    assert env.step("[4]")[1:4] == (0.0, False, False)
    assert "X | 1 | 2" in env.render().replace(" X", "X")
    env.step("[2]")
    _, reward, terminated, _, info = env.step("[6]")
    assert (reward, terminated, info["outcome"], info["reward_terms"]) == (1.0, True, 1.0, {"game": 1.0})


def test_a_loss_and_the_second_seat() -> None:
    env = from_textarena(game="TicTacToe-v0", opponent=first_free, seat=1)
    observation, _ = env.reset(seed=1)
    assert "You are Player 1" in observation and "'[0]'" not in observation.split("Available Moves:")[-1]
    for move in ("[8]", "[7]"):
        _, reward, over, _, info = env.step(move)
    assert (reward, over, info["outcome"]) == (-1.0, True, 0.0)


@pytest.mark.parametrize("game", ["TicTacToe-v0", "KuhnPoker-v0"])
def test_seeds_replay_and_seats_vary(game: str) -> None:
    """Also the games that draw in the middle of an episode, with another game stepping in between."""
    seats, before = set[int](), random.getstate()
    for seed in range(6):
        transcripts: list[str] = []
        for _ in range(2):
            env, other = from_textarena(game=game), from_textarena(game=game)
            rng = np.random.default_rng(seed)
            text, over = env.reset(seed=seed)[0], False
            seats.add(env.seat)
            while not over:
                other.reset(seed=seed + 50)
                text, _, terminated, truncated, _ = env.step(random_move(text, rng))
                over = terminated or truncated
            transcripts.append(env.render())
        assert transcripts[0] == transcripts[1]
    assert seats == {0, 1} and random.getstate() == before


def test_an_invalid_move_is_told_and_then_costs_the_game() -> None:
    env = from_textarena(game="GuessTheNumber-v0")
    env.reset(seed=0)
    observation, _, terminated, _, info = env.step("no idea")
    assert not terminated and not info["valid_action"] and "invalid move" in observation
    assert env.step("still none")[2] is True


def test_by_id() -> None:
    env = gymnasium.make("turnwise/TextArena-v0", game="FrozenLake-v0")
    again = gymnasium.make("turnwise/TextArena-v0", game="FrozenLake-v0-raw")
    assert env.reset(seed=4) == again.reset(seed=4)
    with pytest.raises(Unsupported, match="no expert is known; give one"):
        env.unwrapped.expert_action()  # type: ignore[attr-defined]


def test_what_cannot_be() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'TicTacToe-v0'"):
        from_textarena(game="TicTacTo-v0")
    with pytest.raises(ConfigError, match="seat must be 0, 1 or None"):
        from_textarena(game="TicTacToe-v0", seat=2)
    with pytest.raises(UnknownName, match="opponent"):
        from_textarena(game="TicTacToe-v0", opponent="clever")
    with pytest.raises(ConfigError, match="more than two players"):
        from_textarena(game="SecretMafia-v0").reset(seed=0)
