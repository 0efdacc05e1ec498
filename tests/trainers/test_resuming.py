"""A run that was stopped at an odd moment, or whose folder was meddled with: it goes on bit for bit, or says what is wrong."""

import asyncio
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from turnwise.errors import ConfigError, InfraError
from turnwise.trainers import checkpoint
from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import EnvChoice, Evaluate, Recipe, load
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.run import run

RECIPE = Recipe(
    env=(EnvChoice(id="turnwise/Lookup-v0", kwargs={"style": "terse", "instructions": False}),),
    policy=Scratch(hidden=16, layers=1, heads=2, mlp=24, vocabulary=300, context=192),
    rollout=Independent(size=2),
    evaluate=Evaluate(tasks=0),
    steps=4,
    tasks_per_step=2,
    max_new_tokens=6,
    max_turns=2,
    checkpoint_every=2,
    threads=1,
)


def carry_out(recipe: Recipe, out: Path, **kwargs: Any) -> str:
    """What was printed."""
    printed = io.StringIO()
    asyncio.run(run(recipe, out, console=Console(file=printed, width=300), **kwargs))
    return printed.getvalue()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "run"
    carry_out(RECIPE, out)
    return out


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After three of four steps, the last checkpoint after two."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    carry_out(RECIPE, out, until=3)
    return out


@pytest.fixture
def folder(stopped: Path, tmp_path: Path) -> Path:
    return shutil.copytree(stopped, tmp_path / "run")


def halved(name: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return change


def appended(name: str, what: str) -> Callable[[Path], Any]:
    def change(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.write(what)

    return change


def half_a_checkpoint(folder: Path) -> None:
    part = folder / "checkpoints" / ".step-4.part"
    shutil.copytree(folder / "checkpoints" / "step-2", part)
    halved("trainer.pt")(part)


def a_checkpoint_without_its_name(folder: Path) -> None:
    """Killed after the folder was there and before `latest` named it: it is written again."""
    shutil.copytree(folder / "checkpoints" / "step-2", folder / "checkpoints" / "step-4")
    halved("trainer.pt")(folder / "checkpoints" / "step-4")


@pytest.mark.parametrize(
    "moment",
    [
        lambda folder: None,
        appended("metrics.jsonl", '{"step": 3, "rew'),
        appended("metrics.jsonl", "{"),
        appended("events.jsonl", '{"event":"learned","step":3,"ver'),
        appended("trajectories.jsonl", '{"turnwise":1,"tasks":[{"id'),
        half_a_checkpoint,
        a_checkpoint_without_its_name,
    ],
)
def test_killed_at_an_odd_moment_it_goes_on_bit_for_bit(moment: Callable[[Path], Any], plain: Path, folder: Path):
    moment(folder)
    assert "resumed with another setting" not in carry_out(load(folder / "recipe.toml"), folder, resume=True)
    assert read_metrics(folder / "metrics.jsonl") == read_metrics(plain / "metrics.jsonl")
    one, two = (torch.load(out / "checkpoints/step-4/trainer.pt", weights_only=True)["weights"] for out in (plain, folder))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def emptied(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text("")


def broken_line(folder: Path) -> None:
    first, *others = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(['{"step": 0, "re\n', first, *others]))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (halved("checkpoints/step-2/trainer.pt"), r"step-2: trainer.pt cannot be read .*There is no other; begin a new run"),
        (emptied("checkpoints/step-2/trainer.pt"), "trainer.pt cannot be read"),
        (emptied("checkpoints/latest"), r"names '', which is no checkpoint. To go on from an older one: echo step-2 > "),
        (lambda folder: shutil.rmtree(folder / "checkpoints/step-2"), "`latest` names 'step-2', which is no checkpoint"),
        (emptied("trajectories.jsonl"), r"trajectories.jsonl has 0 bytes, and had \d+ when step-2 was written"),
        (halved("events.jsonl"), "events.jsonl has"),
        (emptied("metrics.jsonl"), "metrics.jsonl does not hold the 2 steps before step-2"),
        (lambda folder: (folder / "metrics.jsonl").unlink(), "metrics.jsonl does not hold the 2 steps"),
        (broken_line, "metrics.jsonl, line 1: no metrics of a step"),
    ],
)
def test_what_is_damaged_is_named_and_nothing_is_changed(damage: Callable[[Path], Any], says: str, folder: Path):
    damage(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=says):
        carry_out(RECIPE, folder, resume=True)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_mend_that_is_named_works(plain: Path, tmp_path: Path):
    """The newest checkpoint is damaged; with the one before named, the run comes to the same end."""
    folder = shutil.copytree(plain, tmp_path / "run")
    halved("checkpoints/step-4/trainer.pt")(folder)
    with pytest.raises(ConfigError, match=r"To go on from an older one: echo step-2 > \S+latest"):
        carry_out(RECIPE, folder, resume=True)
    (folder / "checkpoints" / "latest").write_text("step-2\n")
    carry_out(RECIPE, folder, resume=True)
    assert read_metrics(folder / "metrics.jsonl") == read_metrics(plain / "metrics.jsonl")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 5}, r"seed: 5, was 0; a run cannot go on with another seed"),
        ({"policy": replace(RECIPE.policy, hidden=32)}, r"policy.hidden: 32, was 16; a run cannot go on with another policy"),
    ],
)
def test_another_run_is_refused(change: dict[str, Any], says: str, folder: Path):
    with pytest.raises(ConfigError, match=says):
        carry_out(replace(RECIPE, **change), folder, resume=True)
    assert load(folder / "recipe.toml") == RECIPE


def test_other_settings_are_said(folder: Path):
    printed = carry_out(replace(RECIPE, steps=5, optimizer=replace(RECIPE.optimizer, lr=1e-5)), folder, resume=True)
    assert (
        "another setting: steps: 5, was 4" in printed
        and f"another setting: optimizer.lr: 1e-05, was {RECIPE.optimizer.lr}" in printed
    )
    assert load(folder / "recipe.toml").steps == 5 and len(read_metrics(folder / "metrics.jsonl")) == 5


def test_stopped_before_the_first_checkpoint_there_is_nothing_to_go_on_with(folder: Path):
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(ConfigError, match="stopped before it had saved one"):
        carry_out(RECIPE, folder, resume=True)
    with pytest.raises(ConfigError, match="nothing to go on with; choose another folder"):
        carry_out(RECIPE, folder)


def test_a_checkpoint_that_cannot_be_written_ends_the_run_and_says_so(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("a file where a folder should be")
    with pytest.raises(InfraError, match=r"step-2 cannot be written \(.*make room and go on by --resume"):
        carry_out(RECIPE, tmp_path / "run")


def test_a_checkpoint_of_another_model_is_named(stopped: Path):
    other, _ = Scratch(hidden=32, layers=1, heads=2, mlp=24, vocabulary=300, context=192).build(["a"] * 3, 0)
    with pytest.raises(ConfigError, match="its weights are those of another model"):
        checkpoint.load(stopped / "checkpoints" / "step-2", other)
    assert json.loads((stopped / "metrics.jsonl").read_text().splitlines()[2])["step"] == 2
