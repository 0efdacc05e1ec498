"""Information gain: the worked numbers, real conversations against a plain forward pass, and what breaks."""

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.scripted import ScriptedEngine
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds
from turnwise.errors import ConfigError, EngineFailure, Unsupported
from turnwise.trainers.advantages.igpo import IGPO
from turnwise.trainers.batch import collate
from turnwise.trainers.monitor import group_metrics
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.rewards.information_gain import InformationGain
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.testing import check_shaper, make_group, make_trajectory
from turnwise.types import Group, Task, Trajectory

PLAIN = InformationGain()
WORLD = {"style": "terse", "instructions": False}


def build() -> tuple[Any, ChatTemplate]:
    """A model whose attention matters."""
    model, tokenizer = Scratch(hidden=32, layers=2, heads=4, mlp=48, vocabulary=400, context=1024).build(["who owns it?"], 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.2, generator=generator)
    return model.eval(), ChatTemplate(tokenizer)  # type: ignore[arg-type]


MODEL, TEMPLATE = build()


@pytest.fixture(scope="module")
def played() -> list[Group]:
    """Two look-up tasks, three episodes of several turns each."""
    agent = ModelAgent(TorchEngine(MODEL), TEMPLATE, Sampling(max_tokens=12))
    worlds = Worlds(per_env={"turnwise/Lookup-v0": WORLD})
    pool = LocalPool(worlds, agent, Independent(size=3), limits=Limits())
    return asyncio.run(pool.collect([Problem("turnwise/Lookup-v0", i, {"split": "train"}) for i in range(2)], 0))


def shaped(groups: Sequence[Group], engine: Any = None, shaper: InformationGain = PLAIN, **scene: Any) -> list[Group]:
    setting = {"engine": engine or TorchEngine(MODEL), "template": TEMPLATE, **scene}
    return asyncio.run(shaper(groups, Scene(**setting)))


def turn_starts(trajectory: Trajectory) -> list[int]:
    """Lengths of the conversation at which each turn's first token is sampled."""
    return [t.index(k) for t in [trajectory.turn_of_token] for k in range(len(trajectory.turns))]


def gains(groups: Sequence[Group]) -> list[list[float | None]]:
    return [[turn.reward_terms.get("information_gain") for turn in t.turns] for g in groups for t in g.trajectories]


@torch.no_grad()
def value(ids: Sequence[int], answer: str, prompt: str = "<answer>") -> float:
    """m(s), from a forward pass of its own."""
    state = [*ids, *TEMPLATE.tokenizer.encode(prompt, add_special_tokens=False)]
    wanted = list(TEMPLATE.reply(answer)[:-1])
    logp = MODEL(torch.tensor([[*state, *wanted]])).logits[0].log_softmax(-1)
    at = range(len(state) - 1, len(state) + len(wanted) - 1)
    return float(sum(logp[i, token] for i, token in zip(at, wanted, strict=True))) / len(wanted)


# --- the worked numbers ------------------------------------------------------------------------------------------------


class Worked(ScriptedEngine):
    """Scores from a function of how long the conversation is."""

    def __init__(self, scores: Callable[[int], Sequence[float]], window: int = 10**6) -> None:
        super().__init__([], context_window=window)
        self.scores = scores

    async def score(self, ids: Sequence[int], targets: Sequence[int]) -> list[float]:
        return list(self.scores(len(ids)))


CASES = {
    "igpo.ig.prob": (InformationGain(), [0.1, 0.434846923]),
    "igpo.ig.logprob": (InformationGain(form="log_probability"), [0.405465108, 0.895879735]),
}
LOGPROBS = [[-2.302585093, -0.916290732], [-1.609437912, -0.798507696], [-0.510825624, -0.105360516]]
TASK = Task("asked", "who?", "ab", 0)


@pytest.mark.parametrize("name", CASES)
def test_information_gain_oracle(name: str):
    shaper, expected = CASES[name]
    group = Group(TASK, (make_trajectory(TASK, [0.0, 0.0, 1.0], tokens=2, context=3),))
    prompt = len(TEMPLATE.tokenizer.encode("<answer>", add_special_tokens=False))
    engine = Worked(lambda length: LOGPROBS[(length - prompt - 3) // 5])
    assert gains(shaped([group], engine, shaper)) == [[pytest.approx(expected[0]), pytest.approx(expected[1]), None]]


def test_it_feeds_igpo():
    """The sheet's two rollouts, with separate statistics, from probabilities to advantages."""
    first = make_trajectory(TASK, [0.0, 0.0, 1.0], context=3)
    second = make_trajectory(TASK, [0.0, 0.0], context=4)
    table = {3: (0.1, 0.4), 8: (0.2, 0.45), 13: (0.6, 0.9), 4: (0.1, 0.4), 10: (0.09, 0.36)}
    prompt = len(TEMPLATE.tokenizer.encode("<answer>", add_special_tokens=False))
    engine = Worked(lambda length: [math.log(p) for p in table[length - prompt]])
    batch = collate(shaped([Group(TASK, (first, second))], engine)).to(torch.float64)
    advantages = IGPO()(batch)
    by_turn = [[float(advantages[i][batch.turn[i] == k][0]) for k in range(n)] for i, n in enumerate((3, 2))]
    assert by_turn[0] == pytest.approx([1.995545, 2.367627, 0.999998], abs=1e-5)
    assert by_turn[1] == pytest.approx([-1.995545, -0.999998], abs=1e-5)


def test_protocol():
    check_shaper(InformationGain(), Scene(engine=Worked(lambda length: [-length / 10]), template=TEMPLATE))


# --- real conversations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["probability", "log_probability"])
def test_the_terms_are_those_of_a_plain_forward_pass(played: list[Group], form: Any):
    got = gains(shaped(played, shaper=InformationGain(form=form)))
    for trajectory, terms in zip([t for g in played for t in g.trajectories], got, strict=True):
        means = [value(trajectory.ids[:length], trajectory.task.answer) for length in turn_starts(trajectory)]
        values = [math.exp(m) for m in means] if form == "probability" else means
        assert terms[:-1] == pytest.approx([b - a for a, b in pairwise(values)], abs=1e-5) and terms[-1] is None
        assert max(abs(v) for v in terms[:-1] if v is not None) > 1e-4, "there is something to see"


def test_all_of_a_step_is_one_forward_and_each_conversation_is_computed_once(played: list[Group]):
    engine = TorchEngine(MODEL)
    shaped(played, engine)
    played_all = [t for group in played for t in group.trajectories]
    once, apart = 0, 0
    for trajectory in played_all:
        starts, probe = turn_starts(trajectory), len(TEMPLATE.reply(trajectory.task.answer))  # and one token of the prompt
        once += starts[-1] + probe * len(starts)
        apart += sum(start + probe for start in starts)
    openings = sum(len(group.trajectories[0].turns[0].context_ids) for group in played)
    assert engine.stats.forwards == 1 and sum(len(t.turns) for t in played_all) == 42
    assert engine.stats.scoring_tokens <= once + openings < 0.4 * apart


@pytest.mark.parametrize("form", ["probability", "log_probability"])
def test_the_terms_telescope(played: list[Group], form: Any):
    """Over a trajectory they sum to last minus first state, and with `settle` to minus the first, whatever was done."""
    shaper = InformationGain(form=form)
    for group, plain, settled in zip(
        played, shaped(played, shaper=shaper), shaped(played, shaper=replace(shaper, settle=True)), strict=True
    ):
        for trajectory, got, back in zip(group.trajectories, plain.trajectories, settled.trajectories, strict=True):
            start, end = len(trajectory.turns[0].context_ids), len(trajectory.ids) - len(trajectory.turns[-1].action_ids)
            m = [value(trajectory.ids[:at], trajectory.task.answer) for at in (start, end)]
            first, last = [math.exp(v) for v in m] if form == "probability" else m
            assert got.reward - trajectory.reward == pytest.approx(last - first, abs=1e-5)
            assert back.reward - trajectory.reward == pytest.approx(-first, abs=1e-5)


def test_terms_telescope_exactly_on_numbers_without_rounding():
    group = Group(TASK, (make_trajectory(TASK, [0.0] * 6, tokens=2, context=2),))
    engine = Worked(lambda length: [-((length * 37) % 64) / 8])
    (terms,) = gains(shaped([group], engine, InformationGain(form="log_probability")))
    ends = [engine.scores(length)[0] for length in (3, 23)]
    assert sum(v for v in terms if v is not None) == ends[1] - ends[0]


def test_changes_below_least_wait_until_together_they_are_large_enough():
    means = [-8.0, -7.75, -7.5, -7.0, -7.125]
    group = Group(TASK, (make_trajectory(TASK, [0.0] * 5, tokens=2, context=2),))
    engine = Worked(lambda length: [means[(length - 3) // 4]])
    (terms,) = gains(shaped([group], engine, InformationGain(form="log_probability", least=0.5)))
    assert terms == [0.0, 0.5, 0.5, 0.0, None], "the tremble is no gain, and from -8 to -7 it is 1"


def test_a_gain_of_zero_is_a_gain():
    group = Group(TASK, (make_trajectory(TASK, [0.0, 0.0, 0.0]),))
    shaped_group = shaped([group], Worked(lambda _: [-1.0]))
    assert gains(shaped_group) == [[0.0, 0.0, None]]
    carries = collate(shaped_group).carries["information_gain"]
    assert carries.tolist() == [[True, True, False]]


def test_a_fork_shares_its_states():
    trunk = make_trajectory(TASK, [0.0, 0.0], context=2)
    twins = tuple(make_trajectory(TASK, [0.0, float(i)], after=trunk.leaf, tokens=1 + i) for i in range(2))
    calls: list[int] = []

    def score(length: int) -> list[float]:
        calls.append(length)
        return [-length / 10]

    (group,) = shaped([Group(TASK, twins)], Worked(score))
    a, b = group.trajectories
    assert a.turns[1] is b.turns[1] and len(calls) == 2 + 2 * 2, "shared turns are scored once and stay shared"


# --- what breaks --------------------------------------------------------------------------------------------------------


def test_failed_trajectories_are_not_scored_and_stay_as_they_are(played: list[Group]):
    lost = make_trajectory(played[0].task, [0.0, 0.0], failure="env")
    engine = TorchEngine(MODEL)
    (group,) = shaped([Group(played[0].task, (lost,))], engine)
    assert engine.stats.forwards == 0 and gains([group]) == [[None, None]] and group.trajectories[0].failed


def test_a_score_that_breaks_is_a_failure_and_no_reward():
    class Broken(Worked):
        async def score(self, ids: Sequence[int], targets: Sequence[int]) -> list[float]:
            if len(ids) > 12:
                raise EngineFailure("forward", "out of memory")
            return [-1.0]

    group = Group(TASK, (make_trajectory(TASK, [0.0, 0.0]), make_trajectory(TASK, [0.0] * 4)))
    (after,) = shaped([group], Broken(lambda _: []))
    assert [t.failure.kind if t.failure else "" for t in after.trajectories] == ["", "score"]
    assert gains([after])[0] == [0.0, None] and group_metrics([after])["failures/score"] == 1


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_score_that_is_no_number_changes_nothing(bad: float):
    group = Group(TASK, (make_trajectory(TASK, [0.0, 0.0, 0.0], context=3),))
    (terms,) = gains(shaped([group], Worked(lambda length: [bad if length == 9 else -length / 10])))
    assert terms == [0.0, pytest.approx(math.exp(-1.4) - math.exp(-0.4)), None]


def test_no_room_for_the_answer_keeps_the_value_before():
    group = Group(TASK, (make_trajectory(TASK, [0.0, 0.0, 0.0], context=3),))
    (terms,) = gains(shaped([group], Worked(lambda length: [-length / 10], window=12)))
    assert terms[1] == 0.0 and terms[0] == pytest.approx(math.exp(-0.9) - math.exp(-0.4))


def test_tasks_without_an_answer():
    groups = [make_group("unasked", [0.0, 1.0]), Group(TASK, (make_trajectory(TASK, [0.0, 0.0]),))]
    with pytest.raises(ConfigError, match=r"expected tasks with an answer, got 'unasked' of turnwise/Made-v0"):
        shaped(groups, Worked(lambda _: [-1.0]))
    assert gains(shaped(groups, Worked(lambda _: [-1.0]), InformationGain(unanswerable="skip"))) == [[None, None], [0.0, None]]
    with pytest.raises(Unsupported, match="needs the policy's chat template"):
        shaped(groups[1:], Worked(lambda _: [-1.0]), template=None)


def test_each_turn_keeps_its_own_reward(played: list[Group]):
    before, after = collate(played), collate(shaped(played))
    assert torch.allclose(after.rewards, before.rewards + after.terms["information_gain"])
    assert torch.equal(after.tokens, before.tokens) and json.dumps(group_metrics(shaped(played)))
    assert group_metrics(shaped(played))["reward/information_gain"] == pytest.approx(
        float(after.terms["information_gain"].sum(1).mean()), abs=1e-6
    )
