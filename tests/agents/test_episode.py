"""Episodes: exactly one trajectory each, whatever the environment does; forks share what was said."""

import asyncio
import itertools
import math
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.agents.agent import ExpertAgent, ModelAgent, Moment, RandomAgent, Reply
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.engine import Completion, Sampling
from turnwise.agents.engines.scripted import ScriptedEngine, scripted_entropy, scripted_logprob
from turnwise.agents.episode import Episode, Limits, Problem
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.testing import ChaosEnv
from turnwise.errors import ConfigError, EngineFailure, EnvFailure
from turnwise.trainers.policies.scratch import Scratch
from turnwise.types import Family, Stop, Task, Trajectory, Turn

LIMITS = Limits()
QUICK = Limits(step_deadline_s=0.05)
TOKENIZER: Any = Scratch(hidden=8, layers=1, heads=1, mlp=8, vocabulary=320, context=64).build(
    ["say the word that you read"] * 4, 0
)[1]
TEMPLATE = ChatTemplate(TOKENIZER)
END = TEMPLATE.stop_ids[0]


class Relay(TurnEnv):
    """Names a word at reset; the reply must hold it, and says the next one. Solved after `needs` right replies."""

    levels = range(1, 4)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        word = "abcdefgh"[int(rng.integers(8))] * difficulty
        return Task(f"relay-{word}-{int(rng.integers(1000))}", f"say {word}", word, difficulty)

    def begin(self, task: Task) -> str:
        self.right = 0
        self.noise: list[int] = []
        return task.prompt

    def play(self, action: str) -> Transition:
        self.noise.append(int(self.np_random.integers(100)))
        if self.task.answer not in action:
            return Transition(f"no: {action[:40]}<|im_end|>", valid=bool(action), role="tool")
        self.right += 1
        done = self.right == 3
        return Transition(f"yes {self.noise[-1]}", 0.5, done, float(done), {"word": 0.5})

    def expert_action(self) -> str:
        return self.task.answer


class Outside(gymnasium.Env[Any, Any]):
    """Somebody else's environment: no TurnEnv, not inline, does what it is told."""

    def __init__(self, reset: Callable[[], Any] = lambda: ("go", {}), step: Callable[[str], Any] | None = None) -> None:
        self._reset, self._step = reset, step or (lambda action: (f"you said {action}", 1.0, True, False, {}))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self._reset()

    def step(self, action: str) -> Any:
        return self._step(action)


class Says:
    """An agent that says what it is told, without tokens."""

    def __init__(self, *replies: str) -> None:
        self.replies = replies
        self.moments: list[Moment] = []
        self.released: list[str] = []

    async def reply(self, moment: Moment) -> Reply | None:
        self.moments.append(moment)
        depth = len(moment.parent.path()) if moment.parent else 0
        return Reply(self.replies[depth % len(self.replies)])

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        self.released.append(session)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def whole(episode: Episode) -> Trajectory:
    await episode.begin()
    while await episode.advance():
        pass
    return episode.finish()


def play(agent: Any, env: gymnasium.Env[Any, Any], *, limits: Limits = LIMITS, seed: int = 0, **options: Any) -> Trajectory:
    return run(whole(Episode(agent, env, Problem("test/Env-v0", 7, options), seed=seed, limits=limits)))


def random_replies(ids: Sequence[int], seed: int) -> list[int]:
    """Any ordinary token, as a model with random weights would say it; often the end, sometimes never."""
    rng = np.random.default_rng([seed, len(ids)])
    said = [int(i) for i in rng.integers(3, len(TOKENIZER), size=int(rng.integers(1, 20)))]
    return said if rng.random() < 0.3 else [*said, END]


def model(replies: Any = random_replies, *, window: int = 100_000, cap: int = 12, context: int = 0) -> ModelAgent:
    engine = ScriptedEngine(replies, context_window=window)
    return ModelAgent(engine, TEMPLATE, Sampling(max_tokens=cap), context)


# --- what is recorded -------------------------------------------------------------------------------------------------


def test_the_expert_solves_it_and_the_turns_say_how():
    trajectory = play(ExpertAgent(), Relay(), difficulty=2, split="test")
    assert trajectory.stop is Stop.TERMINATED and trajectory.outcome == 1 and not trajectory.failed
    assert [t.reward for t in trajectory.turns] == [0.5, 0.5, 0.5]
    assert [dict(t.reward_terms) for t in trajectory.turns] == [{"word": 0.5}] * 3
    assert trajectory.task.difficulty == 2 and trajectory.seed == 7 and trajectory.env_id == "test/Env-v0"
    assert trajectory.turns[0].observation == f"say {trajectory.task.answer}", "the reset observation is the first one"
    assert trajectory.turns[1].observation.startswith("yes ")
    assert trajectory.final and trajectory.final not in [t.observation for t in trajectory.turns], "the last word is kept"


def test_the_reset_observation_reaches_the_agent():
    """The word to say stands in the reset observation and nowhere else."""

    class Parrot(Says):
        async def reply(self, moment: Moment) -> Reply | None:
            first = moment.parent.path()[0].observation if moment.parent else moment.observation
            return Reply(first.removeprefix("say "))

    assert play(Parrot(), Relay()).outcome == 1


def test_the_reset_observation_reaches_the_model():
    agent = model()
    trajectory = play(agent, Relay(max_turns=2))
    engine: Any = agent.engine
    assert f"say {trajectory.task.answer}" in TOKENIZER.decode(engine.calls[0].ids)


def test_tool_results_are_counted_and_said_as_the_tool():
    agent = Says("?")
    trajectory = play(agent, Relay(max_turns=2))
    assert [t.tool_calls for t in trajectory.turns] == [1, 1]
    assert [m.role for m in agent.moments] == ["user", "tool"]
    assert trajectory.stop is Stop.TRUNCATED


def test_an_env_that_is_no_turn_env_gets_plain_defaults():
    (turn,) = play(Says("hello"), Outside()).turns
    assert (turn.reward, dict(turn.reward_terms), turn.outcome, turn.valid) == (1.0, {"reward": 1.0}, 1.0, True)
    trajectory = play(Says("hello"), Outside())
    assert trajectory.task.prompt == "go" and trajectory.task.id == "test/Env-v0:7"


class Odd(ScriptedEngine):
    """An engine that breaks its promise at its second reply."""

    def __init__(self, breaks: Callable[[Completion], Completion]) -> None:
        super().__init__(random_replies)
        self.breaks = breaks

    async def generate(self, ids: Sequence[int], sampling: Sampling, session: str | None = None) -> Completion:
        done = await super().generate(ids, sampling, session)
        return self.breaks(done) if len(self.calls) == 2 else done


def unreachable(done: Completion) -> Completion:
    raise ConnectionError("nobody listens there")


@pytest.mark.parametrize(
    ("breaks", "kind"),
    [
        (lambda done: replace(done, logprobs=(math.nan,) * len(done.ids)), "nonsense"),
        (lambda done: replace(done, ids=(*done.ids, 5)), "nonsense"),
        (lambda done: None, "crash"),
        (unreachable, "crash"),
    ],
)
def test_an_engine_that_answers_nonsense_costs_the_episode(breaks: Any, kind: str):
    trajectory = play(ModelAgent(Odd(breaks), TEMPLATE, Sampling(max_tokens=12)), Relay(max_turns=5))
    assert trajectory.failure is not None and len(trajectory.turns) == 1
    assert (trajectory.failure.kind, trajectory.failure.family) == (kind, Family.PROVIDER)


def test_pictures_come_with_text():
    image = np.zeros((2, 2, 3), np.uint8)
    env = Outside(lambda: ({"text": "look", "image": image}, {}))
    assert play(Says("a"), env).turns[0].observation == "look"


def test_time_is_the_clocks():
    ticks = iter(range(100))
    trajectory = play(Says("?"), Relay(max_turns=2), limits=replace(LIMITS, clock=lambda: float(next(ticks))))
    assert [t.duration_s for t in trajectory.turns] == [1.0, 1.0]


# --- the ends ----------------------------------------------------------------------------------------------------------


def test_the_turn_limits_truncate():
    assert play(Says("?"), Relay(max_turns=4)).stop is Stop.TRUNCATED
    assert len(play(Says("?"), Relay(max_turns=4)).turns) == 4
    assert len(play(Says("?"), TimeLimit(Relay(), 3)).turns) == 3
    ours = play(Says("?"), Relay(), limits=replace(LIMITS, max_turns=2))
    assert ours.stop is Stop.TRUNCATED and len(ours.turns) == 2


def test_ended_on_the_last_turn_is_terminated():
    trajectory = play(ExpertAgent(), Relay(max_turns=3))
    assert trajectory.stop is Stop.TERMINATED and len(trajectory.turns) == 3
    assert play(ExpertAgent(), Relay(), limits=replace(LIMITS, max_turns=3)).stop is Stop.TERMINATED


def test_the_token_budget_ends_a_conversation_without_a_failure():
    trajectory = play(model(lambda ids, seed: [5] * 50, context=80), Relay(max_turns=1000))
    assert trajectory.stop is Stop.TOKENS and not trajectory.failed
    assert len(trajectory.turns) > 1 and len(trajectory.ids) <= 80
    whole = [t for t in trajectory.turns if len(t.action_ids) == 12]
    assert len(whole) >= len(trajectory.turns) - 1, "each turn has its own cap; only the last is cut by the budget"
    assert all(t.stop_reason == "length" for t in trajectory.turns)


def test_no_room_for_a_first_reply_is_an_empty_trajectory():
    trajectory = play(model(window=5), Relay())
    assert trajectory.stop is Stop.TOKENS and trajectory.turns == () and not trajectory.failed


def test_the_window_of_the_engine_is_a_budget_too():
    assert play(model(lambda ids, seed: [5] * 50, window=60), Relay(max_turns=1000)).stop is Stop.TOKENS


def test_sessions_are_released():
    agent = model()
    play(agent, Relay(max_turns=2))
    engine: Any = agent.engine
    assert engine.released == [engine.calls[0].session]


# --- token truth -------------------------------------------------------------------------------------------------------


def test_sampled_ids_survive_three_turns_unchanged():
    """The episode's row holds exactly what the engine sampled, although its text would encode to something else."""
    mismatches = sampled = 0
    for seed in range(40):
        agent = model()
        trajectory = play(agent, Relay(max_turns=3), seed=seed)
        engine: Any = agent.engine
        assert len(trajectory.turns) == 3
        for call, turn in zip(engine.calls, trajectory.turns, strict=True):
            said = tuple(random_replies(call.ids, call.sampling.seed)[: call.sampling.max_tokens])
            assert turn.action_ids == said
            assert turn.logprobs == tuple(map(scripted_logprob, said))
            assert turn.entropies == tuple(map(scripted_entropy, said))
            before = tuple(i for t in turn.path()[:-1] for part in (t.context_ids, t.action_ids) for i in part)
            assert call.ids == (*before, *turn.context_ids), "the engine saw the row itself"
            mismatches += tuple(TOKENIZER.encode(turn.action, add_special_tokens=False)) != said[: len(said) - (said[-1] == END)]
        own = [i for i, k in zip(trajectory.ids, trajectory.turn_of_token, strict=True) if k >= 0]
        assert own == [i for t in trajectory.turns for i in t.action_ids]
        sampled += len(own)
    assert mismatches > 60 and sampled > 600


def test_every_message_is_closed_exactly_once():
    """However a reply ended, the row has one end token for each message that is over, and it is trained iff it was sampled."""
    stopped = cut = 0
    for seed in range(30):
        trajectory = play(model(), Relay(max_turns=3), seed=seed)
        ids, turns = trajectory.ids, trajectory.turns
        last_open = turns[-1].action_ids[-1] != END
        assert ids.count(END) == 2 * len(turns) - last_open
        for turn, after in itertools.pairwise(turns):
            stopped += turn.stop_reason == "stop"
            cut += turn.stop_reason == "length"
            assert (turn.action_ids[-1] == END) == (turn.stop_reason == "stop")
            assert (after.context_ids[0] == END) == (turn.stop_reason == "length")
        trained = {k for i, k in zip(ids, trajectory.turn_of_token, strict=True) if i == END and k >= 0}
        assert trained == {k for k, t in enumerate(turns) if t.stop_reason == "stop"}
    assert stopped > 10 and cut > 10


def test_seeds_differ_by_turn_and_by_episode():
    agent = model()
    for seed in (0, 1):
        play(agent, Relay(max_turns=3), seed=seed)
    engine: Any = agent.engine
    assert len({call.sampling.seed for call in engine.calls}) == 6


# --- failures ----------------------------------------------------------------------------------------------------------


def boom(error: BaseException) -> Callable[..., Any]:
    def raises(*_: Any) -> Any:
        raise error

    return raises


def step(**changes: Any) -> Callable[[str], Any]:
    parts = {"observation": "x", "reward": 0.0, "terminated": False, "truncated": False, "info": {}, **changes}
    return lambda action: tuple(parts.values())


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (EnvFailure("sandbox", "gone"), "sandbox"),
        (RuntimeError("bug"), "crash"),
        (TimeoutError("no server"), "timeout"),
        (StopIteration(), "crash"),
        (SystemExit(1), "crash"),
        (KeyError("x"), "crash"),
    ],
)
def test_what_an_environment_raises_is_a_failure_and_no_reward(error: BaseException, kind: str, inline: bool):
    for env in (Outside(reset=boom(error)), Outside(step=boom(error))):
        env.metadata = {"inline": inline}
        trajectory = play(Says("a"), env)
        assert trajectory.stop is Stop.FAILED
        assert trajectory.failure is not None and trajectory.failure.kind == kind
        assert trajectory.turns == () and trajectory.reward == 0
        assert "did not answer" not in trajectory.failure.detail, "it answered at once"


def test_turns_before_a_failure_are_kept_but_it_has_failed():
    answers = iter([("one", 1.0, False, False, {})])
    trajectory = play(Says("a"), Outside(step=lambda action: next(answers)))
    assert len(trajectory.turns) == 1 and trajectory.failed and trajectory.failure is not None
    assert trajectory.failure.kind == "crash"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        ("x", 0.0, False),
        step(observation=None)(""),
        step(observation=b"x")(""),
        step(observation={"image": 0})(""),
        step(reward="much")(""),
        step(reward=None)(""),
        step(reward=float("nan"))(""),
        step(reward=float("inf"))(""),
        step(terminated=np.array([True, False]))(""),
        step(info=None)(""),
        step(info={"role": "system"})(""),
        step(info={"role": ["tool"]})(""),
        step(info={"outcome": "solved"})(""),
        step(info={"outcome": float("nan")})(""),
        step(info={"reward_terms": [1.0]})(""),
        step(info={"reward_terms": {"a": None}})(""),
        step(info={"valid_action": np.array([True, False])})(""),
    ],
    ids=repr,
)
def test_nonsense_from_a_step_is_a_failure(answer: Any):
    trajectory = play(Says("a"), Outside(step=lambda action: answer))
    assert trajectory.failure is not None and trajectory.failure.kind == "nonsense"
    assert trajectory.turns == ()


@pytest.mark.parametrize("answer", [None, "go", ("go",), (7, {}), ("go", None), ("go", {"role": 3})], ids=repr)
def test_nonsense_from_a_reset_is_a_failure(answer: Any):
    trajectory = play(Says("a"), Outside(reset=lambda: answer))
    assert trajectory.failure is not None and trajectory.failure.kind == "nonsense"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()  # threads that hang go home


def test_a_hanging_environment_costs_its_deadline(gate: threading.Event):
    def hang(*_: Any) -> Any:
        gate.wait()
        return "late", {}

    for env in (Outside(reset=hang), Outside(step=hang)):
        trajectory = play(Says("a"), env, limits=QUICK)
        assert trajectory.failure is not None and trajectory.failure.kind == "timeout"
        assert "within 0.05 s" in trajectory.failure.detail


def test_others_go_on_while_one_hangs(gate: threading.Event):
    """No lock-step: while one environment hangs, another plays a whole episode, and only then the first may answer."""

    def hang(action: str) -> Any:
        gate.wait()
        return "late", 1.0, True, False, {}

    async def both() -> tuple[Trajectory, Trajectory]:
        slow = asyncio.create_task(whole(Episode(Says("a"), Outside(step=hang), Problem("a", 0), seed=0, limits=LIMITS)))
        quick = await whole(Episode(ExpertAgent(), Relay(), Problem("b", 0), seed=0, limits=LIMITS))
        assert not slow.done()
        gate.set()
        return await slow, quick

    slow, quick = run(both())
    assert slow.reward == 1.0 and quick.outcome == 1


def test_a_late_answer_after_the_loop_is_closed_does_no_harm(gate: threading.Event):
    done = threading.Event()

    def hang(*_: Any) -> Any:
        gate.wait()
        done.set()
        return "late", {}

    assert play(Says("a"), Outside(reset=hang), limits=QUICK).failed
    gate.set()
    assert done.wait(60)
    for thread in threading.enumerate():
        if thread.name == "turnwise-env":
            thread.join(60)  # pytest reports what a thread raises


def test_a_broken_engine_is_a_failure():
    def script(ids: Sequence[int], seed: int) -> list[int]:
        raise EngineFailure("overloaded", "come back later")

    trajectory = play(model(script), Relay())
    assert trajectory.failure is not None and trajectory.failure.kind == "overloaded"


def test_a_wrong_option_is_the_callers_to_mend():
    with pytest.raises(ConfigError, match="difficulty must be an int from 1 to 3, got 9"):
        play(Says("a"), Relay(), difficulty=9)
    with pytest.raises(ConfigError, match="Did you mean 'difficulty'"):
        play(Says("a"), Relay(), dificulty=1)


@given(
    rates=st.tuples(*[st.sampled_from([0.0, 0.1, 0.2])] * 3),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=40, deadline=None)
def test_every_episode_ends_as_one_trajectory_under_chaos(rates: tuple[float, float, float], seed: int):
    fail, crash, nonsense = rates
    env = ChaosEnv(Relay(max_turns=4), fail=fail, crash=crash, nonsense=nonsense, seed=seed)
    trajectory = play(RandomAgent(), env, seed=seed, difficulty=3)  # three letters in a row: out of luck's reach
    assert trajectory.failed == (trajectory.stop is Stop.FAILED)
    assert trajectory.failed or len(trajectory.turns) == 4
    if not any(rates):
        assert not trajectory.failed


# --- forks -------------------------------------------------------------------------------------------------------------


def test_a_fork_shares_the_turns_before_it_and_goes_its_own_way():
    async def story() -> tuple[Trajectory, Trajectory, Turn]:
        agent = model()
        episode = Episode(agent, TimeLimit(Relay(max_turns=50), 4), Problem("test/Env-v0", 7), seed=0, limits=LIMITS)
        await episode.begin()
        await episode.advance()
        await episode.advance()
        branch = episode.leaf
        twin = await episode.fork(seed=1)
        engine: Any = agent.engine
        assert engine.forks == [(episode.session, twin.session)]
        while await episode.advance():
            pass
        while await twin.advance():
            pass
        assert branch is not None
        return episode.finish(), twin.finish(), branch

    one, two, branch = run(story())
    assert [a is b for a, b in zip(one.turns, two.turns, strict=True)] == [True, True, False, False]
    assert one.turns[1] is branch and one.task is two.task
    assert len(one.turns) == len(two.turns) == 4, "TimeLimit's counter went along"
    assert one.turns[2].action_ids != two.turns[2].action_ids, "it has a sampling seed of its own"
    assert one.turns[2].context_ids == two.turns[2].context_ids


def test_forked_environments_do_not_touch_each_other():
    async def story() -> tuple[Trajectory, Trajectory]:
        episode = Episode(ExpertAgent(), Relay(), Problem("x", 7), seed=0, limits=LIMITS)
        await episode.begin()
        await episode.advance()
        twin = await episode.fork(seed=1)
        while await episode.advance():
            pass
        first = episode.finish()
        while await twin.advance():
            pass
        return first, twin.finish()

    one, two = run(story())
    assert one.outcome == two.outcome == 1, "the twin still had to say its two words"
    assert [t.observation for t in one.turns] == [t.observation for t in two.turns], "and drew the same numbers"


def test_a_fork_of_a_finished_episode_is_finished():
    async def story() -> tuple[Trajectory, Trajectory]:
        episode = Episode(Says("a"), Outside(), Problem("x", 7), seed=0, limits=LIMITS)
        await episode.begin()
        assert not await episode.advance()
        twin = await episode.fork(seed=1)
        assert not await twin.advance()
        return episode.finish(), twin.finish()

    one, two = run(story())
    assert one.leaf is two.leaf and two.stop is Stop.TERMINATED


def test_a_fork_that_breaks_has_failed_and_its_original_goes_on():
    class Stuck(Relay):
        def fork(self) -> Any:
            raise EnvFailure("snapshot", "no space left")

    async def story() -> tuple[Trajectory, Trajectory]:
        env = Stuck()
        episode = Episode(ExpertAgent(), env, Problem("x", 7), seed=0, limits=LIMITS)
        await episode.begin()
        await episode.advance()
        twin = await episode.fork(seed=1)
        assert twin.env is not env, "whoever closes the twin's environment leaves ours alone"
        assert not await twin.advance()
        while await episode.advance():
            pass
        return episode.finish(), twin.finish()

    one, two = run(story())
    assert one.outcome == 1 and two.failure is not None and two.failure.kind == "snapshot"
    assert two.leaf is one.turns[0] and two.stop is Stop.FAILED
