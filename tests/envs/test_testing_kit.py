"""The kit accepts a right environment, and rejects each of these by the rule that it breaks."""

import copy
import itertools
import json
import pickle
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from turnwise.cli import main
from turnwise.envs import Task, Transition, TurnEnv, fork, split_of
from turnwise.envs.testing import RULES, ChaosEnv, ContractError, check_turn_env
from turnwise.envs.testing.kit import PROBES, _subject  # pyright: ignore[reportPrivateUsage]
from turnwise.envs.testing.subject import AT_ONCE
from turnwise.errors import ConfigError, EnvFailure, UnknownName

SMALL: Mapping[str, Any] = {"tasks": 20, "distinct": 200}


class Safe(TurnEnv):
    """A right environment: ask for the digits of a code one at a time, then say all of them."""

    levels = range(1, 4)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        code = "".join(str(d) for d in rng.integers(0, 10, size=8 + difficulty))
        return Task(f"safe-{code}", f"The safe has {len(code)} digits. Say 'next' or the code.", code, difficulty, {"noise": 3})

    def begin(self, task: Task) -> str:
        self.shown = 0
        return task.prompt

    def play(self, action: str) -> Transition:
        code = self.task.answer
        if action == code:
            return Transition("open", 1.0, terminated=True, outcome=1.0, terms={"open": 1.0})
        if action != "next" or self.shown == len(code):
            return self.refuse("Say 'next' or the code.")
        self.shown += 1
        return Transition(f"{code[self.shown - 1]} (draught {int(self.np_random.integers(100))})")

    def expert_action(self) -> str:
        return "next" if self.shown < 2 else self.task.answer

    def turn_limit(self, task: Task) -> int:
        return 6

    def render(self) -> str:
        return f"{self.shown} digits shown"


class GlobalPython(Safe):
    def begin(self, task: Task) -> str:
        return f"{super().begin(task)} {random.random() < 2}"


class GlobalNumpy(Safe):
    def begin(self, task: Task) -> str:
        np.random.seed(4)
        return f"{super().begin(task)} {np.random.rand()}"


class Reseeded(Safe):
    """Replays alone, not when another environment resets in between."""

    shared = np.random.default_rng(0)

    def begin(self, task: Task) -> str:
        Reseeded.shared = np.random.default_rng(len(task.answer))
        return super().begin(task)

    def play(self, action: str) -> Transition:
        return super().play(action)._replace(observation=f"draught {Reseeded.shared.random()}")


class WallClock(Safe):
    def step(self, action: str) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "outcome": time.perf_counter() % 1.0}


class WallClockText(Safe):
    def play(self, action: str) -> Transition:
        t = super().play(action)
        return t._replace(observation=f"{t.observation} at {time.perf_counter()}")


class ExtraInfo(Safe):
    def step(self, action: str) -> Any:
        *rest, info = super().step(action)
        return (*rest, {**info, "time": 0.0})


class IntOutcome(Safe):
    def step(self, action: str) -> Any:
        *rest, info = super().step(action)
        return (*rest, {**info, "outcome": int(info["outcome"])})


class NumpyFlags(Safe):
    def step(self, action: str) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, np.bool_(terminated), truncated, info


class BothFlags(Safe):
    def step(self, action: str) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated or terminated, info


class NotANumber(Safe):
    def play(self, action: str) -> Transition:
        return super().play(action)._replace(reward=float("nan"))


class TermsDoNotSum(Safe):
    def play(self, action: str) -> Transition:
        return super().play(action)._replace(terms={"bonus": 0.5})


class Silent(Safe):
    def refuse(self, message: str) -> Transition:
        return Transition("", valid=False)


class Raises(Safe):
    def play(self, action: str) -> Transition:
        if "\x00" in action and len(action) == 1:
            raise ValueError("embedded null byte")
        return super().play(action)


class ParsesUnicodeDigits(Safe):
    def play(self, action: str) -> Transition:
        if action.isdigit():
            int(action)
        return super().play(action)


class EchoesSurrogates(Safe):
    def refuse(self, message: str) -> Transition:
        return Transition(f"I do not understand {self.said}.", valid=False)

    def play(self, action: str) -> Transition:
        self.said = action[:50]
        return super().play(action)


class LostExpert(Safe):
    def play(self, action: str) -> Transition:
        self.lost = action.startswith("<answer>9")
        return super().play(action)

    def expert_action(self) -> str:
        if getattr(self, "lost", False):
            raise RuntimeError("no plan from here")
        return super().expert_action()


class FailingExpert(Safe):
    def expert_action(self) -> str:
        return "next" if self.shown < 2 or self.task.answer[0] == "7" else self.task.answer


class ImpatientLimit(Safe):
    def turn_limit(self, task: Task) -> int:
        return 2


class DrawingExpert(Safe):
    """Its expert uses up randomness, so that asking it changes the episode."""

    def expert_action(self) -> str:
        self.np_random.random()
        return super().expert_action()


class SharedState(Safe):
    """A fork and its original note in one list."""

    def begin(self, task: Task) -> str:
        self.notes: list[str] = []
        return super().begin(task)

    def play(self, action: str) -> Transition:
        self.notes.append(action)
        return super().play(action)._replace(observation=f"{len(self.notes)} so far")

    def fork(self) -> "SharedState":
        twin = copy.deepcopy(self)
        twin.notes = self.notes
        return twin


class ForgetfulFork(Safe):
    def fork(self) -> "ForgetfulFork":
        twin = copy.deepcopy(self)
        twin.shown = 0
        return twin


class OverlappingSplits(Safe):
    def sample_task(self, rng: np.random.Generator, split: Any, difficulty: int) -> Task:
        return self.generate(rng, difficulty)


class RenamedTasks(Safe):
    """Twenty tasks under ever new names: the splits share all of them."""

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        task = super().generate(np.random.default_rng(int(rng.integers(20))), difficulty)
        return replace(task, id=f"{task.id}-{rng.integers(10**9)}")


class FewTasks(Safe):
    """Two hundred tasks a level, the splits disjoint."""

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return super().generate(np.random.default_rng(int(rng.integers(200))), difficulty)


class IgnoresLevel(Safe):
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return super().generate(rng, 1)


class IgnoresOptions(Safe):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed, options={k: v for k, v in (options or {}).items() if k != "color"})


class TupleMetadata(Safe):
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return replace(super().generate(rng, difficulty), metadata={"cells": (1, 2)})


class StateOutsideTask(Safe):
    """The episode needs something that `generate` kept for itself."""

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        self.kept = int(rng.integers(10**6))
        return super().generate(rng, difficulty)

    def begin(self, task: Task) -> str:
        return f"{super().begin(task)} {self.__dict__.get('kept', 0)}"


class RenderSteps(Safe):
    def render(self) -> str:
        self.shown += 1
        return str(self.shown)


class NoText(Safe):
    def render(self) -> None:  # type: ignore[override]
        return None


class SetOrder(Safe):
    def begin(self, task: Task) -> str:
        super().begin(task)
        return f"{task.prompt} Safes: {', '.join({'oak', 'elm', 'ash', 'fir', 'yew', 'box'})}."


class EasyConstant(Safe):
    """Every tenth answer is yes."""

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        task = super().generate(rng, difficulty)
        return replace(task, answer="yes", metadata={"safe": task.answer}) if task.answer[0] == "3" else task


class LeaksInPrompt(Safe):
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        task = super().generate(rng, difficulty)
        return replace(task, prompt=f"{task.prompt} It is not 5, but {task.answer}.")


class PaysForForm(Safe):
    def play(self, action: str) -> Transition:
        t = super().play(action)
        return t._replace(reward=t.reward + 0.1, terms={}) if "<answer>" in action else t


class Unending(Safe):
    def step(self, action: str) -> Any:
        self.turn = 0
        return super().step(action)


class WarnsGymnasium(Safe):
    """Gives the same info object at every step."""

    info = {"outcome": 0.0, "reward_terms": {}, "valid_action": True, "role": "user"}  # noqa: RUF012

    def step(self, action: str) -> Any:
        *rest, info = super().step(action)
        return (*rest, info if info["outcome"] else self.info)


BROKEN: list[tuple[type[Safe], str]] = [
    (ExtraInfo, "returns_right_types"),
    (IntOutcome, "returns_right_types"),
    (NumpyFlags, "returns_right_types"),
    (BothFlags, "returns_right_types"),
    (NotANumber, "returns_right_types"),
    (TermsDoNotSum, "returns_right_types"),
    (Silent, "returns_right_types"),
    (IgnoresLevel, "reset_takes_options"),
    (IgnoresOptions, "reset_takes_options"),
    (WallClock, "replays"),
    (WallClockText, "replays"),
    (DrawingExpert, "replays"),
    (GlobalPython, "leaves_global_generators_alone"),
    (GlobalNumpy, "leaves_global_generators_alone"),
    (WarnsGymnasium, "passes_gymnasium"),
    (Reseeded, "replays_among_others"),
    (TupleMetadata, "tasks_replay"),
    (StateOutsideTask, "tasks_replay"),
    (ForgetfulFork, "forks_continue_equally"),
    (SharedState, "forks_are_independent"),
    (RenderSteps, "render_changes_nothing"),
    (NoText, "render_changes_nothing"),
    (Unending, "ends_in_time"),
    (Raises, "survives_hostile_actions"),
    (ParsesUnicodeDigits, "survives_hostile_actions"),
    (EchoesSurrogates, "survives_hostile_actions"),
    (LostExpert, "survives_hostile_actions"),
    (FailingExpert, "expert_solves"),
    (ImpatientLimit, "expert_solves"),
    (OverlappingSplits, "splits_are_disjoint"),
    (RenamedTasks, "splits_are_disjoint"),
    (FewTasks, "tasks_are_distinct"),
    (EasyConstant, "probes_earn_nothing"),
    (LeaksInPrompt, "probes_earn_nothing"),
    (PaysForForm, "probes_earn_nothing"),
]


def test_accepts_a_right_environment() -> None:
    report = check_turn_env(Safe, **SMALL)
    assert set(report.seen) == {*RULES, "probes_earn_nothing"}
    assert max(report.probes.values()) == 0.0 and len(report.probes) > 100
    assert "Safe: 20 rules hold" in str(report)


@pytest.mark.parametrize(("env", "rule"), BROKEN, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_rejects(env: type[Safe], rule: str) -> None:
    with pytest.raises(ContractError) as caught:
        check_turn_env(env, **SMALL)
    assert caught.value.rule == rule, caught.value
    assert caught.value.env == env.__name__
    assert "Mend: " in str(caught.value) and len(str(caught.value)) < 2000


def test_rejects_what_a_long_walk_without_aim_solves() -> None:
    """Mazes, where turns are limited and not moves: other mazes' ways, over and over, arrive."""
    with pytest.raises(ContractError, match="solutions of other tasks"):
        check_turn_env(lambda: gymnasium.make("turnwise/Maze-v0", max_turns=20), tasks=20, levels=[1], rules=[PROBES])


def test_rejects_an_order_that_depends_on_the_hash_seed() -> None:
    gymnasium.register("tests/SetOrder-v0", entry_point=SetOrder)
    levels = [1]
    assert check_turn_env("tests/SetOrder-v0", **SMALL, levels=levels, rules=["replays"]).seen  # one process cannot see it
    with pytest.raises(ContractError, match="new process"):  # the id exists in this process only
        check_turn_env("tests/SetOrder-v0", **SMALL, rules=["replays_in_other_processes"])


def test_other_processes_find_the_order_of_sets(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module on the path, made by `module:id`, as a plug-in's would be."""
    (tmp_path / "set_order_env.py").write_text(
        "import gymnasium\n"
        "from turnwise.envs import Task, Transition, TurnEnv, split_of\n"
        "class SetOrder(TurnEnv):\n"
        "    levels = range(1, 2)\n"
        "    def generate(self, rng, difficulty):\n"
        "        return Task(str(rng.integers(10**9)), 'Pick.', 'x', difficulty)\n"
        "    def begin(self, task):\n"
        "        return ' '.join({'oak', 'elm', 'ash', 'fir', 'yew', 'box', 'may', 'bay'})\n"
        "    def play(self, action):\n"
        "        return Transition('over', terminated=True)\n"
        "    def expert_action(self):\n"
        "        return 'x'\n"
        "gymnasium.register('tests/SetOrder-v1', entry_point=SetOrder)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ContractError, match="sort sets"):
        check_turn_env("set_order_env:tests/SetOrder-v1", **SMALL, rules=["replays_in_other_processes"])


def test_environments_that_wait_are_played_at_once() -> None:
    """The first reset of each goes on only when as many stand there."""
    together = threading.Barrier(AT_ONCE, timeout=60.0)

    class Waiting(Safe):
        metadata = {**Safe.metadata, "inline": False}  # noqa: RUF012
        met = False

        def begin(self, task: Task) -> str:
            if not self.met:
                together.wait()
                self.met = True
            return super().begin(task)

    report = check_turn_env(Waiting, tasks=4, rules=["expert_solves"])
    assert report.seen["expert_solves"] == "24 tasks solved, in at most 3 turns"


@pytest.mark.parametrize("inline", [True, False])
def test_the_first_failure_is_told_with_what_was_said(inline: bool) -> None:
    class Lost(Safe):
        metadata = {**Safe.metadata, "inline": inline}  # noqa: RUF012

        def expert_action(self) -> str:
            return "what now"

    with pytest.raises(ContractError) as error:
        check_turn_env(Lost, **SMALL, rules=["expert_solves"])
    first = next(_subject(Lost, 20, None, 200, 0.05).cases(20, "expert"))
    assert f"reset(seed={first[0]}, options={first[1]})" in error.value.seen
    assert "its last words were 'what now'" in error.value.seen and "Say 'next' or the code." in error.value.seen


def test_the_argument_errors_are_clear() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'replays'"):
        check_turn_env(Safe, rules=["replay"])
    with pytest.raises(ConfigError, match="at least 1"):
        check_turn_env(Safe, tasks=0)
    with pytest.raises(ContractError, match="derive it from turnwise"):
        check_turn_env("CartPole-v1")


def test_an_environment_that_raises_in_reset_is_named() -> None:
    def broken() -> TurnEnv:
        raise EnvFailure("docker", "no daemon")

    with pytest.raises(ContractError, match="EnvFailure: docker: no daemon") as caught:
        check_turn_env(broken)
    assert isinstance(caught.value.__cause__, EnvFailure)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    gymnasium.register("tests/Both-v0", entry_point=BothFlags)
    assert main(["check", "tests/Both-v0", "Arithmetic", "--tasks", "2", "--distinct", "7", "--difficulty", "1-2", "--json"]) == 1
    out, err = capsys.readouterr()
    assert "tests/Both-v0 breaks returns_right_types" in err
    report = json.loads(out)
    assert report["env"] == "turnwise/Arithmetic-v0" and set(report["seen"]) == {*RULES, PROBES}
    assert report["seen"]["expert_solves"].startswith("8 tasks solved")


def test_split_of_is_one_quarter_test() -> None:
    share = sum(split_of(f"task {i}") == "test" for i in range(4000)) / 4000
    assert 0.22 < share < 0.28


# --- ChaosEnv ------------------------------------------------------------------------------------------------------


def story(env: gymnasium.Env[Any, Any], seed: int, steps: int = 30) -> list[str]:
    """What happens to someone who goes on whatever comes back."""
    told: list[str] = []
    calls = itertools.chain([lambda: env.reset(seed=seed)], itertools.repeat(lambda: env.step("next"), steps))
    for call in calls:
        try:
            told.append(repr(call()))
        except Exception as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


def test_chaos_replays_and_differs_by_seed() -> None:
    env = ChaosEnv(Safe(max_turns=100), fail=0.2, crash=0.2, nonsense=0.2, seed=3)
    first = story(env, 5)
    story(env, 6)
    assert story(env, 5) == first
    assert story(ChaosEnv(Safe(max_turns=100), fail=0.2, crash=0.2, nonsense=0.2, seed=3), 5) == first
    assert story(env, 6) != first
    assert story(ChaosEnv(Safe(max_turns=100), fail=0.2, crash=0.2, nonsense=0.2, seed=4), 5) != first


def test_chaos_rates() -> None:
    env = ChaosEnv(Safe(max_turns=5000), fail=0.1, crash=0.2, nonsense=0.3, seed=0)
    told = story(env, 2, 2000)
    failed = sum(t.startswith("EnvFailure") for t in told)
    crashed = sum("crashed on purpose" in t for t in told)
    assert 140 < failed < 260 and 320 < crashed < 480


def test_chaos_of_rate_zero_is_the_environment() -> None:
    assert story(ChaosEnv(Safe()), 1, 4) == story(Safe(), 1, 4)
    check_turn_env(lambda: ChaosEnv(Safe()), **SMALL, rules=["replays", "forks_continue_equally", "forks_are_independent"])


def test_transient_faults_are_other_ones_when_tried_again() -> None:
    env = ChaosEnv(Safe(max_turns=100), fail=0.5, transient=True)
    assert len({tuple(story(env, 5)) for _ in range(5)}) > 1


def test_chaos_by_its_id_wraps_what_it_is_told_to() -> None:
    env = gymnasium.make("turnwise/Chaos-v0", env_id="turnwise/Arithmetic-v0", difficulty=2, crash=1.0)
    with pytest.raises((RuntimeError, KeyError, ZeroDivisionError, TimeoutError, UnicodeError), match="crashed on purpose"):
        env.reset(seed=1)
    with pytest.raises(ConfigError, match="both or none"):
        ChaosEnv()
    with pytest.raises(ConfigError, match="difficulty"):
        ChaosEnv(Safe(), difficulty=2)


def test_every_kind_of_nonsense_comes_up() -> None:
    env = ChaosEnv(Safe(), nonsense=1.0)
    told = set(story(env, 1, 60)[1:])
    assert len(told) == 5


def test_a_hang_ends_on_release_and_answers_then() -> None:
    env = ChaosEnv(Safe(), hang=1.0)
    results: list[Any] = []
    caller = threading.Thread(target=lambda: results.append(env.reset(seed=1)), daemon=True)
    caller.start()
    caller.join(0.05)
    assert caller.is_alive() and not results
    env.release()
    caller.join(5)
    assert results == [Safe().reset(seed=1)]
    env.step("next")  # released for good


def test_a_hang_of_given_length_ends_by_itself() -> None:
    env = ChaosEnv(Safe(), hang=1.0, hang_s=0.001)
    assert env.reset(seed=1) == Safe().reset(seed=1)


def test_chaos_is_not_inline_and_leaves_the_class_alone() -> None:
    assert ChaosEnv(Safe()).metadata["inline"] is False
    assert Safe.metadata["inline"] is True


def test_forks_of_chaos_meet_the_same_faults() -> None:
    env = ChaosEnv(Safe(max_turns=100), fail=0.3, hang=0.0, nonsense=0.2, seed=1)
    story(env, 9, 3)
    twin = fork(env)
    assert story_on(twin) == story_on(env)
    twin.get_wrapper_attr("release")()  # a fork shares the gate


def story_on(env: gymnasium.Env[Any, Any]) -> list[str]:
    told: list[str] = []
    for _ in range(20):
        try:
            told.append(repr(env.step("next")))
        except Exception as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


@pytest.mark.parametrize("rates", [{"fail": -0.1}, {"fail": 0.6, "crash": 0.6}])
def test_chaos_rates_are_checked(rates: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="sum to at most 1"):
        ChaosEnv(Safe(), **rates)
