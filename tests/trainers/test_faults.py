"""Faults of public releases that no single method's tests pin, and the list of where all the others are pinned."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from turnwise.agents.engines.scripted import ScriptedEngine
from turnwise.trainers.advantages.gigpo import GiGPO
from turnwise.trainers.batch import collate
from turnwise.trainers.losses.clip_balanced import ClipBalanced
from turnwise.trainers.rewards.overlong import Overlong
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.testing import check_shaper, make_group, make_trajectory
from turnwise.types import Group, Task

ROOT = Path(__file__).parents[2]
TASK = Task("a", "", "", 0)


def test_fault_8_what_is_clipped_keeps_its_gradient_whatever_its_entropy():
    """A re-implementation of AEPO keeps the gradient of low-entropy tokens alone; the paper means the others."""
    batch = collate([make_group("a", [1.0], [0.0])]).to(torch.float64)
    for entropies in (
        torch.zeros_like(batch.entropies),
        5.0 * batch.mask,
        torch.linspace(0, 5, batch.mask.numel()).reshape(2, -1),
    ):
        logprobs = (batch.logprobs + 1.0 * batch.mask).requires_grad_()  # a ratio of e
        loss = ClipBalanced()(logprobs, batch.mask.double(), replace(batch, entropies=entropies))
        (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
        assert gradient[batch.mask].tolist() == pytest.approx([-1.28] * int(batch.mask.sum()))


@pytest.mark.parametrize(("tokens", "cost"), [(1, 0.0), (16384, 0.0), (18432, -0.5), (20480, -1.0), (22528, -1.0), (40960, -1.0)])
def test_fault_9_the_penalty_for_length_has_an_end(tokens: int, cost: float):
    """verl's goes on falling beyond the limit: -1.5 at 22528."""
    group = Group(TASK, (make_trajectory(TASK, [0.25, 1.0], tokens=[0, tokens], context=9),))
    ((row,),) = ([t.turns for t in g.trajectories] for g in asyncio.run(Overlong()([group], Scene(engine=ScriptedEngine([])))))
    assert [turn.reward for turn in row] == pytest.approx([0.25, 1.0 + cost])
    assert row[1].reward_terms["overlong"] == pytest.approx(cost)


def test_the_penalty_for_length_counts_what_the_policy_said_and_is_a_shaper_like_all():
    check_shaper(Overlong(limit=4, buffer=2))
    given = make_trajectory(TASK, [0.0], tokens=90)
    assert given.leaf is not None
    group = Group(TASK, (make_trajectory(TASK, [1.0], tokens=10, after=replace(given.leaf, given=True)),))
    (after,) = asyncio.run(Overlong(limit=20, buffer=20, penalty=2.0)([group], Scene(engine=ScriptedEngine([]))))
    assert after.trajectories[0].reward == pytest.approx(1.0 - 2.0 * 10 / 20)


def test_fault_10_a_state_is_worth_what_comes_after_it_however_late_it_is_reached():
    """AgentPRM discounts from the start of the episode: the same state and future would be worth less the later it comes."""
    early = make_trajectory(TASK, [0.0, 1.0], observations=["A", "B"])
    late = make_trajectory(TASK, [0.0, 0.0, 1.0], observations=["C", "A", "B"])
    batch = collate([Group(TASK, (early, late))]).to(torch.float64)
    assert batch.returns_to_go(0.5).tolist() == [[0.5, 1.0, 0.0], [0.25, 0.5, 1.0]]
    assert not GiGPO(gamma=0.5)(batch).any() and not GiGPO(gamma=0.5, leave_one_out=False)(batch).any()


def test_every_fault_that_the_page_lists_has_its_test():
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| .* \| `(tests/[\w/]+\.py)::(\w+)` \|$", page, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == sorted(int(number) for number, *_ in rows)
    assert {int(number) for number, *_ in rows} == set(range(1, 13))
    for _, file, name in rows:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {name}"
