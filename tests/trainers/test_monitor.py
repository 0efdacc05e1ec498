"""Metrics of scripted rollouts, and each alarm on a scripted run that deserves it."""

import math

import pytest
import torch

from turnwise.errors import ShapeError
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.batch import collate
from turnwise.trainers.monitor import Thresholds, advantage_metrics, alarms, group_metrics, ratio_metrics
from turnwise.trainers.testing import make_group, make_trajectory
from turnwise.types import Group, Stop, Task

A, B = Task("a", "", "", 0), Task("b", "", "", 0)


def test_group_metrics_count_what_happened():
    groups = [
        Group(A, (make_trajectory(A, [0.0, 1.0], outcome=1.0), make_trajectory(A, [0.0], stop=Stop.TRUNCATED, tokens=5))),
        Group(
            B, (make_trajectory(B, [0.5]), make_trajectory(B, [0.5], stop=Stop.TOKENS), make_trajectory(B, [9.0], failure="env"))
        ),
        Group(A, (make_trajectory(A, [0.0], valid=False, stop_reason="length"), make_trajectory(A, [], failure="engine"))),
        Group(B, (make_trajectory(B, [], failure="env"),)),
    ]
    m = group_metrics(groups)
    assert (m["groups"], m["trajectories"], m["survivors"]) == (4, 8, 5)
    assert (m["groups_empty"], m["groups_of_one"], m["groups_zero_variance"]) == (0.25, 0.25, 0.5)
    assert (m["failures"], m["failures/env"], m["failures/engine"]) == (3 / 8, 2, 1)
    assert m["reward"] == pytest.approx(2 / 5) and m["success"] == pytest.approx(1 / 5)
    assert m["reward_std"] == pytest.approx(math.sqrt(0.5) / 2)
    assert m["turns"] == pytest.approx(6 / 5) and m["tokens"] == pytest.approx((4 + 5 + 2 + 2 + 2) / 5)
    assert m["truncated_turns"] == m["truncated_tokens"] == pytest.approx(1 / 5)
    assert m["invalid_actions"] == m["replies_cut"] == pytest.approx(1 / 6)


def test_nothing_at_all_is_measured_without_a_crash():
    for groups in ([], [Group(A, (make_trajectory(A, [], failure="env"),))]):
        assert all(math.isfinite(v) for v in group_metrics(groups).values())
    batch = collate([Group(A, (make_trajectory(A, [], failure="env"),))])
    assert advantage_metrics(batch, torch.zeros(batch.tokens.shape))["advantage_zero"] == 1
    assert ratio_metrics(batch.logprobs, batch) == {}


def test_repeated_actions_and_shared_turns():
    circle = make_trajectory(A, [0.0] * 4, replies=["up", "down", "up", "up"])
    assert group_metrics([Group(A, (circle,))])["repeated_actions"] == pytest.approx(2 / 3)
    fork = make_trajectory(A, [0.0], after=circle.leaf, replies=["left"])
    assert group_metrics([Group(A, (circle, fork))])["repeated_actions"] == pytest.approx(2 / 4)  # the stem counts once


def replies(said):
    """Two groups of two one-turn trajectories; `said(task, i)` is the reply."""
    return [Group(t, tuple(make_trajectory(t, [0.0], replies=[said(t, i)]) for i in range(2))) for t in (A, B)]


def test_action_information_is_how_much_replies_depend_on_the_task():
    assert group_metrics(replies(lambda t, i: "the same"))["action_information"] == pytest.approx(0)
    assert group_metrics(replies(lambda t, i: f"{i}"))["action_information"] == pytest.approx(0)
    assert group_metrics(replies(lambda t, i: t.id))["action_information"] == pytest.approx(math.log(2))


def test_advantage_metrics():
    batch = collate([make_group("a", [1.0], [0.0]), make_group("b", [1.0], [1.0])])
    m = advantage_metrics(batch, GRPO()(batch))
    assert m == pytest.approx(
        {"advantage_mean": 0, "advantage_std": 0.5, "advantage_max": 0.7071, "advantage_zero": 0.5}, abs=1e-4
    )
    with pytest.raises(ShapeError, match="advantage_metrics"):
        advantage_metrics(batch, torch.zeros(4))


def test_ratio_metrics_of_three_rows_one_failed():
    """Ratios 1, 3, 1 | 0.4, 1 | four of 1.2: per-row k3 of .300463, .158145, .017678."""
    ratios = [[1.0, 3.0, 1.0], [0.4, 1.0], [1.2] * 4]
    trajectories = [make_trajectory(A, [0.0], tokens=len(r)) for r in ratios]
    batch = collate([Group(A, (*trajectories, make_trajectory(A, [0.0], failure="env")))])
    logprobs = batch.logprobs.clone()
    for row, values in enumerate(ratios):
        logprobs[row][batch.mask[row]] += torch.tensor(values).log()
    logprobs[3] = 100.0
    m = ratio_metrics(logprobs, batch)
    assert m["kl_engine"] == pytest.approx((3 * 0.30046257 + 2 * 0.158145366 + 4 * 0.017678443) / 9, abs=1e-6)
    assert m["ratio_mean"] == pytest.approx(11.2 / 9) and m["ratio_max"] == pytest.approx(3)
    assert m["ratio_clipped"] == pytest.approx(2 / 9) and m["logprob_gap"] == pytest.approx(math.log(3))
    assert m["ess"] == pytest.approx(11.2**2 / (9 * (3 + 9 + 0.16 + 4 * 1.44)))
    exact = ratio_metrics(batch.logprobs, batch)
    assert (exact["ratio_mean"], exact["kl_engine"], exact["ess"]) == (1, 0, pytest.approx(1))


HEALTHY = {
    "success": 0.4,
    "entropy": 0.5,
    "action_information": 1.0,
    "ess": 0.99,
    "kl_engine": 1e-4,
    "groups_zero_variance": 0.3,
    "loss": 0.1,
}
TRENDS = [
    ({"groups_zero_variance": 0.95}, "too hard"),
    ({"groups_zero_variance": 0.95, "success": 0.97}, "too easy"),
    ({"groups_of_one": 0.5}, "groups_of_one: 0.5"),
    ({"entropy": 0.01}, "entropy collapse: 0.01"),
    ({"entropy": 9.0}, "entropy explosion: 9"),
    ({"action_information": 0.01}, "the same whatever the task"),
    ({"success": 0.1}, "training undid itself"),
    ({"ratio_clipped": 0.4}, "ratio_clipped: 0.4"),
    ({"ess": 0.2}, "ess: 0.2"),
    ({"repeated_actions": 0.8}, "runs in circles"),
    ({"truncated_turns": 0.9}, "turn limit"),
    ({"truncated_tokens": 0.4}, "context limit"),
    ({"replies_cut": 0.5}, "max_new_tokens"),
    ({"invalid_actions": 0.6}, "cannot parse"),
]
AT_ONCE = [({"loss": math.nan}, "loss: not finite"), ({"kl_engine": 0.5}, "mask"), ({"failures": 0.5}, "infrastructure")]


def run(steps, thresholds=None):
    """The alarms of every step of a run, as a training loop would hear them."""
    return [alarms(steps[:i], step, *([thresholds] if thresholds else [])) for i, step in enumerate(steps)]


def test_a_healthy_run_is_silent():
    assert run([HEALTHY] * 30) == [[]] * 30
    assert run([{}] * 5) == [[]] * 5
    falling = [HEALTHY | {"entropy": 0.5 * 0.9**i, "success": min(1.0, 0.3 + 0.04 * i)} for i in range(40)]
    assert run(falling) == [[]] * 40  # entropy falls to 0.008 because the tasks are solved


@pytest.mark.parametrize(("symptom", "says"), TRENDS)
def test_a_trend_sounds_once_when_it_has_lasted(symptom, says):
    heard = run([HEALTHY] * 5 + [HEALTHY | symptom] * 6)
    assert [len(messages) for messages in heard] == [0] * 7 + [1] + [0] * 3
    assert says in heard[7][0]


@pytest.mark.parametrize(("symptom", "says"), AT_ONCE)
def test_what_is_broken_sounds_at_once_and_again_after_a_pause(symptom, says):
    heard = run([HEALTHY] * 2 + [HEALTHY | symptom] * 2 + [HEALTHY] + [HEALTHY | symptom])
    assert [len(messages) for messages in heard] == [0, 0, 1, 0, 0, 1]
    assert says in heard[2][0]


@pytest.mark.parametrize(("symptom", "says"), TRENDS)
def test_a_short_spell_is_no_trend(symptom, says):
    assert run([HEALTHY] * 5 + [HEALTHY | symptom] * 2 + [HEALTHY] * 3) == [[]] * 10


def test_thresholds_are_settings():
    steps = [HEALTHY | {"repeated_actions": 0.3}] * 2
    assert run(steps) == [[], []]
    assert "0.3" in run(steps, Thresholds(patience=1, repeated_actions=0.2))[0][0]


def test_the_echo_trap_is_heard_from_the_rollouts_themselves():
    """Rollouts that settle on one phrase for every task: information, variance and repetition tell, three steps in."""
    lively = [make_two_turns(t, [f"{t.id}{i}", f"{t.id}{i}!"], reward=float(i)) for t in (A, B) for i in range(2)]
    stuck = [make_two_turns(t, ["go on", "go on"], reward=0.0) for t in (A, B) for _ in range(2)]
    steps = [group_metrics(pairs(lively))] * 5 + [group_metrics(pairs(stuck))] * 3
    heard = run(steps)
    assert heard[:7] == [[]] * 7
    assert {message.partition(":")[0] for message in heard[7]} == {
        "groups_zero_variance",
        "action_information",
        "repeated_actions",
    }


def make_two_turns(task, said, reward):
    return make_trajectory(task, [0.0, reward], replies=said)


def pairs(trajectories):
    return [Group(trajectories[0].task, tuple(trajectories[:2])), Group(trajectories[2].task, tuple(trajectories[2:]))]
