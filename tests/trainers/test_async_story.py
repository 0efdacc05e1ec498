"""Rollouts ahead of learning, killed at any moment and resumed, while environments break in every way: nothing is lost or taken
twice, nothing is admitted too early, and what is learned from is what a quiet run would have learned from."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainers.three import Three
from turnwise.agents.agent import RandomAgent
from turnwise.agents.episode import Limits
from turnwise.agents.retries import Retry
from turnwise.agents.worlds import Worlds
from turnwise.envs.testing import ChaosEnv
from turnwise.trainers.admission import Admission
from turnwise.trainers.ahead import Admitted, Ahead
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recipe import EnvChoice, Recipe
from turnwise.trainers.recording import how_it_ended, pack_admitted, unpack_admitted
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.rollouts.tree import Tree
from turnwise.trainers.schedule import Asynchronous
from turnwise.types import Family, Group, Trajectory

EXAMPLES = int(os.environ.get("TURNWISE_EXAMPLES", "8"))
CALLS = ("make", "reset", "step", "fork", "close")
FAULTS = ("fail", "hang", "crash", "nonsense")
STEPS = 5


@dataclass(frozen=True)
class Plan:
    """What is to happen."""

    recipe: Recipe
    rates: dict[str, float]
    where: tuple[str, ...]
    limits: Limits
    every: int
    """Steps between checkpoints."""
    kills: tuple[int, ...]
    """How many episodes have ended when each life is ended."""


@dataclass
class Story:
    """What has happened, in all lives."""

    plan: Plan
    learned: dict[int, list[Group]] = field(default_factory=dict[int, list[Group]])
    ends: list[Trajectory] = field(default_factory=list[Trajectory])
    """Of the present life."""
    saved: tuple[int, str] = (0, "[]")
    """The checkpoint: steps done, and what was admitted, as a file holds it."""

    async def live(self, kill: int | None) -> bool:
        """From the checkpoint to the end (True), or until so many episodes have ended."""
        first, admitted = self.saved
        plan, self.ends = self.plan, []
        struck = asyncio.Event()

        def ended(trajectory: Trajectory) -> None:
            self.ends.append(trajectory)
            if kill is not None and len(self.ends) >= kill:
                struck.set()

        chaos: dict[str, Any] = {**plan.rates, "where": plan.where, "hang_s": 0.3}
        worlds = Worlds(make=lambda *_, **__: ChaosEnv(Three(), **chaos), close_deadline_s=0.05)
        pool = LocalPool(worlds, RandomAgent(), plan.recipe.rollout, limits=plan.limits, concurrency=16, done=ended)
        lives = asyncio.create_task(self._steps(pool, first, [unpack_admitted(batch) for batch in json.loads(admitted)]))
        dies = asyncio.create_task(struck.wait())
        await asyncio.wait([lives, dies], return_when=asyncio.FIRST_COMPLETED)
        over = lives.done()
        for task in (lives, dies):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await lives
        await pool.close()
        if not over:
            self.learned = {step: groups for step, groups in self.learned.items() if step < self.saved[0]}
        return over

    async def _steps(self, pool: LocalPool, first: int, admitted: Sequence[Admitted]) -> None:
        recipe = self.plan.recipe
        sampler = recipe.sampler.start([(c.id, c.weight, c.difficulty) for c in recipe.env])
        async with Ahead(recipe, pool, first, admitted) as ahead:
            self._check(ahead.admission)
            for step in range(first, STEPS):
                ahead.admit(step, sampler)
                self._check(ahead.admission)
                groups = await ahead.take(step)
                self._check(ahead.admission)
                assert step not in self.learned and ahead.admission.version == step + 1
                assert {self._ended(t) for g in groups for t in g.trajectories} <= {0, 1}
                self.learned[step] = groups
                await asyncio.sleep(0)
                if (step + 1) % self.plan.every == 0:
                    kept = [pack_admitted(batch) for batch in await ahead.pending()]
                    self._check(ahead.admission)
                    self.saved = step + 1, json.dumps(kept)

    def _ended(self, trajectory: Trajectory) -> int:
        """How often it has; 0 are those of a checkpoint."""
        return sum(end is trajectory for end in self.ends)

    def _check(self, admission: Admission) -> None:
        recipe = self.plan.recipe
        bound = (recipe.schedule.eta + admission.version + 1) * recipe.tasks_per_step
        assert admission.accepted + admission.running <= bound
        assert admission.eta == recipe.schedule.eta and admission.room % recipe.tasks_per_step == 0


def told(story: Story) -> list[Any]:
    """Everything that was learned from."""
    return [
        [
            [(t.seed, how_it_ended(t), [(u.observation, u.action, u.reward) for u in t.turns]) for t in group.trajectories]
            for group in story.learned[step]
        ]
        for step in range(STEPS)
    ]


def carried_out(plan: Plan) -> Story:
    async def go() -> Story:
        story = Story(plan)
        for kill in (*plan.kills, None):
            if await story.live(kill):
                break
        return story

    return asyncio.run(asyncio.wait_for(go(), 300))


@given(
    eta=st.integers(0, 3),
    batch=st.integers(1, 3),
    drain=st.booleans(),
    every=st.integers(1, 3),
    branching=st.booleans(),
    rates=st.fixed_dictionaries({name: st.sampled_from([0.0, 0.02, 0.15]) for name in FAULTS}),
    where=st.sets(st.sampled_from(CALLS), min_size=1),
    attempts=st.integers(1, 3),
    kills=st.lists(st.integers(1, 20), max_size=3),
    seed=st.integers(0, 100),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_nothing_is_lost_or_admitted_too_early_whatever_breaks(
    eta: int,
    batch: int,
    drain: bool,
    every: int,
    branching: bool,
    rates: dict[str, float],
    where: set[str],
    attempts: int,
    kills: list[int],
    seed: int,
):
    recipe = Recipe(
        env=(EnvChoice(id="x/Three-v0"),),
        rollout=Tree() if branching else Independent(size=3),
        schedule=Asynchronous(eta=eta, drain=drain),
        tasks_per_step=batch,
        steps=STEPS,
        seed=seed,
    )
    hangs = rates["hang"] > 0
    limits = Limits(step_deadline_s=0.1 if hangs else 60.0, retry=Retry(attempts=attempts, pause_s=0.0))
    plan = Plan(recipe, rates, tuple(sorted(where)), limits, every, tuple(kills))
    story = carried_out(plan)
    assert sorted(story.learned) == list(range(STEPS)) and all(len(groups) == batch for groups in story.learned.values())
    everyone = [t for groups in story.learned.values() for group in groups for t in group.trajectories]
    assert len(set(map(id, everyone))) == len(everyone), "none is learned from twice"
    ways = Counter(how_it_ended(t) for t in everyone)
    assert ways.keys() <= {"terminated", *(family.value for family in Family)}
    if not any(rates.values()):
        assert ways.keys() == {"terminated"}
    if kills and not branching and not hangs and "make" not in where:  # faults of a constructor follow from how many were made
        assert told(story) == told(carried_out(replace(plan, kills=())))
