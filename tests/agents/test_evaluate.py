"""Evaluation of real agents in a small real environment, and summaries of trajectories made by hand."""

import asyncio
import json
from typing import Any

import gymnasium
import numpy as np
import pytest

from turnwise.agents.agent import ExpertAgent, Moment, RandomAgent, Reply
from turnwise.agents.episode import Limits
from turnwise.agents.evaluate import Evaluation, evaluate, starts, summarize
from turnwise.agents.statistics import wilson
from turnwise.agents.worlds import Worlds
from turnwise.envs import Transition, TurnEnv
from turnwise.errors import ConfigError, EnvFailure
from turnwise.types import Failure, Group, Stop, Task, Trajectory, Turn


class Guess(TurnEnv):
    """Say the number. With `fragile`, tasks whose number is divisible by it break the sandbox at the first step."""

    levels = range(1, 6)

    def __init__(self, *, fragile: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fragile = fragile

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        number = int(rng.integers(0, 100 * difficulty))
        return Task(f"guess-{difficulty}-{number}", "Guess.", str(number), difficulty)

    def begin(self, task: Task) -> str:
        return f"Guess a number near {task.answer}."

    def play(self, action: str) -> Transition:
        if self.fragile and int(self.task.answer) % self.fragile == 0:
            raise EnvFailure("sandbox", "it fell over")
        if not action.isdigit():
            return self.refuse("Digits, please.")
        right = float(action == self.task.answer)
        return Transition("Well.", right, terminated=bool(right), outcome=right, terms={"right": right}, role="tool")

    def expert_action(self) -> str:
        return self.task.answer

    def turn_limit(self, task: Task) -> int:
        return 3


class Coin:
    """Right with a chance that is the agent's, drawn from the moment's seed; wrong by one otherwise. Says one token a digit."""

    def __init__(self, chance: float) -> None:
        self.chance = chance

    async def reply(self, moment: Moment) -> Reply | None:
        answer = int(moment.env.unwrapped.expert_action())  # type: ignore[attr-defined]
        right = np.random.default_rng(moment.seed).random() < self.chance
        text = str(answer if right else answer + 1)
        return Reply(text, (1, 2), tuple(map(int, text)), (-1.0,) * len(text), (), "stop")

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        pass


def worlds(**kwargs: Any) -> Worlds:
    def make(env_id: str, *, disable_env_checker: bool, **kwargs: Any) -> gymnasium.Env[Any, Any]:
        return Guess(**kwargs)

    return Worlds(kwargs, make=make)


def run(agent: Any, world: Worlds | None = None, **settings: Any) -> Evaluation:
    return asyncio.run(evaluate(world or worlds(), agent, "test/Guess-v0", **settings))


def test_the_expert_solves_everything_and_random_text_nothing() -> None:
    expert = run(ExpertAgent(), tasks=40, samples=2)
    assert expert.success is not None and expert.success.mean == 1.0
    assert expert.success.low == pytest.approx(wilson(40, 40)[0])
    assert {k: e.mean for k, e in expert.pass_at.items()} == {1: 1.0, 2: 1.0} == {k: e.mean for k, e in expert.all_at.items()}
    assert expert.turns is not None and expert.turns.mean == 1.0 and expert.invalid == 0.0
    assert expert.tool_calls is not None and expert.tool_calls.mean == 1.0
    assert expert.tokens is None  # it has none; 0 would be a lie
    assert expert.stops == {"terminated": 80} and expert.failures == {}
    random = run(RandomAgent(), tasks=40)
    assert random.success is not None and (random.success.mean, random.success.method) == (0.0, "wilson")
    assert random.invalid is not None and random.invalid > 0.9
    assert random.stops == {"truncated": 40} and random.turns is not None and random.turns.mean == 3.0


def test_failures_are_counted_and_in_no_mean() -> None:
    result = run(ExpertAgent(), worlds(fragile=3), tasks=60, samples=2)
    broken = [t for t in result.tasks if int(t.task.answer) % 3 == 0]
    assert 5 < len(broken) < 40
    assert result.failures == {"sandbox": 2 * len(broken)} and result.failed == 2 * len(broken)
    assert result.played + result.failed == 120
    assert result.success is not None and result.success.mean == 1.0 and result.success.n == 60 - len(broken)
    assert all(t.outcomes == () and t.failures == 2 for t in broken)


def test_when_everything_fails_there_is_no_number() -> None:
    result = run(ExpertAgent(), worlds(fragile=1), tasks=5)
    assert result.success is None and result.reward is None and result.mean_at_k is None and result.pass_at == {}
    assert result.failures == {"sandbox": 5} and result.stops == {}
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["success"] is None


def test_equal_seeds_give_equal_results_and_a_longer_run_contains_the_shorter() -> None:
    long = run(Coin(0.3), tasks=30, samples=4, seed=7)
    assert long.to_json() == run(Coin(0.3), tasks=30, samples=4, seed=7, concurrency=1).to_json()
    short = run(Coin(0.3), tasks=10, samples=2, seed=7)
    assert [t.outcomes for t in short.tasks] == [t.outcomes[:2] for t in long.tasks[:10]]
    assert run(Coin(0.3), tasks=10, seed=8).to_json()["tasks"] != run(Coin(0.3), tasks=10, seed=7).to_json()["tasks"]
    assert len({seed for _, seed in starts("x", tasks=9, samples=9, split="test", difficulty=None, seed=0)}) == 81


def test_pass_at_k_of_a_known_chance() -> None:
    # Three turns a try: a sample succeeds with 1 - 0.8^3.
    result = run(Coin(0.2), tasks=150, samples=8, seed=3)
    p = 1 - 0.8**3
    assert sorted(result.pass_at) == [1, 2, 4, 8]
    for k, estimate in result.pass_at.items():
        assert estimate.low - 0.02 < 1 - (1 - p) ** k < estimate.high + 0.02
        assert estimate.low <= estimate.mean <= estimate.high
        assert result.all_at[k].low - 0.02 < p**k < result.all_at[k].high + 0.02
    assert result.success is not None and result.success.method == "bootstrap"
    assert result.mean_at_k == pytest.approx(result.success.mean) == pytest.approx(result.pass_at[1].mean)
    assert result.tokens is not None and result.tokens.mean > 1.0


def test_every_trajectory_is_seen_once_as_it_ends() -> None:
    seen: list[Trajectory] = []
    result = run(Coin(0.5), tasks=12, samples=3, done=seen.append)
    assert sorted(map(id, seen)) == sorted(id(t) for group in result.groups for t in group.trajectories)


def test_settings_the_environment_refuses_raise_at_once() -> None:
    with pytest.raises(ConfigError, match="difficulty must be an int from 1 to 5, got 9"):
        run(ExpertAgent(), tasks=3, difficulty=9)
    with pytest.raises(ConfigError, match="no split is called 'tset'"):
        run(ExpertAgent(), tasks=3, split="tset")
    with pytest.raises(ConfigError, match="tasks=0"):
        run(ExpertAgent(), tasks=0)


def test_several_levels_share_the_tasks() -> None:
    result = run(ExpertAgent(), worlds(fragile=2), tasks=45, difficulty=[1, 3, 5])
    assert result.difficulty == (1, 3, 5) and [t.task.difficulty for t in result.tasks[:4]] == [1, 3, 5, 1]
    assert sorted(result.by_difficulty) == [1, 3, 5]
    assert sum(e.n for e in result.by_difficulty.values()) == result.played < 45
    assert all(e.mean == 1.0 for e in result.by_difficulty.values())


def test_turns_are_bounded_by_the_limits() -> None:
    result = run(Coin(0.0), tasks=4, limits=Limits(max_turns=2))
    assert result.turns is not None and result.turns.mean == 2.0 and result.stops == {"truncated": 4}


def _trajectory(outcome: float, rewards: list[float], *, tokens: int = 2, failure: Failure | None = None) -> Trajectory:
    leaf: Turn | None = None
    for k, reward in enumerate(rewards):
        leaf = Turn(
            observation="o",
            context_ids=(1,),
            action="a",
            action_ids=(5,) * tokens,
            logprobs=(0.0,) * tokens,
            entropies=(),
            reward=reward,
            reward_terms={"r": reward},
            outcome=outcome if k == len(rewards) - 1 else 0.0,
            valid=k > 0,
            tool_calls=1,
            stop_reason="stop",
            version=0,
            duration_s=0.0,
            parent=leaf,
        )
    return Trajectory(Task("t", "", "", 1), "e", 4, leaf, Stop.FAILED if failure else Stop.TERMINATED, failure)


def test_a_summary_by_hand() -> None:
    broken = _trajectory(0.0, [1.0], failure=Failure("timeout", "slow"))
    groups = [
        Group(Task("a", "", "", 1), (_trajectory(1.0, [0.0, 1.0]), _trajectory(0.5, [0.5]), _trajectory(1.0, [1.0]))),
        Group(Task("b", "", "", 2), (_trajectory(0.0, [0.0, 0.0], tokens=3), broken, broken)),
    ]
    result = summarize(groups, env_id="e", samples=3, split="test", difficulty=None, seed=0)
    assert result.success is not None and result.success.mean == pytest.approx(2 / 4)
    assert result.mean_at_k == pytest.approx((2 / 3 + 0) / 2)
    assert result.outcome is not None and result.outcome.mean == pytest.approx(2.5 / 4)
    assert result.reward is not None and result.reward.mean == pytest.approx(2.5 / 4)
    assert result.turns is not None and result.turns.mean == pytest.approx(6 / 4)
    assert result.tokens is not None and result.tokens.mean == pytest.approx((4 + 2 + 2 + 6) / 4)
    assert result.tool_calls is not None and result.tool_calls.mean == pytest.approx(6 / 4)
    assert result.invalid == pytest.approx(4 / 6)
    assert (result.stops, result.failures) == ({"terminated": 4}, {"timeout": 2})
    assert result.pass_at[1].mean == pytest.approx((2 / 3 + 0) / 2)
    assert (result.pass_at[2].mean, result.pass_at[2].n) == (1.0, 1)  # only task a has two survivors
    assert result.all_at[2].mean == pytest.approx(1 / 3)
    assert [t.failures for t in result.tasks] == [0, 2] and result.tasks[0].solved == 2
