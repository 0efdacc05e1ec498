"""Rollout strategies: which forks are asked for, on published numbers and in real pools."""

import asyncio
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest

from turnwise.agents.agent import ModelAgent, Moment, RandomAgent, Reply
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.store import TrajectoryWriter, read_trajectories
from turnwise.agents.worlds import Worlds
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.testing import ChaosEnv
from turnwise.errors import ConfigError, Unsupported
from turnwise.trainers.advantages.tree import Tree as TreeCredit
from turnwise.trainers.batch import collate
from turnwise.trainers.branching import entropy_rise, first_entropy, lot
from turnwise.trainers.monitor import group_metrics
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import Budget, LocalPool
from turnwise.trainers.rollouts.entropy_balanced import EntropyBalanced
from turnwise.trainers.rollouts.entropy_branching import EntropyBranching
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.rollouts.mcts import MCTS, Value, backed_up
from turnwise.trainers.rollouts.protocol import Ended, Grow, Played, Sampled
from turnwise.trainers.rollouts.restart import Restart
from turnwise.trainers.rollouts.tree import Tree
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Group, Stop, Task, Trajectory, Turn

TASK = Task("t", "", "", 0)


class Steps(TurnEnv):
    """`difficulty` turns; every turn but the last is a tool call. Solved if the last reply holds an even number of letters a."""

    metadata: ClassVar[dict[str, Any]] = {**TurnEnv.metadata, "inline": True}
    levels = range(1, 9)
    log: ClassVar[Counter[str]] = Counter()

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"steps-{int(rng.integers(10**6))}-{difficulty}", "go", "", difficulty)

    def begin(self, task: Task) -> str:
        self.log["reset"] += 1
        return task.id

    def play(self, action: str) -> Transition:
        self.log["step"] += 1
        last = self.turn == self.task.difficulty
        won = float(action.count("a") % 2 == 0 and last)
        return Transition(f"result {self.turn}", won, last, outcome=won, role="user" if last else "tool")

    def expert_action(self) -> str:
        return "aa"

    def fork(self) -> Any:
        self.log["fork"] += 1
        return super().fork()

    def close(self) -> None:
        self.log["close"] += 1


@dataclass
class Unsure:
    """Says one of two things by its seed; how unsure it is after tool results the test says."""

    after: Sequence[float] = (3.0, 3.0, 3.0)
    first: Sequence[float] = (1.0, 1.0, 1.0)
    said: list[Reply] = field(default_factory=list[Reply])

    async def reply(self, moment: Moment) -> Reply | None:
        entropies = tuple(self.first if moment.parent is None else self.after)
        text = ("a", "aa")[moment.seed % 2]
        ids = tuple(int(i) for i in np.random.default_rng(moment.seed).integers(3, 9, len(entropies)))
        reply = Reply(text, (1,), ids, (-0.5,) * len(ids), entropies, "stop")
        self.said.append(reply)
        return reply

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        pass


def roll(
    rollout: Any, agent: Any = None, *, turns: int = 4, count: int = 1, seed: int = 0, make: Any = None, **kwargs: Any
) -> list[Group]:
    Steps.log = Counter()
    pool = LocalPool(Worlds(make=make or (lambda *_, **__: Steps())), agent or Unsure(), rollout, limits=Limits(), **kwargs)

    async def story() -> list[Group]:
        problems = [Problem("test/Steps-v0", i, {"difficulty": turns}) for i in range(count)]
        groups = await pool.collect(problems, seed)
        await pool.close()
        return groups

    return asyncio.run(story())


def shape(group: Group) -> list[list[int]]:
    """Each trajectory as numbers of its turns; equal numbers are the same turn."""
    numbers: dict[Turn, int] = {}
    return [[numbers.setdefault(turn, len(numbers)) for turn in t.turns] for t in group.trajectories]


def tokens(groups: Sequence[Group]) -> list[list[tuple[int, ...]]]:
    return [[t.ids for t in group.trajectories] for group in groups]


# --- entropy branching -------------------------------------------------------------------------------------------------


def entropy(*probabilities: float) -> float:
    return -sum(p * math.log(p) for p in probabilities)


def chain(*entropies: Sequence[float], tools: int = 1) -> Turn:
    leaf: Turn | None = None
    for values in entropies:
        turn = make_trajectory(TASK, [0.0], tokens=[len(values)]).leaf
        assert turn is not None
        leaf = replace(turn, entropies=tuple(values), tool_calls=tools, parent=leaf)
    assert leaf is not None
    return leaf


def reply(*entropies: float) -> Reply:
    return Reply("x", (), tuple(range(len(entropies))), (0.0,) * len(entropies), tuple(entropies))


def test_the_rise_on_published_numbers():
    """Sheet s01: three likeliest of 32 entries."""
    first = (entropy(0.7, 0.2, 0.1), entropy(0.9, 0.05, 0.05))
    after = (entropy(0.4, 0.3, 0.3), entropy(0.5, 0.3, 0.2))
    assert first_entropy(first, 20, 32) == pytest.approx(0.345155, abs=1e-6)
    assert first_entropy(after, 20, 32) == pytest.approx(0.611285, abs=1e-6)
    rise = entropy_rise(chain(first), reply(*after), 20, 32)
    assert rise == pytest.approx(0.266130, abs=1e-6)
    assert 0.5 + 0.2 * rise == pytest.approx(0.553226, abs=1e-6)
    assert entropy_rise(chain(first), reply(*after), 1, 32) == pytest.approx((after[0] - first[0]) / math.log(32))


def test_the_rise_is_against_the_first_reply_of_the_same_trajectory():
    """Not against whatever was recorded under some index in an earlier batch (fault 4 of the public release)."""
    node = chain((1.0,), (9.0,), (5.0,))
    assert entropy_rise(node, reply(3.0), 20, 32) == pytest.approx(2.0 / math.log(32))
    assert entropy_rise(chain((2.5,), (9.0,)), reply(3.0), 20, 32) == pytest.approx(0.5 / math.log(32))
    guided = chain((0.0,), (1.0,))
    guided = replace(guided, parent=replace(guided.path()[0], given=True))
    assert entropy_rise(guided, reply(3.0), 20, 32) == pytest.approx(2.0 / math.log(32)), "an expert's reply is nobody's doubt"
    assert entropy_rise(guided.path()[0], reply(3.0), 20, 32) == 0.0


def test_an_engine_without_entropies_is_refused():
    with pytest.raises(Unsupported, match="engine that gives entropies"):
        entropy_rise(chain((1.0,)), Reply("x", (), (1, 2)), 20, 32)


def test_forks_leave_after_the_tools_result_and_before_the_reply():
    (group,) = roll(EntropyBranching(size=8, initial=1, base=1.0, width=2), turns=4)
    assert len(group.trajectories) == 8
    for trajectory in group.trajectories[1:]:
        shared = [t for t in trajectory.turns if t in group.trajectories[0].turns]
        assert all(turn.tool_calls for turn in shared)
    rows = shape(group)
    assert rows[0] == [0, 1, 2, 3] and rows[1][0] == 0 and rows[1][1] not in rows[0], "the first fork leaves after the first tool"
    assert Steps.log["step"] == len({n for row in rows for n in row}) == len(list(group.nodes())), "nothing is played twice"
    assert Steps.log["fork"] == sum(row[0] == 0 for row in rows[1:])


def test_no_fork_without_a_rise_and_fresh_starts_fill_the_group():
    agent = Unsure(after=(0.0,) * 3, first=(9.0,) * 3)
    (group,) = roll(EntropyBranching(size=6, initial=2, base=0.5, weight=10.0), agent)
    assert len(group.trajectories) == 6 and len({row[0] for row in shape(group)}) == 6
    assert Steps.log["fork"] == 0 and Steps.log["reset"] == 6
    assert len({t.ids for t in group.trajectories}) > 1, "fresh ones, no copies of the last"


def test_a_node_is_decided_once_and_never_wider_than_told():
    (group,) = roll(EntropyBranching(size=27, initial=1, base=1.0, width=3), turns=4)
    children: dict[int, set[int]] = {}
    for row in shape(group):
        for before, after in itertools.pairwise(row):
            children.setdefault(before, set()).add(after)
    assert {len(below) for below in children.values()} == {3} and len(children) == 1 + 3 + 9, "three after each of three tools"


def test_the_share_of_forks_is_the_chance():
    """600 nodes at which Pr = 0.5 + 0.2 * (6 - 3) / ln 1024: within four standard errors."""
    chance = 0.5 + 0.2 * 3 / math.log(1024)
    hits = [lot(seed, chain((1.0, 1.0, 1.0)), 0) < chance for seed in range(600)]
    assert abs(np.mean(hits) - chance) < 4 * math.sqrt(chance * (1 - chance) / 600)
    strategy = EntropyBranching(size=2, initial=1)
    forked = 0
    for seed in range(600):
        state = strategy.start(np.random.default_rng(seed))
        _, state = strategy.ask(state)
        node = chain((1.0, 1.0, 1.0))
        state = strategy.tell(state, Sampled(node, reply(2.0, 2.0, 2.0)))
        wishes, state = strategy.ask(state)
        assert wishes in ((), (Grow(node),))
        forked += len(wishes)
    assert abs(forked / 600 - chance) < 4 * math.sqrt(chance * (1 - chance) / 600)


@pytest.mark.parametrize("rollout", [EntropyBranching(size=6, initial=2), EntropyBalanced(size=6), Tree(), MCTS(size=4, width=2)])
def test_the_same_seed_gives_the_same_tree_at_any_concurrency(rollout: Any):
    model, tokenizer = Scratch(hidden=16, layers=1, heads=2, mlp=16, vocabulary=320, context=512).build(["steps result"], 0)

    def once(concurrency: int, seed: int) -> list[list[tuple[int, ...]]]:
        agent = ModelAgent(TorchEngine(model), ChatTemplate(tokenizer), Sampling(max_tokens=5))  # type: ignore[arg-type]
        return tokens(roll(rollout, agent, turns=3, count=2, seed=seed, concurrency=concurrency))

    assert once(64, 1) == once(64, 1)
    assert once(64, 1) != once(64, 2)


def test_failures_end_and_the_group_is_filled():
    broken = iter(range(10_000))

    def chaos(*_: Any, **__: Any) -> gymnasium.Env[Any, Any]:
        return ChaosEnv(Steps(), fail=0.2, seed=next(broken))

    for rollout in (EntropyBranching(size=8, initial=2), EntropyBalanced(size=8), MCTS(size=8, width=2), Independent(size=8)):
        groups = roll(rollout, make=chaos, count=6)
        assert [len(group.trajectories) for group in groups] == [8] * 6, type(rollout).__name__
        assert any(t.failed for group in groups for t in group.trajectories)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EntropyBranching(size=4, initial=5), "rollout.initial: expected 1 to size"),
        (lambda: EntropyBranching(width=0), "rollout.width"),
        (lambda: EntropyBalanced(size=1), "rollout.size"),
        (lambda: Tree(splits=(2, 1)), "rollout.splits"),
        (lambda: Tree(roots=0), "roots and width"),
        (lambda: Restart(share=2.0), "rollout.share"),
        (lambda: Restart(longest=0), "longest"),
        (lambda: MCTS(width=0), "rollout.width"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        make()


# --- AEPO ----------------------------------------------------------------------------------------------------------------


def test_the_budget_split_on_published_numbers():
    strategy = EntropyBalanced(size=16, beta=2.0, vocabulary=3, tokens=1)
    scale = math.log(3)

    def first(root: float, tool: float) -> Trajectory:
        return replace(make_trajectory(TASK, [0.0]), leaf=chain((root * scale,), (tool * scale,)))

    assert strategy.roots(first(0.6, 0.4)) == round(9.579003) == 10
    assert strategy.roots(first(0.4, 0.6)) == round(6.420997) == 6
    assert strategy.roots(first(100.0, 0.0)) == 15 and strategy.roots(first(0.0, 100.0)) == 1
    assert strategy.roots(replace(make_trajectory(TASK, [0.0]), leaf=chain((1.0,), tools=0))) == 8
    assert strategy.roots(make_trajectory(TASK, [0.0], failure="env")) in range(1, 16)


@pytest.mark.parametrize(("streak", "chance"), [(0, 0.58), (1, 0.464), (2, 0.348), (5, 0.0), (9, 0.0)])
def test_chains_that_branch_again_and_again_are_slowed_down(streak: int, chance: float):
    assert EntropyBalanced(base=0.5, weight=0.2, damping=0.2).chance(0.4, streak) == pytest.approx(chance)


def test_one_trajectory_looks_ahead_and_the_rest_is_split():
    agent = Unsure(after=(1.0,) * 3, first=(1.0,) * 3)
    (group,) = roll(EntropyBalanced(size=8, base=1.0, damping=0.0), agent)
    rows = shape(group)
    assert len(rows) == 8 and rows[0] == [0, 1, 2, 3] and all(row[0] != 0 for row in rows[1:]), "the first never branches"
    roots = len({row[0] for row in rows})
    assert roots == 4, "equal entropies: half of the group starts at the task"


# --- tree ----------------------------------------------------------------------------------------------------------------


def test_the_tree_has_its_shape():
    (group,) = roll(Tree(roots=2, width=2, splits=(1, 3)), turns=4)
    rows = shape(group)
    assert len(rows) == 8 and Counter(row[0] for row in rows) == {row[0]: 4 for row in rows}
    assert [len({row[i] for row in rows}) for i in range(4)] == [2, 4, 4, 8]
    assert Steps.log["step"] == 18 and Steps.log["reset"] == 2 and Steps.log["fork"] == 6
    advantage = TreeCredit()(collate([group]))
    assert advantage.shape[0] == 8


def test_what_ends_before_a_split_has_no_leaves_there():
    (group,) = roll(Tree(roots=3, width=2, splits=(2, 5)), turns=2)
    assert len(group.trajectories) == 3


# --- restart -------------------------------------------------------------------------------------------------------------


def test_a_group_begins_where_the_expert_left_off():
    (group,) = roll(Restart(size=4, share=1.0, longest=1), turns=3)
    rows = shape(group)
    assert len(rows) == 4 and {row[0] for row in rows} == {0} and len({row[1] for row in rows}) == 4
    first = group.trajectories[0].turns[0]
    assert first.given and first.action == "aa" and Steps.log["reset"] == 1


def test_the_experts_tokens_are_seen_and_never_trained():
    model, tokenizer = Scratch(hidden=16, layers=1, heads=2, mlp=16, vocabulary=320, context=512).build(["steps result"], 0)
    agent = ModelAgent(TorchEngine(model), ChatTemplate(tokenizer), Sampling(max_tokens=5))  # type: ignore[arg-type]
    (group,) = roll(Restart(size=3, share=1.0, longest=1), agent, turns=3)
    given = group.trajectories[0].turns[0]
    assert given.given and given.action_ids
    batch = collate([group])
    start = len(given.context_ids)
    assert not batch.mask[:, : start + len(given.action_ids)].any() and bool(batch.mask.any())
    assert batch.tokens[0, start : start + len(given.action_ids)].tolist() == list(given.action_ids)
    assert group.spent.tokens == sum(len(turn.action_ids) for turn, _ in group.nodes() if not turn.given)


def test_it_stops_before_the_expert_would_be_done():
    (group,) = roll(Restart(size=2, share=1.0, longest=9), turns=2, seed=5)
    assert all(len(t.turns) == 2 and not t.turns[-1].given for t in group.trajectories)
    (group,) = roll(Restart(size=2, share=1.0, longest=9), turns=1)
    assert all(len(t.turns) == 1 and not t.turns[0].given for t in group.trajectories), "nothing to show before the end"


def test_the_rest_of_the_groups_starts_at_the_task():
    groups = roll(Restart(size=2, share=0.5, longest=2), turns=4, count=60)
    guided = sum(group.trajectories[0].turns[0].given for group in groups)
    assert 15 < guided < 45
    assert all(len({t.turns[0].given for t in group.trajectories}) == 1 for group in groups)


def test_what_was_given_survives_the_store(tmp_path: Any):
    (group,) = roll(Restart(size=2, share=1.0, longest=1), turns=3)
    with TrajectoryWriter(tmp_path / "t.jsonl") as writer:
        writer.write(group.trajectories)
    back = list(read_trajectories(tmp_path / "t.jsonl"))
    assert [[turn.given for turn in t.turns] for t in back] == [[True, False, False]] * 2


# --- search --------------------------------------------------------------------------------------------------------------


def test_values_and_choices_on_published_numbers():
    """The sheet's case: root -> a, b; a -> a1, a2; three ends, in any order."""
    a = chain((0.0,))
    a1, a2, b = replace(a, parent=a), replace(a, parent=a), chain((0.0,))
    base = make_trajectory(TASK, [0.0])
    ends = [
        replace(base, leaf=replace(a1, outcome=0.0)),
        replace(base, leaf=replace(a2, outcome=1.0)),
        replace(base, leaf=replace(b, outcome=0.0)),
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]):
        values: dict[Any, Value] = {}
        for i in order:
            values = backed_up(values, ends[i])
        total = {name: values[node].total for name, node in (("root", None), ("a", a), ("b", ends[2].leaf))}
        assert total == pytest.approx({"root": 1 / 3, "a": 2 / 3, "b": -1.0}), "the order of the ends does not matter"
        assert values[ends[0].leaf].total == -1.0 and values[ends[1].leaf].total == 1.0
        search = MCTS()
        root = values[None]
        assert search.uct(values[a], root) == pytest.approx(1.815637, abs=1e-6)
        assert search.uct(values[ends[2].leaf], root) == pytest.approx(1.096294, abs=1e-6)
        assert search.priority(replace(a1, logprobs=(-0.5,)), values[a]) == pytest.approx(0.330373, abs=1e-6)
        assert search.priority(replace(b, logprobs=(-0.9,)), root) == pytest.approx(0.405512, abs=1e-6)
    assert MCTS().uct(Value(), Value(3)) == 0.0, "no bonus without visits"


def test_the_search_ends_with_its_trajectories_and_counts_all():
    agent = Unsure()
    (group,) = roll(MCTS(size=6, width=3), agent, turns=3)
    assert len(group.trajectories) == 6 and all(t.stop is Stop.TERMINATED for t in group.trajectories)
    kept = sum(len(turn.action_ids) for turn, _ in group.nodes())
    assert group.spent.tokens == sum(len(r.action_ids) for r in agent.said) > kept, "branches left behind are counted"
    assert group.spent.tool_calls <= Steps.log["step"] == len(agent.said)
    assert Steps.log["reset"] == 3, "the search goes on from where it paused"


def test_the_surest_path_to_success_is_followed():
    """Of the frontier, below a node with a correct end comes before below one with a wrong end."""
    good, bad = chain((0.0,)), chain((0.0,))
    values = backed_up({}, replace(make_trajectory(TASK, [1.0]), leaf=replace(good, parent=None, outcome=1.0)))
    search = MCTS()
    below_good, below_bad = replace(good, parent=good), replace(bad, parent=bad)
    assert search.priority(below_good, Value(1, good=1.0)) > search.priority(below_bad, Value(1, bad=1.0))
    assert values[None].total > 0


# --- budgets ---------------------------------------------------------------------------------------------------------------


def test_nobody_samples_beyond_the_budget():
    agent = Unsure()
    (group,) = roll(Independent(size=4), agent, turns=8, budget=Budget(tokens=30))
    assert 30 <= group.spent.tokens < 30 + 4 * 3 and group.spent.tokens == 3 * len(agent.said)
    assert Counter(t.stop for t in group.trajectories) == {Stop.TERMINATED: 1, Stop.BUDGET: 3}
    (group,) = roll(Independent(size=4), turns=8, budget=Budget(tool_calls=10))
    assert 10 <= group.spent.tool_calls < 14
    (group,) = roll(MCTS(size=8, width=4), turns=8, budget=Budget(tokens=20))
    assert group.spent.tokens < 20 + 4 * 3 and len(group.trajectories) == 8
    metrics = group_metrics([group])
    assert metrics["spent/tokens"] == group.spent.tokens and metrics["truncated_budget"] > 0


def test_spending_is_the_sum_over_distinct_turns():
    for rollout in (Independent(size=4), EntropyBranching(size=6, initial=2, base=0.8), Tree()):
        (group,) = roll(rollout, turns=4)
        assert group.spent.tokens == sum(len(turn.action_ids) for turn, _ in group.nodes())
        assert group.spent.tool_calls == sum(turn.tool_calls for turn, _ in group.nodes())


def test_every_environment_is_closed():
    for rollout in (EntropyBranching(size=6, initial=2, base=0.8), Tree(), MCTS(size=4, width=2), Restart(size=3, share=1.0)):
        made: list[Steps] = []

        def make(*_: Any, made: list[Steps] = made, **__: Any) -> Steps:
            made.append(Steps())
            return made[-1]

        roll(rollout, RandomAgent(), make=make, turns=4, count=3)
        assert Steps.log["close"] == len(made) + Steps.log["fork"], type(rollout).__name__


def test_events_tell_what_happened_in_order():
    seen: list[str] = []

    @dataclass(frozen=True)
    class Listens(Independent):
        def tell(self, state: int, event: Any) -> int:
            seen.append(type(event).__name__ + ("!" if isinstance(event, Played) and event.over else ""))
            if isinstance(event, Ended):
                assert event.trajectory.stop is Stop.TERMINATED
            return state

    roll(Listens(size=1), turns=3)
    assert seen == ["Sampled", "Played", "Sampled", "Played", "Sampled", "Played!", "Ended"]
