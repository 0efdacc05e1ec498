"""The records, by a tree of three turns: root -> (left, right)."""

import copy
import dataclasses

import pytest

from turnwise.types import Failure, Group, Stop, Task, Trajectory, Turn

TASK = Task("t", "p", "a", 1)


def turn(
    parent: Turn | None, context: tuple[int, ...], action: tuple[int, ...], reward: float = 0.0, outcome: float = 0.0
) -> Turn:
    return Turn(
        observation=f"o{context}",
        context_ids=context,
        action="a",
        action_ids=action,
        logprobs=(-1.0,) * len(action),
        entropies=(),
        reward=reward,
        reward_terms={},
        outcome=outcome,
        valid=True,
        tool_calls=0,
        stop_reason="stop",
        version=0,
        duration_s=0.0,
        parent=parent,
    )


ROOT = turn(None, (1, 2), (3,), 0.5)
LEFT = turn(ROOT, (4,), (5, 6), 1.0, 1.0)
RIGHT = turn(ROOT, (4,), (7,), -1.0)


def trajectory(leaf: Turn | None, failure: Failure | None = None) -> Trajectory:
    return Trajectory(TASK, "env", 0, leaf, Stop.FAILED if failure else Stop.TERMINATED, failure)


def test_a_trajectory_is_the_path_to_its_leaf() -> None:
    t = trajectory(LEFT)
    assert t.turns == (ROOT, LEFT)
    assert t.ids == (1, 2, 3, 4, 5, 6)
    assert t.turn_of_token == (-1, -1, 0, -1, 1, 1)
    assert (t.reward, t.outcome, t.failed) == (1.5, 1.0, False)


def test_a_failure_before_the_first_reply() -> None:
    t = trajectory(None, Failure("env", "no docker"))
    assert (t.turns, t.ids, t.turn_of_token, t.reward, t.outcome, t.failed) == ((), (), (), 0, 0.0, True)


def test_a_group_yields_each_turn_once_parents_first() -> None:
    group = Group(TASK, (trajectory(LEFT), trajectory(RIGHT), trajectory(ROOT, Failure("timeout", ""))))
    assert list(group.nodes()) == [(ROOT, (0, 1, 2)), (LEFT, (0,)), (RIGHT, (1,))]
    assert group.survivors == group.trajectories[:2]


def test_turns_are_compared_by_identity_and_states_by_observation() -> None:
    twin = turn(ROOT, (4,), (5, 6), 1.0, 1.0)
    assert twin != LEFT and twin.state == LEFT.state == RIGHT.state != ROOT.state
    assert turn(None, (), ()).path()[0].state
    assert dataclasses.replace(ROOT, observation="\ud800").state


@pytest.mark.parametrize("record", [TASK, ROOT, trajectory(LEFT), Group(TASK, ()), Failure("a", "b")])
def test_records_are_frozen(record: object) -> None:
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        record.task = record  # type: ignore[attr-defined]


def test_forks_share_tasks() -> None:
    assert copy.deepcopy(TASK) is TASK and copy.deepcopy([TASK])[0] is TASK
