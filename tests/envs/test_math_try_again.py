"""TryAgain: the rewards of UFO by its own worked numbers, every source, data sets."""

import json
from pathlib import Path
from typing import Any

import pytest

from turnwise.envs import Task
from turnwise.envs.core import split_of
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


THREE = Task("by-hand", "What is 6 times 7?", "42", 1, {"more": [["And 6 times 8?", "48"], ["And 6 times 9?", "54"]]})


@pytest.mark.parametrize(
    ("answers", "rewards", "outcome"),
    [
        (["42", "48", "54"], [1 / 3] * 3, 1.0),
        (["41", "42", "48", "", "53", "54"], [0, 1 / 6, 1 / 3, 0, 0, 1 / 6], 1.0),
        (["1", "2", "48", "54"], [0, 0, 1 / 3, 1 / 3], 2 / 3),  # the first one given up, and on
        (["42", "42", "42", "42", "42"], [1 / 3, 0, 0, 0, -0.5 * 2 / 5], 1 / 3),  # the same words, to three questions
    ],
)
def test_several_questions_share_the_reward(answers: list[str], rewards: list[float], outcome: float) -> None:
    env = TryAgain(attempts=2)
    question, _ = env.reset(seed=0, options={"task": THREE})
    assert question.startswith("3 questions, one after the other, each with its own attempts.\n\nQuestion 1: What is 6 times 7?")
    assert "48" not in question and "times 8" not in question
    earned, over, info, observation = list[float](), False, {"outcome": 0.0}, ""
    for answer in answers:
        assert not over
        observation, reward, over, truncated, info = env.step(f"<answer>{answer}</answer>" if answer else "")
        earned.append(reward)
        assert not truncated
        done = observation.startswith(("Correct.", "That was the last attempt."))
        assert over or ("\n\nQuestion " in observation) == done
    assert over and earned == pytest.approx(rewards) and info["outcome"] == pytest.approx(outcome)


def test_questions_grow_with_the_level_and_keep_to_their_split() -> None:
    env, one = TryAgain(), TryAgain(questions=1)
    for level in env.levels:
        for split in ("train", "test"):
            env.reset(seed=level, options={"difficulty": level, "split": split})
            more = env.task.metadata.get("more", [])
            assert len(more) == level - 1 and split_of(env.task.id) == split
            assert len({env.task.prompt, *(question for question, _ in more)}) == level
            one.reset(seed=level, options={"difficulty": level, "split": split})
            assert one.task.prompt == env.task.prompt and "more" not in one.task.metadata


@pytest.mark.parametrize("source", ["calculation", "tools"])
def test_sources_keep_the_contract(source: Any) -> None:
    report = check_turn_env(lambda: TryAgain(source=source), tasks=12, distinct=600)
    assert max(report.probes.values()) <= 0.02


@pytest.mark.parametrize("options", [{"attempts": 0}, {"questions": 0}, {"questions": 101}, {"decay": 2.0}, {"repetition": -1.0}])
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
    with pytest.raises(ConfigError, match="a task of a data set is one question"):
        TryAgain(data=rows(tmp_path), questions=2)
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
