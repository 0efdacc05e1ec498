"""TextWorld 1.7 behind our contract: its own maker, compiler and interpreter, for real."""

import gymnasium
import pytest

from turnwise.envs.adapters.textworld_env import TextWorldEnv, from_textworld
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError, EnvFailure


def test_a_quest_is_won_by_the_expert() -> None:
    env = from_textworld(difficulty=3)
    observation, _ = env.reset(seed=3)
    assert "-= " in observation and observation.endswith("such as <answer>open the chest</answer> or <answer>go north</answer>.")
    total, info, over = 0.0, {}, False
    while not over:
        _, reward, terminated, truncated, info = env.step(env.expert_action())
        total, over = total + reward, terminated or truncated
    assert (total, info["outcome"], info["reward_terms"]) == (1.0, 1.0, {"quest": 1.0}) and env.turn >= 5
    env.close()


SMALL = from_textworld(rooms=2, objects=2, quest=1)


def small() -> TextWorldEnv:
    """Made once: a game is compiled for each task, and the rules below ask for the same ones again."""
    return from_textworld(rooms=2, objects=2, quest=1)


def test_the_contract() -> None:
    rules = [
        "is_a_turn_env",
        "replays",
        "tasks_replay",
        "forks_continue_equally",
        "forks_are_independent",
        "render_changes_nothing",
    ]
    report = check_turn_env(small, tasks=1, levels=(1,), rules=rules)
    assert len(report.seen) == len(rules)


@pytest.mark.parametrize(
    "command",
    [
        "\x00",
        "quit",
        "QUIT.",
        "restart",
        "save",
        "undo",
        "look. quit",
        "look then quit",
        "look, quit",
        "a" * 300,
        "é",
        "",
        "x\nquit",
    ],
)
def test_the_interpreter_is_out_of_reach(command: str) -> None:
    SMALL.reset(seed=1)
    observation, reward, terminated, _, info = SMALL.step(command)
    if info["valid_action"]:
        assert observation.startswith("You can't see any such thing")  # "x quit" on one line
    else:
        assert observation.startswith("That is no command.")
    assert (reward, terminated) == (0.0, False)
    assert "-= " in SMALL.step("look")[0]


def test_what_cannot_be_understood_is_the_games_to_say() -> None:
    SMALL.reset(seed=1)
    assert SMALL.step("xyzzy the plugh")[0] == "That's not a verb I recognise."
    assert SMALL.step("<answer>inventory</answer>")[0].startswith("You are carrying")


def test_by_id_with_the_possible_commands() -> None:
    env = gymnasium.make("turnwise/TextWorld-v0", rooms=2, objects=2, quest=1, admissible=True)
    observation, _ = env.reset(seed=1)
    assert "\nYou can: " in observation and "look" in observation.rpartition("You can: ")[2]
    env.close()


def test_a_broken_maker_is_a_failure() -> None:
    env = small()
    with pytest.raises(ConfigError, match="rooms must be from 1 to 50"):
        from_textworld(rooms=0)
    env._textworld = object()  # what a broken installation looks like
    with pytest.raises(EnvFailure, match="textworld"):
        env.reset(seed=2)
