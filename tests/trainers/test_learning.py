"""Learning tests: every estimator, loss and transform must learn to win a game that luck wins one time in nine."""

import asyncio
import copy
import itertools
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
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.run import update_of
from turnwise.trainers.sft import SFT, Teacher, encode, texts
from turnwise.trainers.trainer import train
from turnwise.types import Group, Task, Trajectory, Turn

pytestmark = pytest.mark.learning


class SayIt(TurnEnv):
    """Two turns: each observation shows a letter, and the reply has to hold it. All right is success.

    A reward for each right turn, so that credit by turns and by trajectories both have something to go by.
    """

    levels = range(1, 2)
    length = 2

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"say-{int(rng.integers(10**6))}", "say it", "", difficulty)

    def begin(self, task: Task) -> str:
        self.right = 0
        return self._show()

    def play(self, action: str) -> Transition:
        hit = self.letter in action
        self.right += hit
        return Transition(self._show(), hit / self.length, self.turn == self.length, float(self.right == self.length))

    def expert_action(self) -> str:
        return self.letter

    def _show(self) -> str:
        self.letter = "ab"[int(self.np_random.integers(2))]
        return self.letter


class SayItLong(SayIt):
    """Four turns; luck wins once in 81."""

    length = 4


def luck(env: Any, rng: np.random.Generator) -> str:
    return "abc"[int(rng.integers(3))]


def worlds(env: type[SayIt] = SayIt) -> Worlds:
    return Worlds(make=lambda env_id, **_: env())


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


def learn(recipe: Recipe, env: type[SayIt] = SayIt, metric: str = "success") -> list[float]:
    """Success (or another metric) at each step, until it is learned or the steps are over."""
    start, template = warm_started()
    ticks = itertools.count()  # every step of the environment takes one second: credit by measured time would not replay
    model = copy.deepcopy(start)
    engine = TorchEngine(model)
    agent = ModelAgent(engine, template, Sampling(max_tokens=recipe.max_new_tokens))
    pool = LocalPool(worlds(env), agent, recipe.rollout, limits=Limits(clock=lambda: float(next(ticks))))
    learner = LocalLearner(model, update_of(recipe), critic=recipe.critic, seed=recipe.seed)
    sampler = recipe.sampler.start([("spine/SayIt-v0", 1.0, ())])

    async def steps() -> list[float]:
        success: list[float] = []
        async for step in train(recipe, pool, learner, engine, sampler):
            success.append(step.metrics[metric])
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


def with_advantage(name: str) -> Recipe:
    """The game with an estimator and what it needs."""
    estimator = resolve("turnwise.trainers.advantages", name)()
    level = "token" if getattr(estimator, "needs_token_values", False) else "turn"
    critic = Critic(level=level) if getattr(estimator, "needs_values", False) else None
    return replace(GAME, advantage=estimator, critic=critic, rewards=(Process(),) if name == "istar" else ())


@pytest.mark.parametrize(
    ("advantage", "loss"),
    [(a, "ppo_clip") for a in ADVANTAGES]
    + [(a, b) for a in ("grpo", "dr_grpo", "rloo", "trloo", "turn_gae") for b in LOSSES if b != "ppo_clip"],
)
def test_every_estimator_and_every_loss_learns(advantage: str, loss: str):
    assert_learned(learn(replace(with_advantage(advantage), loss=resolve("turnwise.trainers.losses", loss)())))


@pytest.mark.parametrize("transform", names("turnwise.trainers.transforms"))
def test_every_transform_learns(transform: str):
    method = resolve("turnwise.trainers.transforms", transform)()
    assert_learned(learn(replace(with_advantage("trloo"), transform=(method,))))


@pytest.mark.parametrize("advantage", ["turn_gae", "token_gae", "bilevel_gae"])
def test_token_ppo_with_a_critic_learns_a_longer_game(advantage: str):
    """Odysseus without its filter, and critics per token: four turns, credit for each from the critic, groups of one."""
    recipe = replace(with_advantage(advantage), rollout=Independent(size=1), tasks_per_step=48, min_survivors=1)
    reward = learn(recipe, SayItLong, "reward")
    assert fmean(reward[:2]) < 0.45, "luck"
    assert fmean(reward[-3:]) > 0.8, [round(x, 2) for x in reward]


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
class Process:
    """A process reward as a term: a little more for turns that earned something."""

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        return [replace(g, trajectories=tuple(self._shaped(t) for t in g.trajectories)) for g in groups]

    def _shaped(self, trajectory: Trajectory) -> Trajectory:
        leaf: Turn | None = None
        for turn in trajectory.turns:
            step = 0.1 * turn.reward
            terms = {**turn.reward_terms, "implicit_prm": step}
            leaf = replace(turn, reward=turn.reward + step, reward_terms=terms, parent=leaf)
        return replace(trajectory, leaf=leaf)


@dataclass(frozen=True, kw_only=True)
class ByLot:
    """Rewards that depend on nothing that was said."""

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        rng = np.random.default_rng(sum(t.seed % 1000 for g in groups for t in g.trajectories))
        return [replace(g, trajectories=tuple(self._drawn(t, rng) for t in g.trajectories)) for g in groups]

    def _drawn(self, trajectory: Trajectory, rng: np.random.Generator) -> Trajectory:
        leaf: Turn | None = None
        for turn in trajectory.turns:
            leaf = replace(turn, reward=0.5 * int(rng.integers(2)), parent=leaf)
        return replace(trajectory, leaf=leaf)
