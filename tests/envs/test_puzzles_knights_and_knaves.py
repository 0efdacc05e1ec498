"""turnwise/KnightsAndKnaves-v0: what islanders say, and that the expert always finds out."""

from itertools import product

import numpy as np
import pytest

from turnwise.envs.puzzles.knights_and_knaves import LEVELS, KnightsAndKnaves, holds, worlds
from turnwise.errors import ConfigError
from turnwise.types import Task

PEOPLE = {
    "people": ["Ann", "Bob", "Cid"],
    "knights": [True, False, False],
    "statements": [[0, ["unlike", 1, 0]], [2, ["knight", 1]]],
}
TASK = Task("knights_and_knaves/test", "Who?", "Ann", 1, PEOPLE)


@pytest.mark.parametrize(
    ("claim", "true_of"),
    [
        (["knight", 0], {(True, True), (True, False)}),
        (["knave", 1], {(True, False), (False, False)}),
        (["alike", 0, 1], {(True, True), (False, False)}),
        (["unlike", 0, 1], {(True, False), (False, True)}),
        (["and", ["knight", 0], ["knave", 1]], {(True, False)}),
        (["or", ["knight", 0], ["knave", 1]], {(True, True), (True, False), (False, False)}),
    ],
)
def test_claims_by_hand(claim: list, true_of: set) -> None:
    assert {pair for pair in product((True, False), repeat=2) if holds(claim, pair)} == true_of


def test_worlds_have_one_of_each() -> None:
    assert worlds(3).tolist() == [list(w) for w in sorted(map(tuple, worlds(3).tolist()), key=lambda w: (w[2], w[1], w[0]))]
    assert len(worlds(5)) == 30 and all(0 < row.sum() < 5 for row in worlds(5))


def test_an_episode() -> None:
    env = KnightsAndKnaves()
    first, _ = env.reset(options={"task": TASK})
    assert first.endswith("\n\nIslanders: Ann, Bob, Cid.\nAnn: Bob and Ann are unlike.\nCid: Bob is a knight.")
    assert env.step("ask Bob: Cid is a knight")[0] == "Bob: yes."  # a lie
    assert env.step("Ask ann: bob and Cid are alike?")[0] == "Ann: yes."  # the truth
    assert env.render().endswith("\nBob: Cid is a knight? yes\nAnn: Bob and Cid are alike? yes")
    observation, reward, terminated, _, info = env.step("I think <answer>ann</answer>")
    assert (observation, reward, terminated, info["outcome"]) == ("Right.", 1.0, True, 1.0)


@pytest.mark.parametrize("answer", ["Ann, Bob", "Bob", "none", "", "Ann Ann", "everybody", "Ann, Bob, Cid"])
def test_a_wrong_answer_ends_it(answer: str) -> None:
    env = KnightsAndKnaves()
    env.reset(options={"task": TASK})
    observation, reward, terminated, _, info = env.step(f"<answer>{answer}</answer>")
    assert (reward, terminated, info["outcome"]) == (0.0, True, 0.0) and observation.startswith("Wrong")


@pytest.mark.parametrize(
    "reply", ["", "Who is it?", "ask Ann", "ask Zoe: Bob is a knight", "ask Ann: Zoe is a knave", "<answer>Ann", "\ud800"]
)
def test_what_is_no_question_takes_a_turn(reply: str) -> None:
    env = KnightsAndKnaves()
    env.reset(options={"task": TASK})
    ends = [env.step(reply) for _ in range(4)]
    assert [end[2:4] for end in ends] == [(False, False)] * 3 + [(False, True)]
    assert not any(end[4]["valid_action"] for end in ends) and len(ends[0][0]) < 250


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_finds_out_with_few_questions(level: int) -> None:
    """By brute force: as many possibilities as the level says, and in the end one agrees with all that was said."""
    count, low, high, questions = LEVELS[level]
    env = KnightsAndKnaves(difficulty=level)
    for seed in range(15):
        env.reset(seed=seed)
        every = [w for w in product((True, False), repeat=count) if 0 < sum(w) < count]
        left = [w for w in every if all(holds(claim, w) == w[who] for who, claim in env._statements)]
        assert low <= len(left) <= high and env._knights in left
        total = 0.0
        while env._playing:
            total += env.step(env.expert_action())[1]
        assert total == 1.0 and env.turn <= questions + 1
        assert [w for w in left if all((holds(claim, w) == w[who]) == yes for who, claim, yes in env._asked)] == [env._knights]


@pytest.mark.parametrize(
    "wrong",
    [{"people": None}, {"knights": [True] * 3}, {"statements": [[0, ["knight", 1]]]}, {"statements": [[0, ["sings", 1]]]}],
)
def test_foreign_tasks_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="KnightsAndKnaves: task"):
        KnightsAndKnaves().reset(options={"task": Task("kk/x", "p", "", 1, {**PEOPLE, **wrong})})


def test_the_picture() -> None:
    env = KnightsAndKnaves(render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (5 * 32, 4 * 32, 3) and before.dtype == np.uint8
    env.step(env.expert_action())
    assert (env.render() != before).any()
