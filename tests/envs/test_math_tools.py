"""MathTools in real sandbox sessions: what the tool says, forks, failures, limits, data sets."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turnwise.envs.math.math_tools import MathTools
from turnwise.envs.math.problem_chain import LEVELS
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError, EnvFailure, UnknownName


@pytest.fixture
def env() -> Iterator[MathTools]:
    made = MathTools(difficulty=2, profile="python", max_turns=100)
    made.reset(seed=0)
    yield made
    made.close()


def say(env: MathTools, code: str) -> str:
    return env.step(env.format.call("python", {"code": code}))[0]


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_solves_part_by_part(level: int) -> None:
    env = MathTools(difficulty=level)
    for seed in range(3):
        env.reset(seed=seed)
        turns, over, reward, printed = 0, False, 0.0, ""
        while not over:
            action = env.expert_action()
            observation, reward, over, truncated, info = env.step(action)
            printed = printed if over else observation
            assert not truncated and info["valid_action"]
            turns += 1
        assert (reward, turns, printed) == (1.0, LEVELS[level] + 1, env.task.answer)
    env.close()


def test_what_the_tool_says(env: MathTools) -> None:
    assert say(env, "x = 6\nprint('six')\nx * 7") == "six\n42"
    assert say(env, "x") == "6"
    assert say(env, "y = 1") == "(no output)"
    assert say(env, "1/0").splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "SyntaxError" in say(env, "x +")
    assert say(env, "x + y") == "7"
    assert "cell" in say(env, "1/0") and "/" not in say(env, "undefined_name").replace("<cell", "")


def test_variables_end_with_the_episode(env: MathTools) -> None:
    say(env, "x = 6")
    env.reset(seed=0)
    assert "NameError" in say(env, "x")


def test_no_session_before_the_first_call() -> None:
    env = MathTools()
    env.reset(seed=0)
    assert env._python._session is None
    env.step("<answer>7</answer>")
    assert env._python._session is None
    env.close()
    env.close()


def test_code_that_does_not_end_is_an_observation() -> None:
    env = MathTools(profile="python", wall_s=3.0, max_turns=20)
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(env.format.call("python", {"code": "while True: pass"}))
    assert (reward, terminated, truncated, info["valid_action"]) == (0.0, False, False, True)
    assert observation and "Correct" not in observation
    assert say(env, "2 + 2") == "4"
    env.close()


def test_forks_have_their_own_variables(env: MathTools) -> None:
    say(env, "x = [1]")
    twin = env.fork()
    assert say(twin, "x.append(2); x") == "[1, 2]"
    assert say(env, "x.append(3); x") == "[1, 3]"
    third = twin.fork()
    twin.close()
    assert say(third, "x") == "[1, 2]"
    third.close()


def test_a_fork_that_is_refused_runs_the_code_again(env: MathTools) -> None:
    say(env, "import threading, time\nt = threading.Thread(target=time.sleep, args=(60,), daemon=True)\nt.start()\nx = 5")
    twin = env.fork()
    assert twin._python._session is None
    assert say(twin, "x, t.is_alive()") == "(5, True)" == say(env, "x, t.is_alive()")
    twin.close()


def test_equal_seeds_give_equal_chance(env: MathTools) -> None:
    code = "import random; print(random.random())"
    first = say(env, code)
    env.reset(seed=0)
    assert say(env, code) == first
    env.reset(seed=1)
    assert say(env, code) != first


def test_a_broken_sandbox_is_a_failure_and_no_reward(env: MathTools) -> None:
    assert say(env, "1") == "1"
    session = env._python._session
    assert session is not None
    session.close()  # as a server that goes away does
    with pytest.raises(EnvFailure):
        say(env, "2")
    env.reset(seed=0)
    assert say(env, "3") == "3"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"areas": ["algebr"]}, UnknownName, "Did you mean 'algebra'"),
        ({"areas": []}, ConfigError, "areas must be one or more"),
        ({"areas": ["words", "words"]}, ConfigError, "areas must be one or more"),
        ({"needs": "namespace"}, UnknownName, "Did you mean 'namespaces'"),
        ({"wall_s": 0.0}, ConfigError, "wall_s"),
        ({"difficulty": 7}, ConfigError, "1 to 6"),
    ],
)
def test_wrong_options(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        MathTools(**options)


def test_questions_of_a_data_set(tmp_path: Path) -> None:
    file = tmp_path / "test.jsonl"
    rows = [{"question": f"What is 17 * {n}?", "answer": f"It is {17 * n}.\n#### {17 * n}"} for n in range(20, 40)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    env = MathTools(data=str(file), split="test", profile="python")
    env.reset(seed=4)
    code = env.task.prompt.removeprefix("What is ").removesuffix("?")
    answer = say(env, code)
    assert env.step(env.format.final(f"{answer} units"))[1] == 1.0
    with pytest.raises(ConfigError, match="no train question among its 20"):
        env.reset(options={"split": "train"})
    env.close()


def test_one_area_keeps_the_contract() -> None:
    quick = ["replays", "forks_continue_equally", "forks_are_independent", "tasks_replay", "tasks_are_distinct"]
    check_turn_env(lambda: MathTools(areas=["words"], profile="python"), tasks=2, distinct=600, levels=[1, 3], rules=quick)
