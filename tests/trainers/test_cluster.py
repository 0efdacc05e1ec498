"""What a cluster is made of, piece by piece; most of it needs no Ray."""

import asyncio
import copy
import io
import pickle
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from turnwise.cli import _parsed
from turnwise.errors import ConfigError, LearnerFailure
from turnwise.trainers import run as running
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.batch import Batch
from turnwise.trainers.cluster.parcels import emptied, filled, flat, grown, packed, unpacked
from turnwise.trainers.cluster.resources import Shares, shares
from turnwise.trainers.cluster.settings import Cluster
from turnwise.trainers.critic import Critic
from turnwise.trainers.explain import explain
from turnwise.trainers.learner import Learner
from turnwise.trainers.live import Live
from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import EnvChoice, Evaluate, Recipe, dump, load, loads
from turnwise.trainers.recording import read_events
from turnwise.trainers.rewards.invalid_action import InvalidAction
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Task, Trajectory, Turn


def test_local_users_import_neither_ray_nor_vllm() -> None:
    code = (
        "import sys, turnwise.cli, turnwise.trainers.run, turnwise.trainers.replay, turnwise.agents.evaluate;"
        "print(*sorted({'ray', 'vllm'} & {m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# --- the slot of a recipe -------------------------------------------------------------------------------------------------


def test_the_slot_is_read_said_and_kept() -> None:
    recipe = loads('env = "turnwise/Lookup-v0"\n[cluster]\nworkers = 3\nengines = 0', ["cluster.address=auto"])
    assert recipe.cluster == Cluster(address="auto", workers=3, engines=0)
    assert loads(dump(recipe)) == recipe
    assert "3 rollout worker(s), an engine in each worker" in explain(recipe)
    assert "none" in next(line for line in explain(loads('env = "turnwise/Lookup-v0"')).splitlines() if "cluster" in line)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"workers": 0}, "cluster.workers: expected at least 1"), ({"address": "ray://head:10001"}, "run the driver on a node")],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Cluster(**wrong)


@pytest.mark.parametrize(
    ("cluster", "has", "wanted", "gets"),
    [
        (Cluster(), {"CPU": 2.0}, 1, Shares(cpus=0.666)),
        (Cluster(workers=4, engines=0), {"CPU": 16.0}, 1, Shares(cpus=1.0)),
        (
            Cluster(workers=2, engines=2, learners=4),
            {"CPU": 64.0, "GPU": 8.0},
            2,
            Shares(cpus=1.0, engine_gpus=2, learner_gpus=1),
        ),
        (Cluster(engines=1, learners=1), {"CPU": 8.0, "GPU": 1.0}, 1, Shares(cpus=1.0, engine_gpus=0.5, learner_gpus=0.5)),
        (Cluster(engines=1), {"CPU": 8.0, "GPU": 4.0}, 2, Shares(cpus=1.0, engine_gpus=2)),
        (
            Cluster(engines=2, learners=2, gpus_per_engine=1.5),
            {"CPU": 8, "GPU": 4},
            1,
            Shares(cpus=1, engine_gpus=1.5, learner_gpus=0.5),
        ),
    ],
)
def test_what_there_is_is_shared_out(cluster: Cluster, has: dict[str, float], wanted: int, gets: Shares) -> None:
    found = shares(cluster, has, wanted)
    assert found == gets
    engines = cluster.engines or cluster.workers
    assert found.engine_gpus * engines + found.learner_gpus * cluster.learners <= has.get("GPU", 0)
    assert found.cpus * (cluster.workers + cluster.engines + cluster.learners) <= has["CPU"]


def test_more_gpus_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cluster has 1"):
        shares(Cluster(engines=2, gpus_per_engine=1), {"CPU": 8.0, "GPU": 1.0})


# --- the page -------------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """Every call of a program on the page, as words; what a shell fills in stands for itself."""
    found = re.findall(rf"(?:^|[(;`]|exec |srun \S+ ){program} ([^`;)\n#]+)", "\n".join(blocks(r"\w+")), re.MULTILINE)
    return [shlex.split(words) for words in found]


def test_commands_of_the_page_are_commands_of_ours(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('env = "turnwise/Lookup-v0"\n')
    trains = commands("turnwise")
    assert len(trains) >= 6
    for words in trains:
        given = _parsed([str(recipe) if word in ("RECIPE", "/data/recipe.toml") else word for word in words])
        if given.resume is None:
            assert load(given.recipe, [*given.overrides, f'cluster.address="{given.cluster}"']).cluster.used


def test_commands_of_the_page_are_commands_of_ray() -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    calls = commands("ray")
    assert {words[0] for words in calls} == {"start", "stop", "symmetric-run"}
    for name, *words in calls:
        options = {option for parameter in scripts.cli.commands[name].params for option in parameter.opts}
        own = words[: words.index("--")] if "--" in words else words
        assert {word.split("=")[0] for word in own if word.startswith("--")} <= options


def test_the_scripts_of_the_page_are_whole() -> None:
    (slurm,) = blocks("bash")
    subprocess.run(["bash", "-n"], input=slurm, text=True, check=True)
    (text,) = blocks("yaml")
    job = yaml.safe_load(text)
    assert (job["kind"], job["apiVersion"]) == ("RayJob", "ray.io/v1")
    subprocess.run(["bash", "-n"], input=job["spec"]["entrypoint"], text=True, check=True)
    parts = job["spec"]["rayClusterSpec"]
    for part in (parts["headGroupSpec"], *parts["workerGroupSpecs"]):
        pod = part["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    gpus = sum(
        part["replicas"] * int(container["resources"]["limits"]["nvidia.com/gpu"])
        for part in parts["workerGroupSpecs"]
        for container in part["template"]["spec"]["containers"]
    )
    settings = Cluster(address="auto", workers=8, engines=6, learners=2)
    assert "workers=8 cluster.engines=6 cluster.learners=2" in job["spec"]["entrypoint"]
    assert shares(settings, {"CPU": 72.0, "GPU": gpus}) == Shares(cpus=1.0, engine_gpus=1.0, learner_gpus=1.0)


# --- what travels ---------------------------------------------------------------------------------------------------------


def deep(turns: int) -> Trajectory:
    return make_trajectory(Task("t", "", "", 1), [0.5] * turns)


def test_long_and_branching_trajectories_survive_the_way() -> None:
    """A chain of 3000 turns is deeper than pickle goes; siblings share their beginning before and after."""
    first = deep(3000)
    leaf = first.leaf
    assert leaf is not None and leaf.parent is not None
    twin = Trajectory(first.task, first.env_id, 1, copy.copy(leaf.parent), first.stop)
    recalled = Trajectory(first.task, first.env_id, 2, None, first.stop)
    again = grown(pickle.loads(pickle.dumps(flat((first, twin, recalled)))))

    def told(turn: Turn) -> tuple[Any, ...]:
        return tuple(getattr(turn, name) for name in Turn.__slots__ if name != "parent")

    assert [told(t) for t in again[0].turns] == [told(t) for t in first.turns]
    assert again[0].turns[:2998] == again[1].turns[:2998], "turns are compared by identity: what was shared still is"
    assert again[2].turns == () and [t.seed for t in again] == [first.seed, 1, 2]


def tiny() -> Qwen3ForCausalLM:
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": 16}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=8, num_key_value_heads=1, tie_word_embeddings=True, **shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_is_the_same_after_its_way_and_tied_weights_travel_once(dtype: torch.dtype) -> None:
    model = tiny().to(dtype)
    parcel = packed(model.state_dict())
    assert "lm_head.weight" in model.state_dict() and "lm_head.weight" not in parcel
    shell = emptied(model)
    assert all(p.is_meta for p in shell.parameters()) and not any(p.is_meta for p in model.parameters())
    again = filled(shell, unpacked(parcel))
    assert isinstance(again, nn.Module) and len(list(again.parameters())) == len(list(model.parameters())), "tied is tied"
    ids = torch.arange(8)[None]
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)


# --- a learner that dies --------------------------------------------------------------------------------------------------


SMALL = Recipe(
    env=(EnvChoice(id="turnwise/Lookup-v0", difficulty=(1,), kwargs={"style": "terse", "instructions": False, "max_turns": 2}),),
    policy=Scratch(hidden=32, layers=1, heads=2, mlp=64, vocabulary=300, context=256),
    rollout=Independent(size=4),
    rewards=(InvalidAction(),),
    advantage=TurnGAE(),
    critic=Critic(),
    tasks_per_step=2,
    steps=5,
    max_new_tokens=8,
    checkpoint_every=2,
    evaluate=Evaluate(tasks=0),
)


class Mortal:
    """A learner whose process, so to speak, dies at certain updates: each entry of `deaths` once."""

    def __init__(self, learner: Learner, deaths: list[int]) -> None:
        self.inner, self.deaths = learner, deaths

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def update(self, batch: Batch, advantages: Tensor, targets: Tensor | None = None) -> dict[str, float]:
        metrics = self.inner.update(batch, advantages, targets)  # what it did to the weights must not stay
        if self.inner.version in self.deaths:
            self.deaths.remove(self.inner.version)
            raise LearnerFailure("rank", f"rank 0 died in update {self.inner.version}")
        return metrics


def trained(out: Path, console: Console, **changes: Any) -> list[dict[str, Any]]:
    asyncio.run(running.run(replace(SMALL, **changes), out, console=console))
    return read_metrics(out / "metrics.jsonl")


def mortal(monkeypatch: pytest.MonkeyPatch, deaths: list[int]) -> None:
    made = running._learner

    def learner(live: Live) -> Any:
        return Mortal(made(live), deaths)

    monkeypatch.setattr(running, "_learner", learner)


def test_a_dead_learner_goes_on_from_the_last_checkpoint_in_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = trained(tmp_path / "plain", Console(file=io.StringIO()))
    deaths = [3, 4, 5]
    mortal(monkeypatch, deaths)
    said = io.StringIO()
    assert trained(tmp_path / "again", Console(file=said, width=200)) == plain and not deaths
    assert said.getvalue().count("the learner died") == 3
    lost = [e for e in read_events(tmp_path / "again" / "events.jsonl") if e["event"] == "lost"]
    assert [(e["what"], e["why"]) for e in lost] == [("learner", f"rank: rank 0 died in update {n}") for n in (3, 4, 5)]
    learned = [e["step"] for e in read_events(tmp_path / "again" / "events.jsonl") if e["event"] == "learned"]
    assert learned == [0, 1, 2, 3, 4]


def test_a_learner_that_always_dies_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mortal(monkeypatch, [3] * 9)
    with pytest.raises(LearnerFailure, match=r"died 2 times after step-2.*rank 0 died in update 3"):
        trained(tmp_path, Console(file=io.StringIO()), cluster=Cluster(restarts=1))
