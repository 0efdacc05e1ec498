"""TurnEnv: what follows from the four things an author writes."""

from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st

from turnwise.envs import Task, Transition, TurnEnv, split_of
from turnwise.envs.core import MAX_ACTION
from turnwise.errors import ConfigError, UnknownName


class Counter(TurnEnv):
    """Say the next number; three right ones end it."""

    levels = range(2, 5)
    default_level = 2

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"from {rng.integers(10**9)}", "count", "3", difficulty)

    def begin(self, task: Task) -> str:
        self.count = 0
        return task.prompt

    def play(self, action: str) -> Transition:
        if action != str(self.count + 1):
            return self.refuse("Say the next number.")
        self.count += 1
        over = self.count == 3
        return Transition(f"{self.count}", 1 if over else 0, np.bool_(over), self.count / 3, {"count": int(over)})  # type: ignore[arg-type]

    def expert_action(self) -> str:
        return str(self.count + 1)

    def turn_limit(self, task: Task) -> int:
        return task.difficulty * 2


def test_an_episode() -> None:
    env = Counter()
    assert env.reset(seed=1) == ("count", {"outcome": 0.0, "reward_terms": {}, "valid_action": True, "role": "user"})
    assert env.step("1")[:4] == ("1", 0.0, False, False)
    assert env.step("no") == (
        "Say the next number.",
        0.0,
        False,
        False,
        {"outcome": 0.0, "reward_terms": {}, "valid_action": False, "role": "user"},
    )
    env.step("2")
    assert env.step("3") == (
        "3",
        1.0,
        True,
        False,
        {"outcome": 1.0, "reward_terms": {"count": 1.0}, "valid_action": True, "role": "user"},
    )


def test_results_are_plain_python_numbers() -> None:
    env = Counter()
    env.reset(seed=1)
    _, reward, terminated, truncated, info = env.step("1")
    assert [type(x) for x in (reward, terminated, truncated, info["outcome"])] == [float, bool, bool, float]
    assert type(info["reward_terms"]["count"]) is float


def test_the_turn_limit_truncates_and_ending_in_the_last_turn_terminates() -> None:
    env = Counter(max_turns=3)
    env.reset(seed=1)
    assert [env.step("no")[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    env.reset(seed=1)
    assert [env.step(a)[2:4] for a in "123"] == [(False, False), (False, False), (True, False)]


@pytest.mark.parametrize(("difficulty", "turns"), [(2, 4), (4, 8)])
def test_the_limit_follows_the_task(difficulty: int, turns: int) -> None:
    env = Counter()
    env.reset(seed=1, options={"difficulty": difficulty})
    for turn in range(1, turns + 1):
        assert env.step("")[3] == (turn == turns)


def test_steps_outside_an_episode_are_refused() -> None:
    env = Counter(max_turns=1)
    with pytest.raises(ResetNeeded, match=r"Counter: .* call reset\(\)"):
        env.step("1")
    with pytest.raises(ResetNeeded):
        _ = env.task
    env.reset(seed=1)
    env.step("1")
    with pytest.raises(ResetNeeded):
        env.step("2")


def test_an_action_is_a_string_of_bounded_length() -> None:
    env = Counter()
    env.reset(seed=1)
    with pytest.raises(TypeError, match=r"one str, got bytes"):
        env.step(b"1")  # type: ignore[arg-type]
    observation, _, _, _, info = env.step("1" * (MAX_ACTION + 1))
    assert "longer than 100000" in observation and not info["valid_action"]


def test_options_rule_over_the_constructor() -> None:
    env = Counter(split="test", difficulty=3)
    env.reset(seed=5)
    assert split_of(env.task.id) == "test" and env.task.difficulty == 3
    env.reset(seed=5, options={"split": "train", "difficulty": 4})
    assert split_of(env.task.id) == "train" and env.task.difficulty == 4
    env.reset(seed=5)
    assert split_of(env.task.id) == "test" and env.task.difficulty == 3


def test_a_task_can_be_given() -> None:
    task = Task("mine", "my own count", "3", 3)
    env = Counter()
    assert env.reset(options={"task": task})[0] == "my own count"
    assert env.task is task
    env.reset(seed=1, options={"task": None})
    assert env.task is not task


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Counter(difficulty=1), "difficulty must be an int from 2 to 4, got 1"),
        (lambda: Counter(difficulty=True), "got True"),
        (lambda: Counter(difficulty="3"), "got '3'"),  # type: ignore[arg-type]
        (lambda: Counter(split="tets"), "Did you mean 'test'"),  # type: ignore[arg-type]
        (lambda: Counter(max_turns=0), "max_turns must be at least 1, got 0"),
        (lambda: Counter(render_mode="human"), "no render mode is called 'human'"),
        (lambda: Counter().reset(options={"dificulty": 3}), "Did you mean 'difficulty'"),
        (lambda: Counter().reset(options={"difficulty": 9}), "got 9"),
        (lambda: Counter().reset(options={"difficulty": 2.5}), "got 2.5"),
        (lambda: Counter().reset(options={"split": 3}), "no split is called '3'"),
        (lambda: Counter().reset(options={"task": "from 3"}), "a Task, got str"),
    ],
)
def test_wrong_arguments(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


def test_a_space_without_tasks_of_a_split_is_an_error_not_a_loop() -> None:
    class One(Counter):
        def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
            return Task("the only one", "count", "3", difficulty)

    other = "train" if split_of("the only one") == "test" else "test"
    with pytest.raises(ConfigError, match="too few tasks exist"):
        One(split=other).reset(seed=1)


def test_forks_go_their_own_way() -> None:
    env = Counter()
    env.reset(seed=3)
    env.step("1")
    twin = env.fork()
    assert twin.step("2")[0] == "2"
    assert (env.count, twin.count, env.turn, twin.turn) == (1, 2, 1, 2)
    assert twin.task is env.task and twin.spec is env.spec
    assert twin.np_random is not env.np_random
    assert twin.np_random.random() == env.np_random.random()


def test_reset_without_a_seed_continues_the_stream() -> None:
    env, other = Counter(), Counter()
    first = [env.reset(seed=9) and env.task.id, env.reset() and env.task.id]
    second = [other.reset(seed=9) and other.task.id, other.reset() and other.task.id]
    assert first == second and first[0] != first[1]


@given(st.text())
def test_the_split_is_a_function_of_the_id(task_id: str) -> None:
    assert split_of(task_id) in ("train", "test")
    assert split_of(task_id) == split_of(task_id)


def test_splits_do_not_move_between_releases() -> None:
    """A change here would move tasks that people trained on into the test split."""
    assert [i for i in range(8) if split_of(f"task {i}") == "test"] == [4, 6]


def test_unknown_names_are_both_config_and_lookup_errors() -> None:
    with pytest.raises(LookupError):
        Counter(split="dev")  # type: ignore[arg-type]
    assert issubclass(UnknownName, ConfigError)
