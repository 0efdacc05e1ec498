"""Learning tests: every estimator with every loss must learn to win a game that luck wins one time in nine."""

import asyncio
import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from turnwise.agents.agent import ModelAgent
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.episode import Limits, Problem
from turnwise.agents.worlds import Worlds, play_all
from turnwise.envs.core import Transition, TurnEnv
from turnwise.registry import names, resolve
from turnwise.trainers.aggregates import Constant, SequenceMean
from turnwise.trainers.critic import Critic
from turnwise.trainers.learner import LocalLearner
from turnwise.trainers.losses.gspo import GSPO
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import LocalPool
from turnwise.trainers.recipe import EnvChoice, Recipe
from turnwise.trainers.rewards.invalid_action import InvalidAction
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.run import update_of
from turnwise.trainers.sft import SFT, Teacher, encode, texts
from turnwise.trainers.trainer import train
from turnwise.types import Group, Task, Trajectory, Turn

pytestmark = pytest.mark.learning


class SayIt(TurnEnv):
    """Two turns: each observation shows a letter, and the reply has to hold it. Both right is success.

    A reward for each right turn, so that credit by turns and by trajectories both have something to go by.
    """

    levels = range(1, 2)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"say-{int(rng.integers(10**6))}", "say it", "", difficulty)

    def begin(self, task: Task) -> str:
        self.right = 0
        return self._show()

    def play(self, action: str) -> Transition:
        hit = self.letter in action
        self.right += hit
        return Transition(self._show(), 0.5 * hit, self.turn == 2, float(self.right == 2))

    def expert_action(self) -> str:
        return self.letter

    def _show(self) -> str:
        self.letter = "ab"[int(self.np_random.integers(2))]
        return self.letter


def luck(env: Any, rng: np.random.Generator) -> str:
    return "abc"[int(rng.integers(3))]


def worlds() -> Worlds:
    return Worlds(make=lambda env_id, **_: SayIt())


@cache
def warm_started() -> tuple[Any, ChatTemplate]:
    """A small model that says one of three letters, whichever was shown."""
    problems = [Problem("spine/SayIt-v0", i, {"split": "train"}) for i in range(64)]
    shown = asyncio.run(play_all(worlds(), Teacher(luck), [(p, p.seed) for p in problems], limits=Limits()))
    sizes = Scratch(hidden=24, layers=2, heads=2, mlp=48, vocabulary=320, context=64)
    model, tokenizer = sizes.build(texts(shown), 0)
    template = ChatTemplate(tokenizer)  # type: ignore[arg-type]
    sft = SFT(epochs=10.0, batch_size=16)
    list(sft.train(model, sft.rows([encode(t, template) for t in shown]), 0))
    return model, template


def learn(recipe: Recipe) -> list[float]:
    """Success at each step, until it is learned or the steps are over."""
    start, template = warm_started()
    model = copy.deepcopy(start)
    engine = TorchEngine(model)
    agent = ModelAgent(engine, template, Sampling(max_tokens=recipe.max_new_tokens))
    pool = LocalPool(worlds(), agent, recipe.rollout, limits=Limits())
    learner = LocalLearner(model, update_of(recipe), critic=recipe.critic, seed=recipe.seed)
    sampler = recipe.sampler.start([("spine/SayIt-v0", 1.0, ())])

    async def steps() -> list[float]:
        success: list[float] = []
        async for step in train(recipe, pool, learner, engine, sampler):
            success.append(step.metrics["success"])
            if fmean(success[-3:]) > 0.8:
                break
        return success

    return asyncio.run(steps())


GAME = Recipe(
    env=(EnvChoice(id="spine/SayIt-v0"),),
    rollout=Independent(size=8),
    optimizer=AdamW(lr=5e-3),
    epochs=2,
    minibatches=2,  # more than one step a batch: on policy all losses have the same gradient
    tasks_per_step=6,
    steps=30,
    max_new_tokens=2,
)

ADVANTAGES, LOSSES = (names(f"turnwise.trainers.{kind}") for kind in ("advantages", "losses"))


def assert_learned(success: Sequence[float]) -> None:
    assert fmean(success[:2]) < 0.3, "luck"
    assert fmean(success[-3:]) > 0.8, [round(x, 2) for x in success]


@pytest.mark.parametrize("advantage", ADVANTAGES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_estimator_learns_with_every_loss(advantage: str, loss: str):
    estimator = resolve("turnwise.trainers.advantages", advantage)()
    critic = Critic() if getattr(estimator, "needs_values", False) else None
    assert_learned(learn(replace(GAME, advantage=estimator, critic=critic, loss=resolve("turnwise.trainers.losses", loss)())))


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": MuonAdamW(lr=0.02, adam_lr=3e-3)},
        {"aggregate": SequenceMean()},
        {"aggregate": Constant(length=4)},
        {"loss": GSPO(level="turn"), "epochs": 1},
        {"kl": 0.01, "entropy": 0.001},
        {"rewards": (InvalidAction(),), "epochs": 2, "minibatches": 2},
    ],
    ids=lambda change: "-".join(change),
)
def test_every_setting_learns(change: dict[str, Any]):
    assert_learned(learn(replace(GAME, **change)))


def test_nothing_is_learned_from_rewards_that_say_nothing():
    """The same run, its rewards drawn by lot: whoever learned here would read the answer from somewhere it must not."""
    success = learn(replace(GAME, rewards=(ByLot(),), steps=16))
    assert fmean(success[-4:]) < 0.45, [round(x, 2) for x in success]


@dataclass(frozen=True, kw_only=True)
class ByLot:
    """Rewards that depend on nothing that was said."""

    async def __call__(self, groups: Sequence[Group]) -> list[Group]:
        rng = np.random.default_rng(sum(t.seed % 1000 for g in groups for t in g.trajectories))
        return [replace(g, trajectories=tuple(self._drawn(t, rng) for t in g.trajectories)) for g in groups]

    def _drawn(self, trajectory: Trajectory, rng: np.random.Generator) -> Trajectory:
        leaf: Turn | None = None
        for turn in trajectory.turns:
            leaf = replace(turn, reward=0.5 * int(rng.integers(2)), parent=leaf)
        return replace(trajectory, leaf=leaf)
