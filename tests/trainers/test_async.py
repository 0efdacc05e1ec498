"""Whole asynchronous runs: on policy at eta 0, bounded staleness above, exact after a crash. As a script it runs a recipe."""

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from rich.console import Console

from turnwise.agents.retries import Retry
from turnwise.agents.store import read_trajectories
from turnwise.cli import main
from turnwise.envs.core import Transition, TurnEnv
from turnwise.envs.testing import ChaosEnv
from turnwise.errors import ConfigError
from turnwise.trainers.corrections.tis import TIS
from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.optimizers import AdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import EnvChoice, Evaluate, Recipe, dump, load
from turnwise.trainers.recording import read_events
from turnwise.trainers.replay import Replay, comparable, replay
from turnwise.trainers.rewards.invalid_action import InvalidAction
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.run import run
from turnwise.trainers.schedule import Asynchronous, LockStep
from turnwise.types import Family, Task


class Even(TurnEnv):
    """Half a point for each reply of an even number of characters, over two or three turns: random text earns something."""

    levels = range(1, 2)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"even-{int(rng.integers(10**9))}", "even?", "ab", difficulty)

    def begin(self, task: Task) -> str:
        self.last = int(self.np_random.integers(2, 4))
        return f"{task.id} even?"

    def play(self, action: str) -> Transition:
        even = len(action) % 2 == 0
        return Transition(f"go on {int(self.np_random.integers(10))}", 0.5 * even, self.turn == self.last, float(even))

    def expert_action(self) -> str:
        return "ab"


RECIPE = Recipe(
    env=(EnvChoice(id="async/Even-v0"),),
    policy=Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=128),
    rollout=Independent(size=3),
    optimizer=AdamW(lr=1e-2),
    evaluate=Evaluate(tasks=0),
    steps=6,
    tasks_per_step=2,
    max_new_tokens=8,
    checkpoint_every=3,
    threads=1,
)


def register() -> None:
    gymnasium.register("async/Even-v0", entry_point=Even)  # pyright: ignore[reportArgumentType]


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    register()
    yield
    gymnasium.registry.pop("async/Even-v0")


def carry_out(recipe: Recipe, out: Path, **kwargs: Any) -> Path:
    asyncio.run(run(recipe, out, console=Console(file=io.StringIO()), **kwargs))
    return out


BYTES = ("sync/bytes",)
"""What an engine with weights of its own is given, and one that shares the trainer's is not."""


def lines(out: Path, without: Collection[str] = ()) -> list[dict[str, Any]]:
    return [comparable(line, without=without) for line in read_metrics(out / "metrics.jsonl")]


def words(out: Path) -> list[Any]:
    """Trajectories without what a clock measured."""
    return [
        (t.task.id, t.seed, t.ids, [(u.logprobs, u.entropies, u.reward, u.version, u.versions) for u in t.turns])
        for t in read_trajectories(out / "trajectories.jsonl")
    ]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "checkpoints" / f"step-{RECIPE.steps}" / "trainer.pt", weights_only=True)["weights"]


def assert_same_run(one: Path, two: Path, without: Collection[str] = ()) -> None:
    assert lines(one, without) == lines(two, without)
    assert words(one) == words(two)
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def plain(registered: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return carry_out(RECIPE, tmp_path_factory.mktemp("plain") / "run")


# --- eta 0 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learner", ["thread", "ticks"])
def test_eta_0_is_the_lock_step_run_to_the_last_bit(learner: Any, plain: Path, tmp_path: Path):
    evaluate = Evaluate(tasks=2, every=2, curve_tasks=2) if learner == "ticks" else RECIPE.evaluate  # it changes nothing
    recipe = replace(RECIPE, schedule=Asynchronous(eta=0, learner=learner), evaluate=evaluate)
    assert_same_run(carry_out(recipe, tmp_path / "run"), plain, BYTES if learner == "thread" else ())
    steps = read_metrics(plain / "metrics.jsonl")
    assert len({s["reward"] for s in steps}) > 1 and max(s["grad_norm"] for s in steps[3:]) > 0, "it could differ"
    assert all(s["staleness_max"] == 0 and s["kl_engine"] < 1e-6 for s in steps)


def test_killed_with_9_and_resumed_nothing_differs(plain: Path, tmp_path: Path):
    """A real kill of a real process, somewhere after its first checkpoint; then compared with a lock-step run in one go."""
    out, recipe, schedule = tmp_path / "run", tmp_path / "recipe.toml", Asynchronous(eta=0)
    recipe.write_text(dump(replace(RECIPE, schedule=schedule, steps=500)))
    process = subprocess.Popen([sys.executable, __file__, str(recipe), str(out)])
    deadline = time.monotonic() + 120
    while not ((out / "metrics.jsonl").exists() and len(lines(out)) > 4):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(lines(out))
    assert 4 < done < 500
    longer = replace(RECIPE, schedule=schedule, steps=done + 2)
    carry_out(longer, out, resume=True)
    carry_out(replace(longer, schedule=LockStep()), tmp_path / "whole")
    assert lines(out, BYTES) == lines(tmp_path / "whole", BYTES) and words(out) == words(tmp_path / "whole")
    assert lines(out, BYTES)[:2] == lines(plain, BYTES)[:2]


# --- ahead -------------------------------------------------------------------------------------------------------------

AHEAD = replace(RECIPE, schedule=Asynchronous(eta=2), correction=(TIS(),), steps=8)


def test_rollouts_run_ahead_and_never_too_far(tmp_path: Path):
    out = carry_out(AHEAD, tmp_path / "run")
    steps = read_metrics(out / "metrics.jsonl")
    assert [s["step"] for s in steps] == list(range(8)) and all(s["trajectories"] == 6 for s in steps), "nothing is dropped"
    assert all(s["staleness_max"] <= 2 for s in steps) and any(s["staleness_max"] > 0 for s in steps[1:])
    assert all("correction_mean" in s for s in steps if s["rows_trained"])
    events = list(read_events(out / "events.jsonl"))
    admitted = {e["step"]: e["version"] for e in events if e["event"] == "admitted"}
    assert admitted == {step: max(0, step - 2) for step in range(8)}, "as early as staleness allows, and no earlier"
    begun = [(p["env_id"], p["seed"]) for e in events if e["event"] == "admitted" for p in e["problems"]]
    assert Counter((e["env_id"], e["seed"]) for e in events if e["event"] == "ended") == {p: 3 for p in begun}
    assert len(set(begun)) == len(begun) == 16


def test_the_problems_are_those_of_the_lock_step_run(plain: Path, tmp_path: Path):
    """When a batch is begun decides nothing about what is in it."""
    out = carry_out(replace(RECIPE, schedule=Asynchronous(eta=3)), tmp_path / "run")
    assert [(t[0], t[1]) for t in words(out)] == [(t[0], t[1]) for t in words(plain)]


def crash_after(out: Path, step: int, keep: tuple[int, int, int]) -> None:
    """As a crash leaves it: the last checkpoint is that of `step`, more was written since, the last lines are cut."""
    (out / "checkpoints" / "latest").write_text(f"step-{step}")
    for file, count in zip(("metrics.jsonl", "trajectories.jsonl", "events.jsonl"), keep, strict=True):
        kept = (out / file).read_text().splitlines(keepends=True)
        (out / file).write_text("".join(kept[:count]) + kept[count][:30])


def test_a_drained_run_without_timing_resumes_to_the_last_bit(tmp_path: Path):
    """Inline environments and a learner between the engine's ticks: nothing depends on a clock, so equality can be asked for."""
    recipe = replace(AHEAD, schedule=Asynchronous(eta=2, learner="ticks", drain=True), steps=RECIPE.steps)
    whole, broken = carry_out(recipe, tmp_path / "whole"), tmp_path / "broken"
    shutil.copytree(whole, broken)
    crash_after(broken, 3, (4, 9, 40))
    saved = torch.load(broken / "checkpoints" / "step-3" / "trainer.pt", weights_only=True)["admitted"]
    assert [(b["step"], len(b["groups"])) for b in saved] == [(3, 2), (4, 2)], "both batches in flight are there, whole"
    carry_out(recipe, broken, resume=True)
    assert_same_run(broken, whole)
    assert max(s["staleness_max"] for s in read_metrics(whole / "metrics.jsonl")) > 0
    assert how_many_ended(broken) == how_many_ended(whole)


def how_many_ended(out: Path) -> dict[Any, int]:
    return Counter((e["env_id"], e["seed"]) for e in read_events(out / "events.jsonl") if e["event"] == "ended")


def test_what_was_in_flight_is_begun_again_neither_lost_nor_doubled(tmp_path: Path):
    recipe = replace(AHEAD, steps=RECIPE.steps)
    whole, broken = carry_out(recipe, tmp_path / "whole"), tmp_path / "broken"
    shutil.copytree(whole, broken)
    crash_after(broken, 3, (5, 9, 45))
    carry_out(recipe, broken, resume=True)
    assert [(t[0], t[1]) for t in words(broken)] == [(t[0], t[1]) for t in words(whole)], "the same tasks, each group once"
    steps = read_metrics(broken / "metrics.jsonl")
    assert [s["step"] for s in steps] == list(range(6)) and all(s["staleness_max"] <= 2 for s in steps)
    assert lines(broken)[:3] == lines(whole)[:3]


def test_a_schedule_survives_its_file(tmp_path: Path):
    recipe = replace(AHEAD, schedule=Asynchronous(eta=3, learner="ticks", drain=True, tune=True))
    (tmp_path / "r.toml").write_text(dump(recipe))
    assert load(tmp_path / "r.toml") == recipe
    assert load(tmp_path / "r.toml", ["schedule=lock_step"]).schedule == LockStep()
    assert load(tmp_path / "r.toml", ["schedule.eta=1"]).schedule == Asynchronous(eta=1, learner="ticks", drain=True, tune=True)


# --- chaos -------------------------------------------------------------------------------------------------------------


def test_a_run_ahead_in_chaos_finishes_and_accounts_for_every_episode(tmp_path: Path):
    """20 % of all calls fail, hang, crash or answer nonsense; some failures are tried again; concurrency is tuned meanwhile."""
    made: list[ChaosEnv] = []

    def new(**_: Any) -> ChaosEnv:
        made.append(ChaosEnv(Even(), fail=0.08, hang=0.02, crash=0.05, nonsense=0.05, seed=len(made)))
        return made[-1]

    gymnasium.register("async/Chaos-v0", entry_point=new)
    recipe = replace(AHEAD, env=(EnvChoice(id="async/Chaos-v0"),), step_deadline_s=0.2, retry=Retry(attempts=3, pause_s=0.01))
    recipe = replace(recipe, rollout=Independent(size=4), concurrency=16, schedule=Asynchronous(eta=2, tune=True))
    try:
        out = carry_out(recipe, tmp_path / "run")
    finally:
        gymnasium.registry.pop("async/Chaos-v0")
        for env in made:
            env.release()
    events = list(read_events(out / "events.jsonl"))
    admitted = Counter(p["seed"] for e in events if e["event"] == "admitted" for p in e["problems"])
    ended = [e for e in events if e["event"] == "ended"]
    assert Counter(e["seed"] for e in ended) == {seed: 4 for seed in admitted} and len(admitted) == 16
    ways = Counter(e["how"] for e in ended)
    steps = read_metrics(out / "metrics.jsonl")
    failed = sum(value for m in steps for name, value in m.items() if name.startswith("failures/"))
    assert failed == sum(ways[family.value] for family in Family) > 0 and ways["terminated"] > 0
    assert sum(m["survivors"] for m in steps) == 64 - failed and len(steps) == 8
    retried = [e["family"] for e in events if e["event"] == "retried"]
    assert retried and set(retried) == {"environment"}, "the world is tried again, the task's own errors are not"
    assert replayed(out).equal, "and it can be trained again"


# --- replay -------------------------------------------------------------------------------------------------------------


def replayed(out: Path, **kwargs: Any) -> Replay:
    return asyncio.run(replay(out, **kwargs))


@pytest.fixture(scope="module")
def ahead(registered: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a learner in a thread and a shaper that changes what was rolled out."""
    recipe = replace(AHEAD, rewards=(InvalidAction(penalty=0.5),), steps=6)
    return carry_out(recipe, tmp_path_factory.mktemp("ahead") / "run")


@pytest.mark.parametrize("start", ["", "step-3"])
def test_a_run_that_no_clock_can_repeat_is_trained_again_to_the_last_bit(start: str, ahead: Path):
    before = sorted((p.name, p.stat().st_size) for p in ahead.iterdir())
    found = replayed(ahead, start=start)
    assert found.equal and found.steps == (3 if start else 6) and found.metrics > 100
    assert sorted((p.name, p.stat().st_size) for p in ahead.iterdir()) == before, "looked at, not changed"


def test_a_lock_step_run_is_sampled_again_too(plain: Path):
    found = replayed(plain, live=True)
    assert found.equal and found.steps == 6


def test_the_first_difference_is_named(plain: Path, tmp_path: Path):
    bent = tmp_path / "run"
    shutil.copytree(plain, bent)
    rows = (bent / "trajectories.jsonl").read_text().splitlines()
    row = json.loads(rows[5])  # of the third step
    row["turns"][0]["logprobs"][0] -= 1e-6
    rows[5] = json.dumps(row)
    (bent / "trajectories.jsonl").write_text("\n".join(rows) + "\n")
    found = replayed(bent)
    assert found.difference is not None and found.difference.step == 2
    assert "was recorded" in str(found.difference) and found.difference.recorded != found.difference.replayed
    live = replayed(bent, live=True)
    assert live.difference is not None and live.difference.step == 2 and "tokens of even-" in live.difference.what


@pytest.mark.parametrize("name", ["sync/bytes", "sync/probe_difference"])
def test_what_a_sync_found_is_compared_too(name: str, ahead: Path, tmp_path: Path):
    bent = tmp_path / "run"
    shutil.copytree(ahead, bent)
    rows = [json.loads(row) for row in (bent / "metrics.jsonl").read_text().splitlines()]
    assert rows[4]["sync/bytes"] > 0 and rows[4]["sync/probe_difference"] < 1e-4
    rows[4][name] += 1e-9 * max(1.0, rows[4][name])
    rows[4]["seconds"] = 1.0
    (bent / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = replayed(bent, start="step-3").difference
    assert found is not None and (found.step, found.what) == (4, name)


def test_a_log_that_was_cut_off_is_replayed_as_far_as_it_goes(plain: Path, tmp_path: Path):
    shutil.copytree(plain, tmp_path / "run")
    crash_after(tmp_path / "run", 3, (4, 9, 33))
    found = replayed(tmp_path / "run")
    assert found.equal and 2 <= found.steps <= 4


def test_what_cannot_be_replayed(plain: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no checkpoint 'step-5'. Known: step-3, step-6"):
        replayed(plain, start="step-5")
    with pytest.raises(ConfigError, match="nothing to replay: 6 steps"):
        replayed(plain, start="step-6")
    shutil.copytree(plain, tmp_path / "run")
    (tmp_path / "run" / "events.jsonl").unlink()
    with pytest.raises(ConfigError, match="no event log"):
        replayed(tmp_path / "run")


def test_from_the_command_line(plain: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["replay", str(plain), "--start", "step-3"]) == 0
    assert "equal to the last bit: training of 3 steps from step 3" in capsys.readouterr().out


if __name__ == "__main__":
    register()
    carry_out(load(sys.argv[1]), Path(sys.argv[2]))
