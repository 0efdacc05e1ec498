"""Meta-reasoning: what each tag is paid for, the estimator that compares turns of a tag, and demonstrations with tags."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from turnwise.agents.agent import ExpertAgent
from turnwise.agents.engines.scripted import ScriptedEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds, play_all
from turnwise.trainers.advantages.rlvmr import RLVMR
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.rewards.meta_reasoning import MetaReasoning
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.tagged import Tagged
from turnwise.trainers.testing import check_advantage, make_trajectory
from turnwise.types import Group, Task, Trajectory

TASK = Task("a", "", "", 0)
SCENE = Scene(engine=ScriptedEngine([]))


def said(tags: Sequence[str], observations: Sequence[str] = (), final: str = "end", **more: Any) -> Trajectory:
    replies = [f"<{tag}>so</{tag}> go" if tag else "go" for tag in tags]
    made = make_trajectory(TASK, [0.0] * len(tags), replies=replies, observations=observations, **more)
    return replace(made, final=final)


def rewarded(*trajectories: Trajectory, shaper: MetaReasoning = MetaReasoning()) -> list[list[dict[str, float]]]:  # noqa: B008
    (group,) = asyncio.run(shaper([Group(TASK, trajectories)], SCENE))
    meta = [[{n: v for n, v in u.reward_terms.items() if n.startswith("meta_")} for u in t.turns] for t in group.trajectories]
    assert all(t.failed or all(len(terms) == 1 for terms in turns) for t, turns in zip(trajectories, meta, strict=True))
    return meta


# --- the rules ----------------------------------------------------------------------------------------------------------


def test_a_plan_is_judged_by_the_end():
    won, lost = rewarded(said(["planning", "monitor"], outcome=1.0), said(["planning", "monitor"], outcome=0.5))
    assert won == [{"meta_planning": 1.0}, {"meta_monitor": 0.0}]
    assert lost == [{"meta_planning": 0.0}, {"meta_monitor": 0.0}]


def test_a_shared_plan_is_judged_by_all_that_came_of_it():
    trunk = said(["planning"])
    ends = [make_trajectory(TASK, [0.0], after=trunk.leaf, outcome=o) for o in (1.0, 0.0, 0.0, 1.0)]
    broken = make_trajectory(TASK, [0.0], after=trunk.leaf, outcome=0.0, failure="env")
    assert rewarded(*ends, broken)[0][0] == {"meta_planning": 0.5}


def test_exploring_pays_for_what_is_new_in_the_trajectory():
    observations = ["start", "room", "start", "room", "cellar"]
    (terms,) = rewarded(said(["explore"] * 5, observations, final="room"))
    assert [t["meta_explore"] for t in terms] == [1.0, 0.0, 0.0, 1.0, 0.0]


def test_an_invalid_reply_explores_nothing():
    (terms,) = rewarded(said(["explore"], final="what?", valid=False))
    assert terms == [{"meta_explore": 0.0}]


def test_reflection_pays_for_coming_out_of_a_failure():
    observations = ["start", "room", "room", "hall", "attic"]
    (terms,) = rewarded(said(["reflection"] * 5, observations))
    assert [t["meta_reflection"] for t in terms] == [0.0, 0.0, 1.0, 0.0, 0.0], "the second reached nothing, the third did"


def test_reflection_after_an_invalid_reply():
    made = said(["explore", "reflection"], ["start", "cannot parse that"])
    assert made.leaf is not None and made.leaf.parent is not None
    made = replace(made, leaf=replace(made.leaf, parent=replace(made.leaf.parent, valid=False)))
    assert rewarded(made)[0] == [{"meta_explore": 0.0}, {"meta_reflection": 1.0}]


@pytest.mark.parametrize(
    ("reply", "term", "well_formed"),
    [
        ("<explore>x</explore> go", "explore", True),
        ("\n <explore></explore>go", "explore", True),
        ("<explore>x</explore>", "explore", False),
        ("<explore>x</explore>  \n", "explore", False),
        ("<explore>x go", "explore", False),
        ("<explore>x</planning> go", "explore", False),
        ("<explore>x</explore><planning>y</planning> go", "explore", False),
        ("<explore>x<explore>y</explore></explore> go", "explore", False),
        ("go <explore>x</explore>", "none", False),
        ("<action>go</action>", "none", False),
        ("<exploring>x</exploring> go", "none", False),
        ("", "none", False),
    ],
)
def test_the_form_of_a_thought(reply: str, term: str, well_formed: bool):
    (terms,) = rewarded(replace(make_trajectory(TASK, [0.0], replies=[reply], observations=["s"]), final="s"))
    assert terms == [{f"meta_{term}": 0.0 if well_formed else -0.1}]


def test_failed_trajectories_earn_nothing():
    assert rewarded(said(["planning"], failure="env", outcome=1.0)) == [[{}]]


# --- the estimator ------------------------------------------------------------------------------------------------------


def batch_of(outcomes: Sequence[float], steps: Sequence[Sequence[tuple[str, float]]]) -> Batch:
    """One group; outcomes come with the last turn, meta rewards on top."""
    made = [
        make_trajectory(
            TASK,
            [r + (won if k == len(own) - 1 else 0.0) for k, (_, r) in enumerate(own)],
            terms=[{f"meta_{tag}": r} for tag, r in own],
        )
        for won, own in zip(outcomes, steps, strict=True)
    ]
    return collate([Group(TASK, tuple(made))]).to(torch.float64)


def per_turn(batch: Batch, advantages: torch.Tensor) -> list[float]:
    return [float(a[t == k][0]) for a, t, n in zip(advantages, batch.turn, batch.turns, strict=True) for k in range(int(n))]


STEPS = [
    [("planning", 1.0), ("explore", 1.0)],
    [("planning", 0.0), ("explore", -0.1)],
    [("explore", 1.0), ("reflection", 1.0)],
    [("reflection", 0.0), ("monitor", 0.0)],
]


def test_rlvmr_oracle():
    batch = batch_of([1.0, 0.0, 1.0, 0.0], STEPS)
    mixed = [0.999998, 0.853551709, -0.999998, -1.207104418, 0.853551709, 0.999998, -0.999998, -0.499999]
    assert per_turn(batch, RLVMR()(batch)) == pytest.approx(mixed, abs=1e-6)
    meta = [0.999998, 0.707105418, -0.999998, -1.414210835, 0.707105418, 0.999998, -0.999998, 0.0]
    assert per_turn(batch, RLVMR(alpha=0.0)(batch)) == pytest.approx(meta, abs=1e-6)
    outcome = [0.999998, 0.999998, -0.999998, -0.999998] * 2
    assert per_turn(batch, RLVMR(alpha=1.0)(batch)) == pytest.approx(outcome, abs=1e-6)


def test_protocol():
    check_advantage(RLVMR())


def test_a_tag_whose_reward_is_zero_is_a_tag():
    """Two turns of the same tag with rewards 0 and 1: the 0 is below the mean, it is not missing."""
    batch = batch_of([0.0, 0.0], [[("planning", 0.0)], [("planning", 1.0)]])
    assert per_turn(batch, RLVMR(alpha=0.0)(batch)) == pytest.approx([-1.0, 1.0], abs=1e-5)


def test_untagged_turns_are_compared_with_all():
    batch = batch_of([0.0, 0.0], [[("none", -0.1), ("explore", 1.0)], [("none", -0.1), ("explore", 1.0)]])
    first, second, *_ = per_turn(batch, RLVMR(alpha=0.0)(batch))
    assert first == pytest.approx(-1.0, abs=1e-5) and second == 0.0, (
        "every turn without a tag is alike, and worse than a tagged one"
    )


def test_the_shaper_feeds_the_estimator():
    won = said(["planning", "explore"], ["start", "room"], outcome=1.0)
    lost = said(["planning", "explore"], ["start", "room"], final="room", outcome=0.0)
    groups = asyncio.run(MetaReasoning()([Group(TASK, (won, lost))], SCENE))
    batch = collate(groups).to(torch.float64)
    assert per_turn(batch, RLVMR()(batch)) == pytest.approx([0.5, 0.5, -0.5, -0.5], abs=1e-5)


# --- demonstrations -----------------------------------------------------------------------------------------------------


def shown(slip: float, env: str = "turnwise/Lookup-v0", **kwargs: Any) -> list[Trajectory]:
    worlds = Worlds(per_env={env: kwargs})
    problems = [(Problem(env, seed, {"split": "train"}), seed) for seed in range(12)]
    return asyncio.run(play_all(worlds, Tagged(ExpertAgent(), slip), problems, limits=Limits()))


@pytest.mark.parametrize("slip", [0.0, 0.5])
def test_tagged_demonstrations_solve_their_tasks_and_earn_their_tags(slip: float):
    played = shown(slip)
    assert all(t.outcome == 1.0 for t in played) or slip
    tags = {tag for t in played for turn in t.turns for tag in [turn.action[1 : turn.action.index(">")]]}
    assert tags == ({"planning", "explore", "monitor", "reflection"} if slip else {"planning", "explore", "monitor"})
    groups = asyncio.run(MetaReasoning()([Group(t.task, (t,)) for t in played], SCENE))
    rewards = [turn.reward_terms for g in groups for t in g.trajectories for turn in t.turns]
    assert all(terms.get("meta_none") is None and min(terms.values()) >= 0 for terms in rewards), "all are well formed"
    if slip:
        recovered = [terms["meta_reflection"] for terms in rewards if "meta_reflection" in terms]
        assert len(recovered) >= 5 and sum(recovered) >= 0.9 * len(recovered)
    assert shown(slip)[0].turns[0].action == played[0].turns[0].action, "the same seeds, the same words"
