"""Rewards by rule: worked numbers, what they pay for and what they do not, and how terms are weighed against each other."""

import asyncio
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from turnwise.agents.engines.scripted import ScriptedEngine
from turnwise.errors import ConfigError, UnknownName
from turnwise.trainers.advantages.dr_grpo import DrGRPO
from turnwise.trainers.batch import collate
from turnwise.trainers.monitor import group_metrics
from turnwise.trainers.rewards.gdpo import GDPO
from turnwise.trainers.rewards.invalid_action import InvalidAction
from turnwise.trainers.rewards.meta_reasoning import MetaReasoning
from turnwise.trainers.rewards.partial_credit import PartialCredit
from turnwise.trainers.rewards.potential import Potential
from turnwise.trainers.rewards.profiling import Profiling
from turnwise.trainers.rewards.progressive import Progressive
from turnwise.trainers.rewards.protocol import Scene, Shaper, State
from turnwise.trainers.rewards.unary import Unary
from turnwise.trainers.rewards.weighted import Weighted
from turnwise.trainers.shaping import shape, start
from turnwise.trainers.testing import check_shaper, make_trajectory
from turnwise.types import Group, Stop, Task, Trajectory, Turn

TASK = Task("a", "capital?", "Paris", 0)


def scene(**more: Any) -> Scene:
    return Scene(engine=ScriptedEngine([]), **more)


def shaped(shaper: Shaper, *trajectories: Trajectory, **more: Any) -> tuple[Trajectory, ...]:
    (group,) = asyncio.run(shaper([Group(TASK, trajectories)], scene(**more)))
    return group.trajectories


def terms(trajectory: Trajectory, name: str) -> list[float | None]:
    return [turn.reward_terms.get(name) for turn in trajectory.turns]


def told(trajectory: Trajectory, **changes: Sequence[Any]) -> Trajectory:
    """The trajectory with these fields of its turns."""
    leaf: Turn | None = None
    for k, turn in enumerate(trajectory.turns):
        leaf = replace(turn, parent=leaf, **{name: values[k] for name, values in changes.items()})
    return replace(trajectory, leaf=leaf)


# --- what holds for all of them ----------------------------------------------------------------------------------------

ALL: list[Shaper] = [
    InvalidAction(),
    Unary(),
    Profiling(),
    PartialCredit(milestones=("turn 1",)),
    Potential(),
    Progressive(),
    Weighted(weights={"made": 0.5}),
    GDPO(),
    MetaReasoning(),
]


@pytest.mark.parametrize("shaper", ALL, ids=lambda s: type(s).__name__)
def test_protocol(shaper: Shaper):
    check_shaper(shaper)


class Broken(InvalidAction):
    """What a careless shaper does."""

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        return [Group(g.task, tuple(told(t, reward=[1.0] * len(t.turns)) for t in g.trajectories)) for g in groups]


class Dropping(InvalidAction):
    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        return [Group(g.task, g.survivors) for g in groups]


@pytest.mark.parametrize(("shaper", "rule"), [(Broken(), "terms sum up"), (Dropping(), "no trajectory comes or goes")])
def test_the_check_finds_what_is_wrong(shaper: Shaper, rule: str):
    with pytest.raises(AssertionError, match=rule):
        check_shaper(shaper)


def test_they_work_one_after_the_other_and_states_are_values():
    shapers: tuple[Shaper, ...] = (InvalidAction(penalty=0.5), Progressive(), Weighted(weights={"invalid_action": 2.0}))
    states = start(shapers, scene())
    assert [dict(s) for s in states] == [{}, {"open": 1, "passed": None}, {}]
    groups = [Group(TASK, (make_trajectory(TASK, [1.0], valid=False), make_trajectory(TASK, [1.0])))]
    out = asyncio.run(shape(shapers, groups, states, scene()))
    assert [t.reward for t in out.groups[0].trajectories] == [0.0, 1.1]
    assert out.states[1] == {"open": 1, "passed": 0.5} and states[1] == {"open": 1, "passed": None}
    assert out.metrics == {"progressive_stage": 1.0, "progressive_passed": 0.5}
    metrics = group_metrics(out.groups)
    assert (metrics["reward/made"], metrics["reward/invalid_action"]) == (1.0, -0.5)
    assert metrics["reward_std/made"] == 0.0 and metrics["reward_std/invalid_action"] == pytest.approx(2**-0.5)


# --- unary feedback (UFO) ----------------------------------------------------------------------------------------------

EPISODES = [["42"], ["7", "42"], ["7", "7", "42"], ["7"] * 5, ["1", "2", "3", "4", "42"], ["", "42"], ["", ""]]


@pytest.mark.parametrize(("answers", "total"), list(zip(EPISODES, [1.0, 0.5, 0.083333333, -0.4, 0.0625, 1.0, 0.0], strict=True)))
@pytest.mark.parametrize("stop", [Stop.TERMINATED, Stop.TRUNCATED])
def test_unary_oracle(answers: list[str], total: float, stop: Stop):
    """An empty first answer breaks nothing (it broke the release), and repetition costs at truncation too."""
    made = make_trajectory(
        TASK, [float(a == "42") for a in answers], replies=[f"<answer>{a}</answer>" for a in answers], stop=stop
    )
    (after,) = shaped(Unary(), told(made, valid=[bool(a) for a in answers]))
    assert after.reward == pytest.approx(total)
    assert terms(after, "unary_repetition")[:-1] == [None] * (len(answers) - 1)


def test_only_answers_are_attempts_and_spelling_does_not_make_them_differ():
    made = make_trajectory(TASK, [0.0, 0.0, 0.0, 1.0], replies=["A  b", "look", "ab", "x"])
    (after,) = shaped(Unary(), told(made, tool_calls=[0, 1, 0, 0]))
    assert terms(after, "unary_decay") == [0.0, 0.0, 0.0, -0.75]
    assert terms(after, "unary_repetition")[-1] == pytest.approx(-0.5 / 3)


# --- profiling (Dr. Kernel) and partial credit --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "report", "reward"),
    [
        (1.0, "Speedup: 1.5x, coverage 0.4", 1.45),
        (1.0, "speed-up 9.0\nCoverage = 1.0", 2.5),
        (0.0, "speedup 9.0 coverage 1.0", 0.0),
        (1.0, "correct", 0.5),
        (1.0, "speedup 2.0 ... speedup 1.0", 1.0),
    ],
)
def test_profiling_oracle(outcome: float, report: str, reward: float):
    made = replace(make_trajectory(TASK, [0.0], outcome=outcome), final=report)
    assert terms(shaped(Profiling(coverage_weight=0.5), made)[0], "profiling") == [pytest.approx(reward)]


def test_profiling_judges_every_turn_by_its_own_report():
    made = make_trajectory(TASK, [0.0, 0.0], observations=["make it fast", "speedup 2"], outcome=1.0)
    (after,) = shaped(Profiling(), told(replace(made, final="speedup 3"), outcome=[1.0, 1.0]))
    assert terms(after, "profiling") == [1.5, 2.0]


def test_partial_credit_oracle():
    credit = PartialCredit(milestones=("imported", r"data loaded: \d+", "trained"))
    none, two, solved = shaped(
        credit,
        replace(make_trajectory(TASK, [0.0]), final="Traceback"),
        replace(make_trajectory(TASK, [0.0]), final="imported\ndata loaded: 7\nimported"),
        replace(make_trajectory(TASK, [0.7], outcome=1.0), final="imported trained"),
    )
    assert [none.reward, two.reward, solved.reward] == pytest.approx([-10.0, -9.8, 0.7])


def test_a_milestone_pays_once_in_a_trajectory():
    made = make_trajectory(TASK, [0.0] * 3, observations=["start", "imported", "imported trained"])
    (after,) = shaped(PartialCredit(milestones=("imported", "trained"), failed=-1.0), replace(made, final="imported"))
    assert terms(after, "partial_credit") == pytest.approx([0.1, 0.1, -1.0])


# --- potential-based shaping --------------------------------------------------------------------------------------------


def heights(task: Task, turns: Sequence[Turn], observation: str) -> float:
    """A potential with nothing regular about it; the start is not at 0."""
    return 1.5 + sum((k + 1) * len(turn.action) % 7 for k, turn in enumerate(turns)) / 3


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's module with a potential."""
    module = ModuleType("my_potentials")
    module.__dict__["heights"] = heights
    monkeypatch.setitem(sys.modules, "my_potentials", module)


@pytest.mark.parametrize("stop", [Stop.TERMINATED, Stop.TRUNCATED, Stop.TOKENS])
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_shaping_sums_to_minus_the_potential_of_the_start(gamma: float, stop: Stop):
    made = make_trajectory(TASK, [0.0] * 4, replies=["a", "bbb", "cc", "dddddd"], stop=stop)
    (after,) = shaped(Potential(of="my_potentials:heights", gamma=gamma), made)
    discounted = sum(gamma**k * float(v or 0.0) for k, v in enumerate(terms(after, "potential")))
    assert discounted == pytest.approx(-heights(TASK, (), ""))


def test_the_environments_own_progress_is_a_potential():
    made = told(make_trajectory(TASK, [0.0, 0.0, 1.0]), outcome=[0.25, 0.75, 1.0])
    assert terms(shaped(Potential(), made)[0], "potential") == [0.25, 0.5, -0.75]


def test_a_critic_that_goes_on_from_a_cut_keeps_its_potential():
    cut = told(make_trajectory(TASK, [0.0, 0.0], stop=Stop.TRUNCATED), outcome=[0.25, 0.75])
    assert terms(shaped(Potential(truncated="continues"), cut)[0], "potential") == [0.25, 0.5]
    ended = replace(cut, stop=Stop.TERMINATED)
    assert terms(shaped(Potential(truncated="continues"), ended)[0], "potential") == [0.25, -0.25]


EXITS: Mapping[str, float] = {"aaa": 0.4, "aab": 0.2, "aba": 0.0, "abb": 0.6, "b": 1.0}
"""A game in which `b` at the start ends it; else three moves, and a limit cuts off whoever went abb."""


def endings() -> list[Trajectory]:
    return [
        make_trajectory(
            TASK,
            [0.0] * (len(moves) - 1) + [reward],
            replies=[c * (3 + i) for i, c in enumerate(moves)],
            stop=Stop.TRUNCATED if moves == "abb" else Stop.TERMINATED,
        )
        for moves, reward in EXITS.items()
    ]


def test_shaping_keeps_the_optimum_by_enumeration():
    """Over a grid of stochastic policies the shaped value is the value less Phi(s_0), so their order is the same; a potential
    that is left at the ends changes the order."""
    shaper = Potential(of="my_potentials:heights")
    plain, with_shaping = endings(), shaped(shaper, *endings())
    unsettled = [t.reward + heights(TASK, t.turns, "") for t in plain]

    def value(policy: Sequence[float], returns: Sequence[float]) -> float:
        total = 0.0
        for moves, reward in zip(EXITS, returns, strict=True):
            p, states = 1.0, ("", "a", "aa", "ab")
            for k, move in enumerate(moves):
                stay = policy[states.index(moves[:k])]
                p *= stay if move == "a" else 1 - stay
            total += p * reward
        return total

    grid = list(itertools.product((0.0, 0.3, 0.5, 1.0), repeat=4))
    true = [value(p, [t.reward for t in plain]) for p in grid]
    new = [value(p, [t.reward for t in with_shaping]) for p in grid]
    assert new == pytest.approx([v - heights(TASK, (), "") for v in true])
    best = max(range(len(grid)), key=true.__getitem__)
    assert new[best] == max(new)
    wrong = [value(p, unsettled) for p in grid]
    assert wrong[best] < max(wrong) - 1e-6, "the test could tell"


def test_an_unknown_potential_is_named():
    with pytest.raises(ConfigError, match="cannot be imported"):
        shaped(Potential(of="no.such:thing"), make_trajectory(TASK, [0.0]))


# --- progressive rewards (PRS) -------------------------------------------------------------------------------------------


def rollout(*, valid: bool = True, tool: bool = True, answer: str | None = "Paris", outcome: float = 0.0) -> Trajectory:
    last = "hm" if answer is None else f"<answer>{answer}</answer>"
    made = make_trajectory(TASK, [0.0, 0.0], replies=["look", last], outcome=outcome, valid=valid)
    return told(made, tool_calls=[int(tool), 0])


def paid(*rollouts: Trajectory, open_stages: int = 4, shaper: Progressive = Progressive()) -> list[float]:  # noqa: B008
    return [t.reward for t in shaped(shaper, *rollouts, state={"open": open_stages, "passed": None})]


def test_a_stage_pays_only_behind_those_before_it():
    rollouts = [
        rollout(valid=False),
        rollout(tool=False),
        rollout(answer=None),
        rollout(answer="Rome"),
        rollout(answer="the city of Paris"),
        rollout(outcome=1.0, answer="the city"),
        rollout(),
    ]
    assert paid(*rollouts) == pytest.approx([0.0, 0.1, 0.3, 0.6, 0.7, 1.0, 1.0])
    assert paid(*rollouts, open_stages=2) == pytest.approx([0.0, 0.1, *[0.3] * 5])
    no_tools = Progressive(tool=0.0, format=0.3)
    assert paid(rollout(tool=False), shaper=no_tools) == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [("Paris", "paris", 1.0), ("the city of Paris", "Paris", 0.25), ("New York", "New York City", 0.606531), ("", "Paris", 0.0)],
)
def test_length_aware_bleu_oracle(answer: str, truth: str, score: float):
    group = Group(replace(TASK, answer=truth), (replace(rollout(answer=answer), task=replace(TASK, answer=truth)),))
    shaper = Progressive(format=0.0, tool=0.0, answer=0.0, quality=1.0)
    (after,) = asyncio.run(shaper([group], scene(state={"open": 1, "passed": None})))
    assert after.trajectories[0].reward == pytest.approx(score, abs=1e-6)


def test_the_curriculum_opens_stage_by_stage():
    shaper = Progressive(memory=0.5, unlock=0.75)
    state: State = shaper.start(scene())
    seen: list[int] = []

    async def learn(groups: Sequence[Group]) -> tuple[State, dict[str, float]]:
        return await shaper.learn(groups, scene(state=state))

    good, bad = Group(TASK, (rollout(tool=False),)), Group(TASK, (rollout(valid=False),))
    for groups in ([bad], [good], [good], [good], [good], [Group(TASK, (rollout(),))] * 2, [], [good]):
        state, _ = asyncio.run(learn(groups))
        seen.append(state["open"])
    assert seen == [1, 1, 2, 2, 2, 2, 2, 2], "0, .5, .75 opens the tools; then 0, 0, .5, nothing, .25"
    for _ in range(9):
        state, metrics = asyncio.run(learn([Group(TASK, (rollout(),))]))
    assert state["open"] == 4 and metrics["progressive_stage"] == 4.0


# --- weights and normalisation -------------------------------------------------------------------------------------------


def vectors(*values: tuple[float, float]) -> tuple[Trajectory, ...]:
    """One trajectory for each pair of terms, the second split over its two turns."""
    return tuple(
        make_trajectory(TASK, [a + b / 4, 3 * b / 4], terms=[{"right": a, "form": b / 4}, {"form": 3 * b / 4}]) for a, b in values
    )


GROUPS = [
    Group(TASK, vectors((0, 0), (0, 1), (1, 1), (1, 1))),
    Group(replace(TASK, id="b"), vectors((0, 0), (0, 0), (0, 1), (0, 1))),
]


def advantages(shaper: GDPO) -> list[float]:
    batch = collate(asyncio.run(shaper(GROUPS, scene()))).to(torch.float64)
    return [float(a[m][0]) for a, m in zip(DrGRPO()(batch), batch.mask, strict=True)]


def test_gdpo_oracle():
    first = [-2.365575, -0.365975, 1.365775, 1.365775, -0.865875, -0.865875, 0.865875, 0.865875]
    assert advantages(GDPO(batch=False)) == pytest.approx(first, abs=1e-5)
    whole = [-1.772974, -0.274295, 1.023634, 1.023634, -0.648965, -0.648965, 0.648965, 0.648965]
    assert advantages(GDPO()) == pytest.approx(whole, abs=1e-5)


def test_gdpo_weights_terms_and_leaves_flat_ones_out():
    only = advantages(GDPO(weights={"form": 0.0}, batch=False))
    assert only[4:] == [0.0] * 4 and only[2] == pytest.approx(0.5 / (3**-0.5 + 1e-4), abs=1e-6)
    alone = asyncio.run(GDPO()([Group(TASK, vectors((1, 1)))], scene()))
    assert alone[0].trajectories[0].reward == 0.0


def test_weights_change_over_the_run():
    shaper = Weighted(weights={"right": 0.5, "form": 1.0}, until={"right": 1.0, "form": 0.5})
    made = vectors((1, 2))
    values = [shaped(shaper, *made, step=step, steps=5)[0].reward for step in (0, 2, 4)]
    assert values == pytest.approx([0.5 + 2.0, 0.75 + 1.5, 1.0 + 1.0])
    assert shaped(Weighted(weights={"right": 0.25}), *made, step=3, steps=9)[0].reward == pytest.approx(0.25 + 2.0)


# --- mistakes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PartialCredit(milestones=("(",)), "is no regular expression"),
        (lambda: Profiling(speedup_pattern="fast"), "expected one group"),
        (lambda: Profiling(coverage_pattern="("), "profiling.coverage_pattern: .* is no regular expression"),
        (lambda: Progressive(format=0, tool=0, answer=0, quality=0), "at least one stage"),
        (lambda: Progressive(unlock=0), "unlock is in"),
    ],
)
def test_mistakes_are_config_errors(make: Any, says: str):
    with pytest.raises(ConfigError, match=says):
        make()


@pytest.mark.parametrize("shaper", [Weighted(weights={"rihgt": 2.0}), GDPO(weights={"rihgt": 2.0})])
def test_a_term_that_nothing_has_is_a_mistake_at_the_first_step(shaper: Shaper):
    with pytest.raises(UnknownName, match="Did you mean 'right'"):
        asyncio.run(shaper(GROUPS, scene(steps=9)))
    asyncio.run(shaper(GROUPS, scene(step=5, steps=9)))
