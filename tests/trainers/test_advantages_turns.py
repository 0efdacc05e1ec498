"""Turn-level estimators: worked numbers of the papers' code, its faults pinned, groups of one, ties, forks and failures."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.errors import ConfigError, ShapeError
from turnwise.trainers.advantages.bilevel_gae import BilevelGAE
from turnwise.trainers.advantages.digirl import DigiRL
from turnwise.trainers.advantages.gigpo import GiGPO
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.igpo import IGPO
from turnwise.trainers.advantages.istar import IStar
from turnwise.trainers.advantages.mt_grpo import MTGRPO
from turnwise.trainers.advantages.reinforce_pp import ReinforcePP
from turnwise.trainers.advantages.rloo import RLOO
from turnwise.trainers.advantages.token_gae import TokenGAE
from turnwise.trainers.advantages.tree import Tree
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.packing import one_row_per_turn
from turnwise.trainers.testing import check_advantage, make_group, make_trajectory
from turnwise.types import Group, Stop, Task, Trajectory, Turn

TASK = Task("a", "", "", 0)
COMPARING = [
    *(GiGPO(), GiGPO(leave_one_out=False), GiGPO(std=True), GiGPO(std=True, leave_one_out=False)),
    *(IGPO(), MTGRPO(), IStar(), IStar(std=True), Tree(), Tree(credit="hard"), Tree(credit="soft")),
]
"""Estimators that compare within a group, and give 0 where all its trajectories are alike."""
OTHERS = [IGPO(together=True), IGPO(gamma=0.9), ReinforcePP(), ReinforcePP(baseline="group"), ReinforcePP(gamma=0.9)]
CRITICS = [TokenGAE(), BilevelGAE(), BilevelGAE(whiten=True), DigiRL(), DigiRL(form="release"), DigiRL(keep=0.5)]


def batch_of(*groups: Group) -> Batch:
    return collate(groups).to(torch.float64)


def with_steps(batch: Batch, steps: list[list[float]]) -> Batch:
    """With implicit step rewards, which are part of the rewards as every term is."""
    term = torch.tensor([row + [0.0] * (batch.rewards.shape[1] - len(row)) for row in steps], dtype=torch.float64)
    return replace(batch, rewards=batch.rewards + term, terms={"implicit_prm": term})


def per_turn(batch: Batch, advantages: torch.Tensor) -> list[list[float]]:
    return [
        [float(row[turn == k][0]) for k in range(int(count))]
        for row, turn, count in zip(advantages, batch.turn, batch.turns, strict=True)
    ]


def flat(rows: list[list[float]]) -> list[float]:
    return [value for row in rows for value in row]


@pytest.mark.parametrize("estimator", [*COMPARING, *OTHERS, *CRITICS], ids=str)
def test_protocol(estimator):
    check_advantage(estimator)


# --- GiGPO -------------------------------------------------------------------------------------------------------------


def visits(*rows: tuple[str, list[float]], name: str = "a") -> Group:
    """Trajectories by the observations they saw, a letter a turn, and their rewards."""
    task = Task(name, "", "", 0)
    return Group(task, tuple(make_trajectory(task, rewards, observations=list(seen)) for seen, rewards in rows))


ANCHORS = visits(("ABA", [0, 0, 10]), ("AC", [0, 0]))


@pytest.mark.parametrize(
    ("std", "expected"),
    [
        (False, [7.683333333, 5.0, 8.658333333, -11.341666667, -5.0]),
        (True, [1.193778576, 0.707106681, 1.370612774, -1.85728467, -0.707106681]),
    ],
)
def test_gigpo_oracle(std, expected):
    batch = batch_of(ANCHORS)
    assert flat(per_turn(batch, GiGPO(leave_one_out=False, std=std)(batch))) == pytest.approx(expected, abs=1e-8)


def test_gigpo_leaves_the_own_trajectory_out_its_other_visits_too():
    batch = batch_of(ANCHORS)
    # episodes: +-10; anchor A: 9.025 and 10 against the other's 0, and 0 against their mean 9.5125
    expected = [10 + 9.025, 10, 10 + 10, -10 - 9.5125, -10]
    assert flat(per_turn(batch, GiGPO()(batch))) == pytest.approx(expected)


def test_gigpo_anchors_are_of_one_group():
    """The same observations in another group make no comparison."""
    other = visits(("ABA", [5, 5, 5]), ("AC", [1, 1]), name="b")
    one, two = batch_of(ANCHORS), batch_of(ANCHORS, other)
    assert torch.equal(GiGPO()(one), GiGPO()(two)[:2, : one.tokens.shape[1]])


def test_gigpo_a_state_that_nobody_else_saw_gets_the_episode_part_alone():
    batch = batch_of(visits(("AB", [0, 1]), ("CD", [0, 0])))
    assert per_turn(batch, GiGPO(weight=7.0)(batch)) == [[1, 1], [-1, -1]]


def test_gigpo_a_lone_survivor_that_comes_back_to_a_state_gets_nothing():
    """The mean over its own two visits would be no baseline: the later visit follows from the earlier one."""
    batch = batch_of(visits(("ABA", [0, 0, 10])))
    assert not GiGPO()(batch).any() and not GiGPO(leave_one_out=False)(batch).any()


def test_gigpo_does_not_compare_a_forked_turn_with_itself():
    stem = make_trajectory(TASK, [0.0], observations=["A"]).leaf
    forks = [make_trajectory(TASK, [r], observations=["B"], after=stem) for r in (4.0, 0.0)]
    alone = make_trajectory(TASK, [0.0, 1.0], observations=["A", "B"])
    batch = batch_of(Group(TASK, (*forks, alone)))
    advantages = per_turn(batch, GiGPO(gamma=1.0)(batch))
    assert [row[0] for row in advantages] == [
        3 + 3,
        -1 - 1,
        2 * (1 - 2),
    ]  # the shared turn against 1, the other against (4 + 0) / 2
    assert [row[1] for row in advantages] == [3.5 + 3.5, -2.5 - 2.5, -1 - 1]  # each leaf against the other two


# --- IGPO --------------------------------------------------------------------------------------------------------------

GAINS = ([0.1, 0.434846923, 1.0], [-0.02, 0.0])


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (IGPO(together=True), [1.626453, 2.153853, 1.811180, -1.626453, -0.787242]),
        (IGPO(), [1.995545, 2.367627, 0.999998, -1.995545, -0.999998]),
        (IGPO(together=True, gamma=0.9), [1.248061662, 1.972735346, 1.811179807, -1.54772894, -0.787242367]),
        (IGPO(gamma=0.9), [1.668782459, 2.267627209, 0.99999798, -1.89554518, -0.99999798]),
    ],
    ids=str,
)
def test_igpo_oracle(estimator, expected):
    batch = batch_of(make_group("a", *GAINS))
    assert flat(per_turn(batch, estimator(batch))) == pytest.approx(expected, abs=2e-6)


def test_fault_1_igpo_finds_the_last_turn_by_structure_not_by_a_contiguous_mask():
    """Tool tokens between turns, turns of different lengths: every turn keeps its advantage, and all its tokens have it."""
    task = Task("a", "", "", 0)
    plain = tuple(make_trajectory(task, r, context=1, tokens=1) for r in GAINS)
    holes = tuple(make_trajectory(task, r, context=6, tokens=[3 + k for k in range(len(r))]) for r in GAINS)
    one, two = batch_of(Group(task, plain)), batch_of(Group(task, holes))
    assert per_turn(one, IGPO()(one)) == per_turn(two, IGPO()(two))
    assert flat(per_turn(two, IGPO()(two))) == pytest.approx([1.995545, 2.367627, 0.999998, -1.995545, -0.999998], abs=2e-6)
    assert bool((IGPO()(two)[two.mask] != 0).all())
    check_uniform(two, IGPO()(two))


def check_uniform(batch: Batch, advantages: torch.Tensor) -> None:
    for row, turn in zip(advantages, batch.turn, strict=True):
        for k in range(int(turn.max()) + 1):
            assert len(row[turn == k].unique()) == 1


def test_fault_2_igpo_a_gain_of_zero_is_a_gain():
    batch = batch_of(make_group("a", [0.0, 0.0, 1.0], [0.2, 0.1, 0.0]))
    nearly = batch_of(make_group("a", [1e-10, 1e-10, 1.0], [0.2, 0.1, 0.0]))
    got = per_turn(batch, IGPO()(batch))
    assert flat(got) == pytest.approx(flat(per_turn(nearly, IGPO()(nearly))), abs=1e-6)
    assert got[0][0] < got[0][1] < got[0][2]  # both gains of 0 count against it


def test_igpo_together_compares_a_last_turn_with_the_first_even_among_twins():
    """Why `together` is not the default."""
    batch = batch_of(make_group("a", [0.0, 1.0], [0.0, 1.0]))
    assert not IGPO()(batch).any()
    assert per_turn(batch, IGPO(together=True)(batch))[0] == pytest.approx([0, 1], abs=1e-5)


# --- MT-GRPO -----------------------------------------------------------------------------------------------------------


def test_mt_grpo_oracle():
    batch = batch_of(make_group("a", [0.7, 1.0], [0.2, 0.0], [0.2, 0.0], [0.7, 0.0]))
    before, after = zip(*per_turn(batch, MTGRPO()(batch)), strict=True)
    assert before == pytest.approx([2.365425568, -1.365625528, -1.365625528, 0.365825488])
    assert after == pytest.approx([1.49970006, -0.49990002, -0.49990002, -0.49990002])


def test_mt_grpo_a_single_turn_takes_its_normalised_return():
    batch = batch_of(make_group("a", [0.5, 1.0], [0.5, 0.0], [0.75]))
    spread = torch.tensor([1.5, 0.5, 0.75]).std().item() + 1e-4
    assert per_turn(batch, MTGRPO()(batch))[2] == pytest.approx([(0.75 - 2.75 / 3) / spread])


def test_mt_grpo_cannot_see_what_reaching_a_turn_was_worth():
    """The warning: everybody who goes on earns 1 for it, which centring at the turn takes away; going on is then punished."""
    batch = batch_of(make_group("a", [0.5], [0.5], [1.0, 0.0], [1.0, 0.0]))
    stopped, _, went_on, _ = per_turn(batch, MTGRPO()(batch))
    assert went_on[0] < 0 < RLOO()(batch)[2].max() and stopped[0] < 0
    assert went_on == pytest.approx([-0.866, -0.866], abs=1e-3)


# --- iStar -------------------------------------------------------------------------------------------------------------

STEPS = [[0.04, 0.02], [0.01, -0.03, -0.02]]


@pytest.mark.parametrize(
    ("std", "expected"),
    [
        (False, [1.045, 1.02, -0.9925, -1.0425, -1.03]),
        (True, [2.397016732, 1.620896325, -0.767163878, -2.319404691, -1.931344488]),
    ],
)
def test_istar_oracle(std, expected):
    batch = with_steps(batch_of(make_group("a", [0, 1], [0, 0, 0])), STEPS)
    assert flat(per_turn(batch, IStar(std=std)(batch))) == pytest.approx(expected, abs=1e-8)


def test_fault_3_istar_baseline_is_of_all_steps_not_of_first_ones():
    batch = batch_of(make_group("a", [0, 1], [0, 0, 0]))
    moved = [[0.04, 0.02], [0.01, -0.03, 0.98]]
    before, after = (per_turn(b, IStar()(b)) for b in (with_steps(batch, STEPS), with_steps(batch, moved)))
    assert after[0][0] == pytest.approx(before[0][0] - 1.0 / 4)  # 1 more among the four others
    assert before[0][0] != pytest.approx(1.03), "the release: the mean of first steps, times n / (n - 1) of trajectories"


def test_istar_learns_from_steps_where_all_returns_are_equal():
    batch = with_steps(batch_of(make_group("a", [1.0], [1.0])), [[0.1], [-0.1]])
    assert flat(per_turn(batch, IStar(weight=0.5)(batch))) == pytest.approx([0.1, -0.1])


def test_istar_says_which_term_it_needs():
    with pytest.raises(ConfigError, match=r"istar: expected the reward term 'prm', the batch has made; add a reward"):
        IStar(term="prm")(batch_of(make_group("a", [1.0], [0.0])))


# --- trees -------------------------------------------------------------------------------------------------------------


def arpo() -> Batch:
    """s01: rollouts 0 and 1 share their first turn (two tokens), rollout 2 is alone; returns 1, 0, 0."""
    stem = make_trajectory(TASK, [0.0]).leaf
    forks = [make_trajectory(TASK, [r], after=stem, tokens=1) for r in (1.0, 0.0)]
    return batch_of(Group(TASK, (*forks, make_trajectory(TASK, [0.0, 0.0], tokens=[2, 1]))))


def test_arpo_oracle():
    batch = arpo()
    soft, hard = (Tree(credit=credit)(batch) for credit in ("soft", "hard"))
    assert [row[m].tolist() for row, m in zip(hard, batch.mask, strict=True)] == [
        pytest.approx([0.288674635, 0.288674635, 1.154698538]),
        pytest.approx([0.288674635, 0.288674635, -0.577349269]),
        pytest.approx([-0.577349269] * 3),
    ]
    assert torch.equal(soft, GRPO()(batch))
    weights = batch.node_weights()
    assert (soft * weights).sum(0) == pytest.approx((hard * weights).sum(0)), "on policy the two have the same gradient"


def test_tree_against_siblings():
    batch = arpo()
    # the shared turn: (1 + 0) / 2 against 0; its two leaves against each other; the third's last turn belongs to its first
    assert per_turn(batch, Tree()(batch)) == [[0.5, 1.0], [0.5, -1.0], [-0.5, -0.5]]


def test_tree_of_three_levels():
    root = make_trajectory(TASK, [0.25]).leaf
    left = make_trajectory(TASK, [0.0], after=root).leaf
    leaves = [make_trajectory(TASK, [r], after=left) for r in (1.0, 0.0)] + [make_trajectory(TASK, [0.0, 0.75], after=root)]
    other = make_trajectory(TASK, [0.0, 0.0])
    batch = batch_of(Group(TASK, (*leaves, other)))
    # returns 1.25, 0.25, 1, 0; the root's mean 2.5 / 3, its children 0.75 and 1
    expected = [[2.5 / 3, -0.25, 1.0], [2.5 / 3, -0.25, -1.0], [2.5 / 3, 0.25, 0.25], [-2.5 / 3, -2.5 / 3]]
    assert flat(per_turn(batch, Tree()(batch))) == pytest.approx(flat(expected))


def test_tree_without_forks_is_rloo():
    batch = batch_of(make_group("a", [1.0], [0.5, 0.25], [0.0, 0.0, 2.0]), make_group("b", [3.0], [1.0]))
    assert torch.allclose(Tree()(batch), RLOO()(batch))


def test_tree_a_failed_branch_is_no_sibling():
    stem = make_trajectory(TASK, [0.0]).leaf
    forks = [make_trajectory(TASK, [r], after=stem) for r in (1.0, 0.0)]
    broken = make_trajectory(TASK, [9.0], after=stem, failure="env")
    alone = make_trajectory(TASK, [0.0, 0.0])
    with_it, without = (batch_of(Group(TASK, (*forks, alone, *more))) for more in ((broken,), ()))
    assert torch.equal(Tree()(with_it)[:3], Tree()(without))


# --- REINFORCE++ -------------------------------------------------------------------------------------------------------


def rows_of(lengths: list[int], names: str = "abc") -> list[Group]:
    tasks = [Task(name, "", "", 0) for name in names]
    rewards = [1.0, 0.0, 0.0]
    rows = [(t, make_trajectory(t, [r], tokens=n)) for t, r, n in zip(tasks, rewards, lengths, strict=True)]
    return [Group(tasks[names.index(n)], tuple(t for owner, t in rows if owner.id == n)) for n in sorted(set(names))]


@pytest.mark.parametrize(
    ("estimator", "names", "expected"),
    [
        (ReinforcePP(), "abc", [1.333333307, -0.666666653, -0.666666653]),
        (ReinforcePP(baseline="group"), "aab", [1.13707045, -1.421338063, -0.142133806]),
    ],
    ids=str,
)
def test_reinforce_pp_oracle(estimator, names, expected):
    """Nine tokens in rows of 3, 2 and 4."""
    batch = batch_of(*rows_of([3, 2, 4], names))
    got = sorted(zip(batch.mask.sum(1).tolist(), flat(per_turn(batch, estimator(batch))), strict=True))
    assert [advantage for _, advantage in got] == pytest.approx([expected[1], expected[0], expected[2]], abs=1e-8)


def test_reinforce_pp_discounts_by_sampled_tokens_across_turns():
    """Token by token backwards: rewards 1 and 4 on the last tokens of turns of 2 and 3; context tokens count for nothing."""
    batch = batch_of(Group(TASK, (make_trajectory(TASK, [1.0, 4.0], tokens=[2, 3], context=5),)))
    raw = [0.5 * (1 + 0.125 * 4), 1 + 0.125 * 4, 1.0, 2.0, 4.0]
    x = torch.tensor(raw, dtype=torch.float64)
    expected = (x - x.mean()) / (x.var() + 1e-8).sqrt()
    assert ReinforcePP(gamma=0.5)(batch)[batch.mask].tolist() == pytest.approx(expected.tolist())


def test_powers_of_a_discount_keep_the_precision_of_the_rewards():
    """In float64: 0.9 is no power of two, and a power of whole numbers is float32 in torch."""
    batch = batch_of(Group(TASK, (make_trajectory(TASK, [0.0, 1.0], tokens=[1, 2]),)))
    x = torch.tensor([0.9**2, 0.9, 1.0], dtype=torch.float64)
    expected = (x - x.mean()) / (x.var() + 1e-8).sqrt()
    assert ReinforcePP(gamma=0.9)(batch)[batch.mask].tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    batch = stepped(([0, 0, 1], [0.2, 0.3, 0.7, 0.0]))
    expected = [0.81 + 0.19 * (0.3 - 0.2), 0.9 + 0.1 * (0.7 - 0.3), 1.0]
    assert per_turn(batch, DigiRL(lam=0.9)(batch))[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("baseline", ["batch", "group"])
def test_reinforce_pp_gives_nothing_for_one_token_or_equal_returns(baseline):
    assert not ReinforcePP(baseline=baseline)(collate([make_group("a", [1.0], tokens=1)])).any()
    alike = collate([make_group(name, *([value / 3],) * 7) for name, value in zip("ab", (0.1, 0.1), strict=True)])
    assert not ReinforcePP(baseline=baseline)(alike).any()


def test_reinforce_pp_counts_shared_tokens_once():
    """Two rollouts that share everything are one rollout."""
    once = batch_of(Group(TASK, (make_trajectory(TASK, [1.0]), make_trajectory(TASK, [0.0]))))
    same = make_trajectory(TASK, [1.0])
    twice = batch_of(Group(TASK, (same, same, make_trajectory(TASK, [0.0]))))
    assert torch.allclose(ReinforcePP()(twice)[1:], ReinforcePP()(once))


# --- against the definitions, on random trees --------------------------------------------------------------------------

SHAPE = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.lists(st.integers(0, 3), min_size=1, max_size=3)), max_size=5)


def grown(shape: list[tuple[int, int, list[int]]]) -> Group:
    """Trajectories that fork from earlier ones: (whose, after how many of its turns, rewards); observations repeat."""
    trajectories = [make_trajectory(TASK, [1.0, 0.0], observations=["x", "y"])]
    for whose, depth, rewards in shape:
        path = trajectories[whose % len(trajectories)].turns
        stem = path[min(depth, len(path) - 1) - 1] if min(depth, len(path) - 1) > 0 else None
        seen = ["xyz"[(len(rewards) + k) % 3] for k in range(len(rewards))]
        trajectories.append(make_trajectory(TASK, [float(r) for r in rewards], after=stem, observations=seen))
    return Group(TASK, tuple(trajectories))


def mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def tree_by_definition(group: Group) -> list[list[float]]:
    below = {id(turn): mean(group.trajectories[i].reward for i in leaves) for turn, leaves in group.nodes()}
    turns = {id(turn): turn for turn, _ in group.nodes()}

    def advantage(turn: Turn) -> float:
        siblings = [other for key, other in turns.items() if other.parent is turn.parent and other is not turn]
        if siblings:
            return below[id(turn)] - mean(below[id(s)] for s in siblings)
        return advantage(turn.parent) if turn.parent else 0.0

    return [[advantage(turn) for turn in t.turns] for t in group.trajectories]


def gigpo_by_definition(group: Group, gamma: float) -> list[list[float]]:
    def to_go(t: Trajectory, k: int) -> float:
        return sum(gamma**j * turn.reward for j, turn in enumerate(t.turns[k:]))

    def advantage(t: Trajectory, k: int, turn: Turn) -> float:
        others = [o for o in group.trajectories if turn not in o.turns]
        found = t.reward - mean(o.reward for o in others) if others else 0.0
        visits: dict[Turn, list[float]] = {}
        for o in others:
            for j, seen in enumerate(o.turns):
                if seen.observation == turn.observation:
                    visits.setdefault(seen, []).append(to_go(o, j))
        shares = {seen: sum(seen in x.turns for x in group.trajectories) for seen in visits}
        if visits:
            total = sum(sum(values) / shares[seen] for seen, values in visits.items())
            found += to_go(t, k) - total / sum(len(values) / shares[seen] for seen, values in visits.items())
        return found

    return [[advantage(t, k, turn) for k, turn in enumerate(t.turns)] for t in group.trajectories]


@settings(max_examples=60, deadline=None)
@given(SHAPE)
def test_trees_and_anchors_are_what_their_definitions_say(shape):
    group = grown(shape)
    batch = batch_of(group, make_group("b", [5.0], [1.0, 2.0]))
    count = len(group.trajectories)
    for estimator, expected in ((Tree(), tree_by_definition(group)), (GiGPO(gamma=0.5), gigpo_by_definition(group, 0.5))):
        wanted = expected if count > 1 else [[0.0] * len(row) for row in expected]
        assert flat(per_turn(batch, estimator(batch))[:count]) == pytest.approx(flat(wanted), abs=1e-9)


# --- critics -----------------------------------------------------------------------------------------------------------


def valued(batch: Batch, tokens: list[float], turns: list[float]) -> Batch:
    """A batch of one row with a critic's values."""
    values = torch.zeros_like(batch.logprobs).masked_scatter(batch.mask, torch.tensor(tokens, dtype=torch.float64))
    return replace(batch, token_values=values, values=torch.tensor([turns], dtype=torch.float64))


RISING = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def two_turns(rewards: list[float], stop: Stop = Stop.TERMINATED) -> Batch:
    batch = batch_of(Group(TASK, (make_trajectory(TASK, rewards, tokens=5, stop=stop),)))
    return valued(batch, RISING, [0.1, 0.6, 2.0])


def test_bilevel_gae_oracle():
    batch = two_turns([1.0, 1.0])
    raw = BilevelGAE()(batch)[batch.mask]
    assert raw.tolist() == pytest.approx([1.85, 1.75, 1.65, 1.55, 1.45, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert BilevelGAE().targets(batch)[batch.mask].tolist() == pytest.approx([1.95] * 5 + [1.0] * 5)
    white = BilevelGAE(whiten=True)(batch)[batch.mask]
    assert white[:6].tolist() == pytest.approx([1.187998, 1.059566, 0.931134, 0.802702, 0.674269, -0.674269], abs=1e-6)


def test_bilevel_gae_discounts_tokens_within_a_turn_only():
    batch = two_turns([1.0, 1.0])
    estimator = BilevelGAE(turn_gamma=0.5, gamma=0.9, lam=0.8)
    second = 1.0 - 1.0  # r - V(e) at the last token of turn 1, and its target 1
    first = 1.0 + 0.5 * 1.0 - 0.5 + 0.5 * 0.8 * second
    chain = [first]
    for value, following in ((0.4, 0.5), (0.3, 0.4)):
        chain.append(0.9 * following - value + 0.72 * chain[-1])
    assert estimator(batch)[batch.mask][2:5].flip(0).tolist() == pytest.approx(chain)


@pytest.mark.parametrize("rewards", [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
def test_fault_2_bilevel_gae_a_turn_that_earned_nothing_is_a_turn(rewards):
    """RAGEN takes rewards that are not 0 for turn ends: turns merge, and a last reward of 0 points past the end."""
    batch, nearly = two_turns(rewards), two_turns([r or 1e-9 for r in rewards])
    got = BilevelGAE()(batch)
    assert torch.allclose(got, BilevelGAE()(nearly), atol=1e-6)
    targets = BilevelGAE().targets(batch)[batch.mask]
    assert targets.tolist() == pytest.approx([rewards[0] + 0.95 * (1.0 + rewards[1] - 1.0)] * 5 + [rewards[1]] * 5)


def test_bilevel_gae_bootstraps_only_what_was_cut_short():
    ended, cut = two_turns([0.0, 1.0]), two_turns([0.0, 1.0], stop=Stop.TRUNCATED)
    assert BilevelGAE().targets(ended)[ended.mask][-1] == pytest.approx(1.0)
    assert BilevelGAE().targets(cut)[cut.mask][-1] == pytest.approx(1.0 + 0.95 * 2.0)
    assert BilevelGAE(bootstrap=False).targets(cut)[cut.mask][-1] == pytest.approx(1.0)


def test_bilevel_gae_passes_the_reward_of_a_turn_without_tokens_on():
    batch = batch_of(Group(TASK, (make_trajectory(TASK, [0.0, 1.0, 0.0], tokens=[1, 0, 1]),)))
    batch = valued(batch, [0.5, 0.25], [0, 0, 0, 0])
    # what follows turn 0: turn 1's reward and, discounted once more, V = 0.25 with A = -0.25
    assert BilevelGAE()(batch)[batch.mask].tolist() == pytest.approx([0.95 * (1 + 0.95 * 0.25) - 0.5 + 0.95**2 * -0.25, -0.25])


@pytest.mark.parametrize(
    ("gamma", "lam", "expected"),
    [(1.0, 1.0, [0.9, 0.8, 0.7, 0.6, 0.5]), (0.99, 0.95, [0.744381551, 0.687274376, 0.627617625, 0.56525, 0.5])],
)
def test_token_gae_oracle(gamma, lam, expected):
    """Two sampled tokens, two of an observation, three sampled, reward 1 on the last."""
    batch = batch_of(Group(TASK, (make_trajectory(TASK, [0.0, 1.0], tokens=[2, 3], context=2),)))
    batch = valued(batch, [0.1, 0.2, 0.3, 0.4, 0.5], [0.1, 0.3, 9.0])
    estimator = TokenGAE(gamma=gamma, lam=lam)
    assert estimator(batch)[batch.mask].tolist() == pytest.approx(expected, abs=1e-8)
    wanted = [a + v for a, v in zip(expected, [0.1, 0.2, 0.3, 0.4, 0.5], strict=True)]
    assert estimator.targets(batch)[batch.mask].tolist() == pytest.approx(wanted, abs=1e-8)


def test_token_gae_loses_no_reward_between_turns_and_bootstraps_what_was_cut_short():
    ends = (Stop.TERMINATED, Stop.TRUNCATED)
    for stop, after in zip(ends, (0.0, 2.0), strict=True):
        batch = batch_of(Group(TASK, (make_trajectory(TASK, [1.0, 0.5, 4.0], tokens=[2, 0, 1], stop=stop),)))
        batch = valued(batch, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0])
        got = TokenGAE(lam=1.0)(batch)[batch.mask].tolist()
        assert got == pytest.approx([5.5 + after, 5.5 + after, 4.0 + after])  # turn 1 said nothing: its 0.5 lies before it
        assert TokenGAE(lam=1.0, bootstrap=False)(batch)[batch.mask].tolist() == pytest.approx([5.5, 5.5, 4.0])


def test_critics_say_what_they_need():
    batch = batch_of(make_group("a", [1.0, 0.0]))
    with pytest.raises(ConfigError, match=r'bilevel_gae: .* set critic.level = "token"'):
        BilevelGAE()(batch)
    with pytest.raises(ConfigError, match=r'token_gae: .* set critic.level = "token"'):
        TokenGAE()(batch)
    with pytest.raises(ConfigError, match=r"digirl: .* \[critic\]"):
        DigiRL()(batch)
    with pytest.raises(ConfigError, match=r"digirl.keep: expected a share in \(0, 1\], got 0"):
        DigiRL(keep=0)


def stepped(*rows: tuple[list[float], list[float]]) -> Batch:
    """Rewards of each row, and values before each turn and after the last."""
    batch = batch_of(make_group("a", *(rewards for rewards, _ in rows)))
    return replace(batch, values=torch.tensor([values for _, values in rows], dtype=torch.float64))


PROBABILITIES = [0.2, 0.3, 0.25, 0.7, 9.0]


def test_digirl_oracle():
    batch = stepped(([0, 0, 0, 1], PROBABILITIES), ([0, 0, 0, 0], PROBABILITIES))
    success, failure = per_turn(batch, DigiRL()(batch))
    assert success == pytest.approx([0.2125, 0.2125, 0.725, 1.0])
    assert failure == pytest.approx([0.0875, -0.0375, 0.225, 0])
    assert per_turn(batch, DigiRL(form="release")(batch))[1] == [1, 0, 1, 0]
    assert DigiRL().targets(batch).tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


def test_digirl_keeps_what_beat_its_instruction():
    rows = [([1.0], [0.9, 0.0]), ([1.0], [0.1, 0.0]), ([0.0], [0.0, 0.0]), ([0.0], [0.5, 0.0])]
    batch = stepped(*rows)
    assert per_turn(batch, DigiRL(keep=0.25)(batch)) == [[0], [1], [0], [0]]
    assert per_turn(batch, DigiRL(keep=0.5)(batch)) == [[1], [1], [0], [0]]


# --- all ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", COMPARING, ids=str)
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1e-8, 1e6])
def test_groups_of_twins_give_exactly_zero(estimator, value):
    """In float32, where 0.1 + 0.2 is not 0.3; and a group of one beside them."""
    batch = collate(
        [make_group("a", *([0.0, value],) * 3), make_group("b", *([value / 3] * 3,) * 7), make_group("c", [value, value])]
    )
    batch = replace(batch, terms={"implicit_prm": batch.turn_mask * value / 3})
    assert not estimator(batch).any()


@pytest.mark.parametrize("estimator", [*COMPARING, *OTHERS], ids=str)
def test_survivors_are_judged_as_if_the_failed_had_never_been(estimator):
    alive = tuple(make_trajectory(TASK, r) for r in ([1.0], [0.0, 0.0], [0.0, 1.0]))
    failed = (make_trajectory(TASK, [], failure="engine"), make_trajectory(TASK, [5.0, 5.0], failure="env"))
    clean, dirty = (batch_of(Group(TASK, alive + more)) for more in ((), failed))
    clean, dirty = (replace(b, terms={"implicit_prm": b.rewards / 2}) for b in (clean, dirty))
    assert torch.allclose(estimator(clean), estimator(dirty)[:3], atol=1e-15)


PARTS = [*COMPARING, ReinforcePP(gamma=0.9), ReinforcePP(baseline="group"), BilevelGAE(), TokenGAE(), DigiRL(keep=0.5)]


@pytest.mark.parametrize("estimator", PARTS, ids=str)
def test_parts_of_trajectories_are_refused(estimator):
    batch = stepped(([1.0, 0.0], [0.0, 0.0, 0.0]), ([0.0], [0.0, 0.0, 0.0]))
    batch = replace(batch, terms={"implicit_prm": batch.rewards}, token_values=torch.zeros_like(batch.logprobs))
    split, _ = one_row_per_turn(batch)
    with pytest.raises(ShapeError, match="one row per trajectory"):
        estimator(split)
