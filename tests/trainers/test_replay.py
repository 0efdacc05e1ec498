"""Tasks that come back with what solved them: the sampler, and the strategies that make something of it."""

import asyncio
import itertools
import json
from collections import Counter
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from turnwise.agents.agent import ModelAgent, Moment, Reply
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds
from turnwise.envs.core import Transition, TurnEnv
from turnwise.errors import ConfigError
from turnwise.trainers.batch import collate
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recipe import loads
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.rollouts.mcts import MCTS
from turnwise.trainers.rollouts.protocol import Recalling
from turnwise.trainers.rollouts.restart import Restart
from turnwise.trainers.samplers.replay import Replay
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Group, Stop, Task, Trajectory

ENVS = [("test/Way-v0", 1.0, (1,))]


class Way(TurnEnv):
    """Four turns, each answered with the seed's own number; solved if the last reply is "good"."""

    levels = range(1, 2)
    steps: ClassVar[Counter[str]] = Counter()
    drift: ClassVar[int] = 0
    """Added to what it says: an environment that does not replay."""

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"way-{int(rng.integers(10**6))}", "go", "", difficulty)

    def begin(self, task: Task) -> str:
        self.steps["reset"] += 1
        return task.id

    def play(self, action: str) -> Transition:
        self.steps["step"] += 1
        over = self.turn == 4
        won = float(over and action == "good")
        said = f"{self.task.id} {self.turn} {int(self.np_random.integers(1000)) + self.drift}"
        return Transition(said, won, over, outcome=won, role="user" if over else "tool")

    def expert_action(self) -> str:
        return "good"


class Talker:
    """Says "good" or "bad" by its seed, in two tokens."""

    async def reply(self, moment: Moment) -> Reply | None:
        ids = tuple(int(i) for i in np.random.default_rng(moment.seed).integers(3, 900, 2))
        return Reply(("good", "bad")[moment.seed % 2], (1,), ids, (-0.5, -0.5), (1.0, 1.0), "stop")

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        pass


def roll(rollout: Any, problems: list[Problem], seed: int = 0, agent: Any = None) -> list[Group]:
    Way.steps = Counter()
    pool = LocalPool(Worlds(make=lambda *_, **__: Way()), agent or Talker(), rollout, limits=Limits())

    async def story() -> list[Group]:
        groups = await pool.collect(problems, seed)
        await pool.close()
        return groups

    return asyncio.run(story())


def past_of(problem: Problem, agent: Any = None) -> Trajectory:
    """A whole trajectory of the task."""
    (group,) = roll(Independent(size=1), [problem], seed=11, agent=agent)
    return group.trajectories[0]


PROBLEM = Problem("test/Way-v0", 5, {"difficulty": 1})


# --- the sampler ---------------------------------------------------------------------------------------------------------


def group(seed: int, *outcomes: float, mark: int = 0, failed: int = 0) -> Group:
    """Rollouts of one task, all of different tokens; `mark` tells those of one call from another's."""
    task = Task(f"t{seed}", "", "", 1)
    rollouts = [make_trajectory(task, [0.0, o], outcome=o) for o in outcomes]
    rollouts += [make_trajectory(task, [9.0], outcome=1.0, failure="env")] * failed
    named = [
        replace(t, env_id="test/Way-v0", seed=seed, leaf=replace(t.leaf, action_ids=(mark, i), logprobs=(-1.0, -1.0)))
        for i, t in enumerate(rollouts)
        if t.leaf
    ]
    return Group(task, tuple(named))


def seeds_kept(state: Any) -> list[int]:
    return [seed for _, seed, _, _ in state["kept"]]


def test_what_is_solved_rarely_is_kept():
    sampler = Replay(rare=0.25)
    groups = [group(i, *[1.0] * right, *[0.0] * (8 - right)) for i, right in enumerate((0, 1, 2, 3, 8))]
    state = sampler.tell(sampler.start(ENVS), [*groups, group(9, 0.0, failed=3)])
    assert seeds_kept(state) == [1, 2] and state["asked"] == 6
    assert json.loads(json.dumps(state)) == state, "as a checkpoint wants it"
    problems = sampler.ask(state, 8, np.random.default_rng(0))
    assert len(problems) == 8 and [p.seed for p in problems if p.past] == [1, 2]
    known = next(p for p in problems if p.seed == 2)
    assert known.options == {"split": "train", "difficulty": 1} and known.env_id == "test/Way-v0"
    assert [t.ids for t in known.past] == [t.ids for t in groups[2].trajectories[:2]]
    assert sampler.ask(state, 1, np.random.default_rng(0))[0].past == (), "a quarter of one is none"
    assert [p.seed for p in Replay(share=1.0).ask(state, 2, np.random.default_rng(0))] == [1, 2]


def test_what_comes_back_is_judged_by_what_is_new():
    sampler = Replay(rare=0.25, solutions=2)
    state = sampler.tell(sampler.start(ENVS), [group(1, 1.0, 0.0, 0.0, 0.0), group(2, 1.0, 0.0, 0.0, 0.0)])
    cached = sampler.ask(state, 8, np.random.default_rng(0))[-2].past
    back = group(1, 0.0, 0.0, 0.0, mark=7)
    again = sampler.tell(state, [replace(back, trajectories=(*back.trajectories, *cached))])
    assert seeds_kept(again) == [2, 1], "the solution from the cache makes no success of it; to the end of the queue"
    assert [t.ids for t in Replay(share=1.0).ask(again, 2, np.random.default_rng(0))[1].past] == [t.ids for t in cached]
    more = sampler.tell(again, [group(1, 1.0, 0.0, 0.0, 0.0, mark=8)])
    assert len(Replay(share=1.0).ask(more, 2, np.random.default_rng(0))[1].past) == 2
    assert seeds_kept(sampler.tell(more, [group(1, 1.0, 1.0, 0.0, 0.0, mark=9)])) == [2], "no longer rare"


def test_a_restart_says_nothing_about_the_task():
    sampler = Replay()
    state = sampler.tell(sampler.start(ENVS), [group(1, 1.0, 0.0, 0.0, 0.0)])
    helped = group(1, 1.0, 1.0, 1.0, mark=3)
    given = tuple(
        replace(t, leaf=replace(t.leaf, parent=replace(t.leaf.parent, given=True)))
        for t in helped.trajectories
        if t.leaf and t.leaf.parent
    )
    assert sampler.tell(state, [replace(helped, trajectories=given)])["kept"] == state["kept"]


def test_the_oldest_go():
    sampler = Replay(tasks=3, solutions=1)
    state = sampler.tell(sampler.start(ENVS), [group(i, 1.0, 0.0, 0.0, 0.0) for i in range(5)])
    assert seeds_kept(state) == [2, 3, 4]
    for wrong in ("share=1.5", "rare=0.0", "tasks=0", "solutions=0"):
        with pytest.raises(ConfigError, match="sampler"):
            loads('env = "turnwise/Lookup-v0"\nsampler = "replay"', [f"sampler.{wrong}"])


# --- restarts from one's own ---------------------------------------------------------------------------------------------


def test_a_group_begins_on_the_way_of_an_earlier_trajectory():
    past = past_of(PROBLEM)
    lengths: set[int] = set()
    for seed in range(12):
        (group,) = roll(Restart(size=3, share=1.0, longest=9, source="own"), [replace(PROBLEM, past=(past,))], seed)
        given = [turn for turn in group.trajectories[0].turns if turn.given]
        lengths.add(len(given))
        assert [t.action_ids for t in given] == [t.action_ids for t in past.turns[: len(given)]]
        assert [t.observation for t in given] == [t.observation for t in past.turns[: len(given)]]
        assert len({t.turns[len(given) - 1] for t in group.trajectories}) == 1, "shared, played once"
        assert all(len(t.turns) == 4 and not t.turns[len(given)].given for t in group.trajectories)
        assert Way.steps == {"reset": 1, "step": len(given) + 3 * (4 - len(given))}
        assert group.spent.tokens == 2 * 3 * (4 - len(given)), "what is said again is not sampled"
    assert lengths == {1, 2, 3}, "from every state but the end"


def test_what_is_said_again_is_not_trained():
    model, tokenizer = Scratch(hidden=16, layers=1, heads=2, mlp=16, vocabulary=320, context=512).build(["way go good"], 0)
    agent = ModelAgent(TorchEngine(model), ChatTemplate(tokenizer), Sampling(max_tokens=5))  # type: ignore[arg-type]
    past = past_of(PROBLEM, agent)
    (group,) = roll(Restart(size=2, share=1.0, longest=1, source="own"), [replace(PROBLEM, past=(past,))], agent=agent)
    batch, given = collate([group]), past.turns[0]
    assert group.trajectories[0].ids[: len(given.context_ids) + len(given.action_ids)] == given.context_ids + given.action_ids
    assert not batch.mask[:, : len(given.context_ids) + len(given.action_ids)].any() and bool(batch.mask.any())


def test_without_a_past_or_a_way_it_starts_at_the_task():
    own = Restart(size=2, share=1.0, source="own")
    for problem in (PROBLEM, replace(PROBLEM, past=(replace(past_of(PROBLEM), leaf=past_of(PROBLEM).turns[0]),))):
        (group,) = roll(own, [problem])
        assert [t.turns[0].given for t in group.trajectories] == [False, False]
    past = replace(PROBLEM, past=(past_of(PROBLEM),))
    starts = [roll(Restart(size=2, share=0.5, source="own"), [past], seed)[0].trajectories[0] for seed in range(30)]
    assert 6 < sum(t.turns[0].given for t in starts) < 24
    (group,) = roll(Restart(size=2, share=1.0), [past])
    assert group.trajectories[0].turns[0].action == "good" and not group.trajectories[0].turns[0].action_ids, "the expert's"


def test_an_environment_that_does_not_replay_is_a_failure(monkeypatch: pytest.MonkeyPatch):
    past = past_of(PROBLEM)
    monkeypatch.setattr(Way, "drift", 1)
    (group,) = roll(Restart(size=3, share=1.0, longest=3, source="own"), [replace(PROBLEM, past=(past,))], seed=1)
    (failed,) = group.trajectories
    assert failed.stop is Stop.FAILED and failed.failure is not None and failed.failure.kind == "replay"
    assert "turn 1 began with" in failed.failure.detail


# --- the cache of solutions ----------------------------------------------------------------------------------------------


def test_a_solved_task_is_not_searched():
    past = past_of(PROBLEM)
    assert isinstance(MCTS(), Recalling) and not isinstance(Independent(), Recalling)
    (group,) = roll(MCTS(size=4, width=2), [replace(PROBLEM, past=(past, past))])
    *fresh, cached = group.trajectories
    assert cached is past and len(fresh) == 3
    assert Way.steps == {"reset": 3, "step": 12} and group.spent.tokens == 24, "plain rollouts; the solution costs nothing"
    assert all(a.turns[0] is not b.turns[0] for a, b in itertools.combinations(group.trajectories, 2))
    (group,) = roll(MCTS(size=4, width=2), [PROBLEM])
    assert any(a.turns[0] is b.turns[0] for a, b in itertools.combinations(group.trajectories, 2)), "a search shares"


def test_strategies_without_a_memory_take_no_notice():
    (group,) = roll(Independent(size=2), [replace(PROBLEM, past=(past_of(PROBLEM),))])
    assert len(group.trajectories) == 2 and not group.trajectories[0].turns[0].given


def test_round_and_round():
    """Sampler and strategy together, over steps: what was kept comes back and is worked on."""
    sampler, rollout = Replay(share=0.5, rare=0.5), MCTS(size=4, width=2)
    state, used = sampler.start(ENVS), 0
    for step in range(6):
        problems = sampler.ask(state, 6, np.random.default_rng(step))
        groups = roll(rollout, problems, seed=step)
        used += sum(group.trajectories[-1] is p.past[-1] for p, group in zip(problems, groups, strict=True) if p.past)
        state = sampler.tell(state, groups)
    assert used >= 3


def test_recipes_know_them():
    recipe = loads('env = "turnwise/Lookup-v0"\nsampler = "replay"\n[rollout]\nname = "restart"\nsource = "own"')
    assert isinstance(recipe.sampler, Replay) and isinstance(recipe.rollout, Restart) and recipe.rollout.source == "own"
