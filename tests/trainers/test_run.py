"""A whole run: its files, its exact resume, and what it does when the world breaks."""

import asyncio
import dataclasses
import io
import json
import math
import shutil
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from turnwise.agents.retries import Retry
from turnwise.agents.store import read_trajectories
from turnwise.envs.core import Transition, TurnEnv, split_of
from turnwise.envs.search.lookup import Lookup
from turnwise.envs.testing import ChaosEnv
from turnwise.errors import ConfigError, InfraError, UnknownName
from turnwise.trainers.advantages.bilevel_gae import BilevelGAE
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.checkpoint import latest
from turnwise.trainers.critic import Critic
from turnwise.trainers.logbook import Logbook, read_metrics
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.policies.pretrained import Pretrained
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import EnvChoice, Evaluate, Lora, Recipe, load
from turnwise.trainers.rewards.invalid_action import InvalidAction
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.run import Result, run
from turnwise.trainers.sft import SFT
from turnwise.trainers.trainer import PATIENCE
from turnwise.trainers.transforms.empg import EMPG
from turnwise.trainers.transforms.length_free import LengthFree
from turnwise.types import Group, Task


class Even(TurnEnv):
    """Half a point for each reply of an even number of characters; solved by three in a row. Random text earns something."""

    levels = range(1, 4)

    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return Task(f"even-{difficulty}-{int(rng.integers(10**6))}", "even?", "ab", difficulty)

    def begin(self, task: Task) -> str:
        self.solved = True
        return f"{task.id} even?"

    def play(self, action: str) -> Transition:
        even = len(action) % 2 == 0
        self.solved &= even
        won = self.solved and self.turn == 3
        return Transition(f"go on {int(self.np_random.integers(10))}", 0.5 * even, self.turn == 3, float(won), valid=bool(action))

    def expert_action(self) -> str:
        return "ab"


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    gymnasium.register("spine/Even-v0", entry_point=Even)
    yield
    gymnasium.registry.pop("spine/Even-v0")


TERSE = {"style": "terse", "instructions": False}
TINY = Recipe(
    env=(EnvChoice(id="spine/Even-v0", weight=3.0), EnvChoice(id="turnwise/Lookup-v0", difficulty=(1,), kwargs=TERSE)),
    policy=Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=400, context=256),
    warm_start=SFT(demonstrations=16, epochs=2.0, batch_size=8),
    rollout=Independent(size=3),
    rewards=(InvalidAction(penalty=0.1),),
    optimizer=AdamW(lr=1e-2),
    evaluate=Evaluate(tasks=4, every=2, curve_tasks=2),
    steps=6,
    tasks_per_step=2,
    max_new_tokens=8,
    max_turns=3,
    checkpoint_every=3,
    threads=1,
)


def carry_out(recipe: Recipe, out: Path, **kwargs: Any) -> tuple[Result, str]:
    """The result, and what was printed."""
    printed = io.StringIO()
    result = asyncio.run(run(recipe, out, console=Console(file=printed, width=160), **kwargs))
    return result, printed.getvalue()


@pytest.fixture(scope="module")
def done(registered: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result, str]:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    return out, *carry_out(TINY, out)


# --- what it leaves behind ---------------------------------------------------------------------------------------------


def test_every_file_is_there(done: tuple[Path, Result, str]):
    out, _, _ = done
    for name in ("recipe.toml", "metrics.jsonl", "curve.png", "trajectories.jsonl", "results.json", "model/config.json"):
        assert (out / name).is_file(), name
    assert load(out / "recipe.toml") == TINY, "the complete recipe"
    assert latest(out / "checkpoints").name == "step-6" and (out / "checkpoints" / "step-3").is_dir()
    assert not list((out / "checkpoints").glob("*.part")) and not list((out / "checkpoints").glob("*.tmp"))
    assert any((out / "tensorboard").iterdir())


def test_the_curve_is_a_picture(done: tuple[Path, Result, str]):
    data = (done[0] / "curve.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", data[16:24])
    assert width >= 600 and height >= 400


def test_success_is_measured_before_between_and_after(done: tuple[Path, Result, str]):
    out, result, printed = done
    stages = [(p.stage, p.step, p.tasks) for p in result.points]
    assert stages == [("start", 0, 4), ("warm-start", 0, 4), ("rl", 2, 2), ("rl", 4, 2), ("rl", 6, 4)]
    assert all(0 <= p.low <= p.success <= p.high <= 1 for p in result.points)
    assert json.loads((out / "results.json").read_text())["points"] == [dataclasses.asdict(p) for p in result.points]
    for says in ("before training", "after warm-start", "after 6 RL steps", "95 % interval"):
        assert says in printed


def test_the_metrics_of_each_step_are_there(done: tuple[Path, Result, str]):
    lines = read_metrics(done[0] / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(6))
    for line in lines:
        assert line["groups"] == 2 and line["trajectories"] == 6 and line["failures"] == 0
        assert {"success", "reward", "entropy", "groups_zero_variance", "groups_dropped", "advantage_std"} <= line.keys()
        assert all(math.isfinite(value) for value in line.values())
        if line["steps_skipped"] == 0:
            assert line["kl_engine"] < 1e-6, "the policy that is trained is the one that sampled"
    assert any(line["grad_norm"] > 0 for line in lines)


def test_the_trajectories_are_there_with_their_tokens(done: tuple[Path, Result, str]):
    trajectories = read_trajectories(done[0] / "trajectories.jsonl")
    assert len(trajectories) == 6 * 2 * 3
    assert [t.turns[0].version for t in trajectories] == [step for step in range(6) for _ in range(6)]
    for trajectory in trajectories:
        assert 1 <= len(trajectory.turns) <= 3 and not trajectory.failed
        for turn in trajectory.turns:
            assert 1 <= len(turn.action_ids) == len(turn.logprobs) <= 8
            assert "invalid_action" in turn.reward_terms
    assert len({t.seed for t in trajectories}) == 12, "every task is new"


def test_train_and_test_tasks_are_apart(done: tuple[Path, Result, str]):
    trained = {t.task.id for t in read_trajectories(done[0] / "trajectories.jsonl")}
    assert {split_of(task_id) for task_id in trained} == {"train"}


def test_the_model_is_one_of_transformers(done: tuple[Path, Result, str]):
    out, _, _ = done
    model: Any = AutoModelForCausalLM.from_pretrained(out / "model")
    tokenizer: Any = AutoTokenizer.from_pretrained(out / "model")
    saved = torch.load(out / "checkpoints" / "step-6" / "trainer.pt", weights_only=True)["weights"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved[name])
    base: Any = AutoModelForCausalLM.from_pretrained(out / "base")
    assert any(not torch.equal(a, b) for a, b in zip(base.parameters(), model.parameters(), strict=True))
    trajectory = read_trajectories(out / "trajectories.jsonl")[0]
    assert trajectory.turns[0].observation in tokenizer.decode(trajectory.ids)


# --- exact resume ------------------------------------------------------------------------------------------------------

HALF = Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=400, context=256, dtype="bfloat16")
VARIANTS = {
    "grpo": TINY,
    "critic": replace(TINY, advantage=TurnGAE(), critic=Critic(), warm_start=None),
    "token_critic": replace(
        TINY, advantage=BilevelGAE(whiten=True), critic=Critic(level="token"), transform=(EMPG(), LengthFree()), warm_start=None
    ),
    "minibatches": replace(TINY, minibatches=2, epochs=2, kl=0.05, entropy=0.01, warmup=4),
    "bfloat16": replace(TINY, policy=HALF, activation_checkpointing=True, optimizer=AdamW(lr=1e-3)),
    "lora_muon": replace(TINY, lora=Lora(rank=2), optimizer=MuonAdamW(), kl=0.05),
}


def lines(out: Path) -> list[str]:
    return (out / "metrics.jsonl").read_text().splitlines()


def words(out: Path) -> list[tuple[Any, ...]]:
    """Trajectories without what a clock measured."""
    return [
        (t.task.id, t.seed, t.stop, t.ids, t.turn_of_token, [(u.logprobs, u.entropies, u.reward, u.version) for u in t.turns])
        for t in read_trajectories(out / "trajectories.jsonl")
    ]


def assert_same(one: Any, two: Any, where: str = "") -> None:
    """Bitwise, through whatever a checkpoint holds."""
    assert type(one) is type(two), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two) and one.dtype == two.dtype, where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_same(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            assert_same(a, b, f"{where}.{i}")
    else:
        assert one == two, where


def state(out: Path, step: int) -> dict[str, Any]:
    return torch.load(out / "checkpoints" / f"step-{step}" / "trainer.pt", weights_only=True)


@pytest.mark.parametrize("name", VARIANTS)
def test_six_steps_are_three_and_three(name: str, tmp_path: Path):
    """A run that stopped anywhere after its checkpoint goes on as if nothing had been: no bit differs, nothing is there twice."""
    recipe = VARIANTS[name]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    result, _ = carry_out(recipe, whole)
    shutil.copytree(whole, broken)
    # As a crash in step 5 leaves it: later lines are written already, one of them cut off, the last checkpoint is step 3.
    shutil.rmtree(broken / "checkpoints" / "step-6")
    (broken / "checkpoints" / "latest").write_text("step-3")
    for file, keep in (("metrics.jsonl", 5), ("trajectories.jsonl", 9)):
        kept = (broken / file).read_text().splitlines(keepends=True)
        (broken / file).write_text("".join(kept[:keep]) + kept[keep][:40])
    again, printed = carry_out(recipe, broken, resume=True)
    assert "resumed from step-3: 3 of 6 steps are done" in printed
    assert lines(broken) == lines(whole)
    assert words(broken) == words(whole)
    assert again.points == result.points
    assert_same(state(broken, 6)["weights"], state(whole, 6)["weights"])
    assert_same(state(broken, 6)["learner"], state(whole, 6)["learner"])
    assert_same(state(broken, 6)["sampler"], state(whole, 6)["sampler"])
    steps = read_metrics(whole / "metrics.jsonl")
    assert len({step["reward"] for step in steps}) > 1 and max(step["grad_norm"] for step in steps[3:]) > 0, "it could differ"
    assert state(whole, 6)["learner"]["version"] == 6


def test_three_steps_and_three_more(tmp_path: Path):
    """A run that ended can be lengthened: the same as one that was long from the start."""
    recipe = replace(TINY, evaluate=Evaluate(tasks=0), warm_start=None, optimizer=AdamW(lr=3e-2))
    carry_out(recipe, tmp_path / "long")
    carry_out(replace(recipe, steps=3), tmp_path / "short")
    carry_out(recipe, tmp_path / "short", resume=True)
    assert lines(tmp_path / "short") == lines(tmp_path / "long")
    assert words(tmp_path / "short") == words(tmp_path / "long")
    assert_same(state(tmp_path / "short", 6)["weights"], state(tmp_path / "long", 6)["weights"])


def test_resuming_a_finished_run_changes_nothing(done: tuple[Path, Result, str], tmp_path: Path):
    out, result, _ = done
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    again, _ = carry_out(TINY, copy, resume=True)
    assert lines(copy) == lines(out) and words(copy) == words(out) and again.points == result.points


def test_the_seed_decides_all(done: tuple[Path, Result, str], tmp_path: Path):
    again, _ = carry_out(replace(TINY, steps=2), tmp_path / "again")
    assert lines(tmp_path / "again") == lines(done[0])[:2]
    carry_out(replace(TINY, steps=2, seed=1), tmp_path / "other")
    assert not set(lines(tmp_path / "other")) & set(lines(done[0]))
    assert again.points[:2] == done[1].points[:2]


# --- the world breaks --------------------------------------------------------------------------------------------------


@pytest.fixture
def chaos() -> Iterator[list[ChaosEnv]]:
    made: list[ChaosEnv] = []

    def new(rate: float = 0.05, hang: float = 0.0, **kwargs: Any) -> ChaosEnv:
        made.append(ChaosEnv(Lookup(**TERSE), fail=rate, crash=rate, nonsense=rate, hang=hang, seed=len(made)))
        return made[-1]

    gymnasium.register("spine/Chaos-v0", entry_point=new)
    yield made
    gymnasium.registry.pop("spine/Chaos-v0")
    for env in made:
        env.release()


def chaotic(rate: float, hang: float = 0.0) -> Recipe:
    return replace(
        TINY,
        env=(EnvChoice(id="spine/Chaos-v0", kwargs={"rate": rate, "hang": hang}),),
        evaluate=Evaluate(tasks=16, every=0),
        rollout=Independent(size=4),
        step_deadline_s=0.15 if hang else 60.0,
        retry=Retry(attempts=1),
        steps=4,
        warm_start=replace(TINY.warm_start, demonstrations=30) if TINY.warm_start else None,
    )


def test_a_run_in_chaos_finishes_and_counts_every_failure(chaos: list[ChaosEnv], tmp_path: Path):
    """20 % of all calls fail, hang, crash or answer nonsense."""
    result, printed = carry_out(chaotic(0.05, hang=0.05), tmp_path / "run")
    metrics = read_metrics(tmp_path / "run" / "metrics.jsonl")
    trajectories = read_trajectories(tmp_path / "run" / "trajectories.jsonl")
    assert [m["trajectories"] for m in metrics] == [8.0] * 4 and len(trajectories) == 32, "none is lost"
    failed = [t for t in trajectories if t.failed]
    kinds = {t.failure.kind for t in failed if t.failure}
    counted = sum(value for m in metrics for name, value in m.items() if name.startswith("failures/"))
    assert counted == len(failed) >= 5 and len(kinds) >= 3
    assert {name.removeprefix("failures/") for m in metrics for name in m if name.startswith("failures/")} == kinds
    for m, step in zip(metrics, range(4), strict=True):
        alive = [t for t in trajectories[8 * step : 8 * step + 8] if not t.failed]
        assert m["survivors"] == len(alive)
        assert m["reward"] == pytest.approx(sum(t.reward for t in alive) / max(1, len(alive))), "no failure counts as a 0"
    assert result.points[-1].step == 4 and "failed" in printed


def test_a_world_that_is_broken_for_good_stops_the_run(chaos: list[ChaosEnv], tmp_path: Path):
    recipe = replace(chaotic(0.3333), warm_start=None, evaluate=Evaluate(tasks=0), steps=50)
    with pytest.raises(InfraError, match=f"no group had 2 survivors in {PATIENCE} steps"):
        carry_out(recipe, tmp_path / "run")
    metrics = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert PATIENCE - 1 <= len(metrics) < 49 and metrics[-1]["groups_dropped"] == 2


def test_an_outage_of_the_held_out_tasks_costs_no_run(chaos: list[ChaosEnv], tmp_path: Path):
    """Everything works until the training is over; then nothing does."""
    recipe = replace(chaotic(0.0), env=(EnvChoice(id="spine/Chaos-v0", kwargs={"rate": 0.0}),), steps=1, warm_start=None)
    recipe = replace(recipe, rewards=(Outage(envs=chaos),))
    result, printed = carry_out(recipe, tmp_path / "run")
    assert [p.stage for p in result.points] == ["start"] and "every episode failed" in printed
    assert latest(tmp_path / "run" / "checkpoints").name == "step-1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outage:
    """A shaper that changes no reward and breaks every environment, made before and after."""

    envs: list[ChaosEnv] = dataclasses.field(default_factory=list)

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        for env in self.envs:
            env.rates = (1.0, 0.0, 0.0, 0.0)
        return list(groups)


# --- mistakes ----------------------------------------------------------------------------------------------------------


def test_a_used_folder_is_refused(done: tuple[Path, Result, str]):
    before = lines(done[0])
    with pytest.raises(ConfigError, match="a run is there already"):
        carry_out(TINY, done[0])
    assert lines(done[0]) == before


def test_nothing_to_resume(tmp_path: Path):
    with pytest.raises(ConfigError, match="no checkpoint there"):
        carry_out(TINY, tmp_path / "none", resume=True)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"policy": Pretrained(path="/no/such/folder")}, ConfigError, "no model can be loaded from '/no/such/folder'"),
        ({"policy": Pretrained(path="/no/such", dtype="float12")}, ConfigError, "policy.dtype"),
        ({"env": (EnvChoice(id="turnwise/Lokup-v0"),)}, UnknownName, "Did you mean 'turnwise/Lookup-v0'"),
        ({"env": (EnvChoice(id="turnwise/Lookup-v0", difficulty=(99,)),)}, ConfigError, "difficulty must be an int from 1"),
        ({"env": (EnvChoice(id="turnwise/Lookup-v0", kwargs={"styl": "terse"}),)}, ConfigError, "cannot be made with .*styl"),
        ({"warm_start": SFT(teacher="no.such:teacher")}, ConfigError, "warm_start.teacher: 'no.such:teacher'"),
        ({"warm_start": SFT(teacher="novice")}, ConfigError, "write package.module:function"),
    ],
)
def test_mistakes_are_config_errors(change: dict[str, Any], error: type[Exception], says: str, tmp_path: Path):
    with pytest.raises(error, match=says):
        carry_out(replace(TINY, **{"warm_start": None, **change}), tmp_path / "run")


# --- nothing in a recipe is ignored ------------------------------------------------------------------------------------


def test_every_key_of_a_recipe_is_read(tmp_path: Path):
    """A key that nobody reads would be a setting without an effect."""
    read: set[str] = set()

    class Traced(Recipe):
        def __getattribute__(self, name: str) -> Any:
            caller = sys._getframe(1)
            if caller.f_code.co_name not in ("dump", "loads"):
                read.add(name)
            return super().__getattribute__(name)

    carry_out(Traced(**{f.name: getattr(TINY, f.name) for f in dataclasses.fields(Recipe)}), tmp_path / "run")
    assert {f.name for f in dataclasses.fields(Recipe)} <= read


# --- the logbook -------------------------------------------------------------------------------------------------------


def test_metrics_are_kept_up_to_the_step_that_is_played_again(tmp_path: Path):
    book = Logbook(tmp_path)
    for step in range(5):
        book.write(step, {"loss": float(step), "entropy": math.nan if step == 1 else 0.5}, {})
    book.close()
    book = Logbook(tmp_path, resume=True, first=3)
    book.write(3, {"loss": 30.0}, {})
    book.close()
    kept = read_metrics(tmp_path / "metrics.jsonl")
    assert [(line["step"], line["loss"]) for line in kept] == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 30.0)]
    assert math.isnan(kept[1]["entropy"]) and '"entropy": null' in lines(tmp_path)[1]
    Logbook(tmp_path).close()
    assert read_metrics(tmp_path / "metrics.jsonl") == []
