"""TryAgain: the rewards of UFO by its own worked numbers, every source, data sets."""

import json
from pathlib import Path
from typing import Any

import pytest

from turnwise.envs import Task
from turnwise.envs.math.try_again import TryAgain
from turnwise.envs.testing import check_turn_env
from turnwise.errors import ConfigError, UnknownName

TASK = Task("by-hand", "What is 6 times 7?", "42", 1)


def played(answers: list[str], **options: Any) -> tuple[list[float], str, bool, bool]:
    """(rewards, last observation, terminated, truncated) of these answers."""
    env = TryAgain(**options)
    env.reset(seed=0, options={"task": TASK})
    rewards, observation, over = [], "", [False, False]
    for answer in answers:
        assert not any(over)
        observation, reward, *over, info = env.step(f"<answer>{answer}</answer>" if answer else "")
        assert sum(info["reward_terms"].values()) == pytest.approx(reward)
        assert set(info["reward_terms"]) == {"answer", "repetition"}
        rewards.append(reward)
    return rewards, observation, over[0], over[1]


@pytest.mark.parametrize(
    ("answers", "total"),
    [
        (["42"], 1.0),
        (["7", "42"], 0.5),
        (["7", "7", "42"], 0.25 - 0.5 / 3),
        (["7"] * 5, -0.4),
        (["1", "2", "3", "4", "42"], 0.0625),
        (["", "42"], 1.0),
        (["1", "2", "3", "4", "5"], 0.0),
        (["7", " 7 ", "8", "9", "10"], -0.1),
    ],
)
def test_worked_numbers_of_the_paper(answers: list[str], total: float) -> None:
    rewards, observation, terminated, truncated = played(answers)
    assert sum(rewards) == pytest.approx(total)
    assert (terminated, truncated) == (True, False)
    assert observation == ("Correct." if answers[-1] == "42" else "That was the last attempt.")


def test_repetition_costs_at_the_turn_limit_too() -> None:
    rewards, _, terminated, truncated = played(["7", "7", ""], max_turns=3)
    assert rewards == pytest.approx([0.0, 0.0, -0.25])
    assert (terminated, truncated) == (False, True)
    rewards, _, _, truncated = played(["7", "", "7"], max_turns=3)
    assert rewards == pytest.approx([0.0, 0.0, -0.25]) and truncated


def test_feedback_says_nothing_else() -> None:
    env = TryAgain()
    assert env.reset(seed=0, options={"task": TASK})[0].endswith(
        "Reply <answer>...</answer> with your answer. You have 5 attempts."
    )
    assert env.step("<answer>41</answer>")[0] == "Try again."
    assert env.step("so it is 42")[0] == "No answer was found; reply <answer>...</answer>."
    assert env.step("so it is \\boxed{42}")[:3] == ("Correct.", 0.5, True)
    assert "> <answer>41</answer>\nTry again." in env.render()


def test_one_attempt_is_the_plain_benchmark() -> None:
    assert played(["7"], attempts=1)[1:3] == ("That was the last attempt.", True)
    assert played(["7", "42"], decay=1.0, repetition=0.0)[0] == [0.0, 1.0]


@pytest.mark.parametrize("source", ["calculation", "tools"])
def test_sources_keep_the_contract(source: Any) -> None:
    report = check_turn_env(lambda: TryAgain(source=source), tasks=12, distinct=600)
    assert max(report.probes.values()) <= 0.02


@pytest.mark.parametrize("options", [{"attempts": 0}, {"decay": 2.0}, {"repetition": -1.0}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="TryAgain: "):
        TryAgain(**options)


def test_unknown_source() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'tools'"):
        TryAgain(source="tool")  # pyright: ignore[reportArgumentType]


def rows(tmp_path: Path) -> str:
    """A small file in the format of MATH-500."""
    file = tmp_path / "ours.jsonl"
    questions = [
        {"problem": f"Expand $(x+{n})^2$.", "answer": f"x^2+{2 * n}x+{n * n}", "level": 1 + n % 5, "unique_id": f"ours/{n}"}
        for n in range(2, 42)
    ]
    file.write_text("\n".join(json.dumps(row) for row in questions))
    return str(file)


def test_questions_of_a_data_set(tmp_path: Path) -> None:
    env = TryAgain(data=rows(tmp_path), attempts=1)
    found = set()
    for seed in range(60):
        question, _ = env.reset(seed=seed)
        found.add(env.task.difficulty)
        n = question[len("Expand $(x+") :].split(")")[0]
        if seed % 2:
            assert env.step(f"<answer>x^2+{n}^2+2*{n}*x</answer>")[1] == 1.0
        else:
            assert env.step(f"<answer>(x+{n})^2</answer>")[1] == 0.0  # the question itself
    assert found == {1, 2, 3, 4, 5}
    env.reset(seed=0, options={"difficulty": 4})
    assert env.task.difficulty == 4
    with pytest.raises(ConfigError, match=r"no train question of level 6 among its 40; .*data_split='train'"):
        env.reset(options={"difficulty": 6})


def test_a_data_set_keeps_the_contract(tmp_path: Path) -> None:
    path = rows(tmp_path)
    few = [
        "replays",
        "tasks_replay",
        "forks_continue_equally",
        "survives_hostile_actions",
        "returns_right_types",
        "expert_solves",
    ]
    check_turn_env(lambda: TryAgain(data=path), tasks=3, levels=[1, 3, 5], rules=few)
