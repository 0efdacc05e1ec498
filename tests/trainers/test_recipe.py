"""Recipes: what a file may say, what it is told when it says something else, and that nothing in it is ignored."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.errors import ConfigError, UnknownName
from turnwise.registry import names, resolve
from turnwise.trainers import aggregates, recipe
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.trloo import TRLOO
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.aggregates import Constant, SequenceMean, TokenMean
from turnwise.trainers.critic import Critic
from turnwise.trainers.explain import explain
from turnwise.trainers.losses.cispo import CISPO
from turnwise.trainers.losses.ppo_clip import PPOClip
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.policies.pretrained import Pretrained
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import EnvChoice, Evaluate, Lora, Recipe, dump, load, loads
from turnwise.trainers.rewards.implicit_prm import ImplicitPRM
from turnwise.trainers.rewards.invalid_action import InvalidAction
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.sft import SFT
from turnwise.trainers.transforms.empg import EMPG
from turnwise.trainers.transforms.positive_only import PositiveOnly

FILES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))
LOOKUP = 'env = "turnwise/Lookup-v0"\n'


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_recipe_of_ours_loads_and_survives(path: Path):
    loaded = load(path)
    assert loads(dump(loaded)) == loaded


def test_there_are_recipes():
    assert "quickstart.toml" in {path.name for path in FILES}


def test_the_shortest_recipe():
    assert loads(LOOKUP) == Recipe(env=(EnvChoice(id="turnwise/Lookup-v0"),))


FULL = """
steps = 7
lora = { rank = 4 }
rewards = ["invalid_action", { name = "invalid_action", penalty = 0.5 }]
advantage = "turn_gae"
aggregate = "sequence_mean"

[[env]]
id = "turnwise/Lookup-v0"
difficulty = [1, 2]
kwargs = { style = "terse", instructions = false }

[[env]]
id = "turnwise/Sokoban-v0"
weight = 2

[policy]
name = "pretrained"
path = "some where"

[critic]
lr = 0.1

[loss]
name = "ppo_clip"

[warm_start]
demonstrations = 5
optimizer = { name = "adamw", lr = 1e-4 }

[optimizer]
name = "muon"
"""


def test_every_slot_is_filled_with_the_object_it_names():
    full = loads(FULL)
    assert full == Recipe(
        steps=7,
        lora=Lora(rank=4),
        rewards=(InvalidAction(), InvalidAction(penalty=0.5)),
        advantage=TurnGAE(),
        aggregate=SequenceMean(),
        env=(
            EnvChoice(id="turnwise/Lookup-v0", difficulty=(1, 2), kwargs={"style": "terse", "instructions": False}),
            EnvChoice(id="turnwise/Sokoban-v0", weight=2.0),
        ),
        policy=Pretrained(path="some where"),
        critic=Critic(lr=0.1),
        loss=PPOClip(),
        warm_start=SFT(demonstrations=5, optimizer=AdamW(lr=1e-4)),
        optimizer=MuonAdamW(),
    )
    assert loads(dump(full)) == full


METHODS = [(slot, name) for slot, package in recipe._PACKAGES.items() for name in names(package) if slot != "policy"]


def critic_for(slot: str, name: str) -> str:
    method = resolve(recipe._PACKAGES[slot], name)
    level = "token" if getattr(method, "needs_token_values", False) else "turn"
    return f'critic = {{ level = "{level}" }}\n' if getattr(method, "needs_values", False) else ""


@pytest.mark.parametrize(("slot", "name"), METHODS)
def test_every_method_can_be_named(slot: str, name: str):
    text = LOOKUP + critic_for(slot, name) + (f'{slot} = ["{name}"]' if slot in recipe._LISTS else f'{slot} = "{name}"')
    loaded = loads(text)
    value = getattr(loaded, slot)
    assert isinstance(value[0] if slot in recipe._LISTS else value, resolve(recipe._PACKAGES[slot], name))
    assert loads(dump(loaded)) == loaded


@pytest.mark.parametrize("name", ["token_mean", "sequence_mean", "constant"])
def test_every_aggregate_can_be_named(name: str):
    loaded = loads(LOOKUP, [f"aggregate={name}"])
    assert loads(dump(loaded)) == loaded
    assert {"TokenMean", "SequenceMean", "Constant"} <= set(aggregates.__all__)


@settings(deadline=None)
@given(text=st.text(max_size=30).filter(lambda t: "\x00" not in t), number=st.floats(allow_nan=False), key=st.text(max_size=8))
def test_any_text_and_number_survives(text: str, number: float, key: str):
    text = text.encode("utf-8", "ignore").decode()
    key = key.encode("utf-8", "ignore").decode()
    original = Recipe(env=(EnvChoice(id="x", kwargs={key: text, "n": [number, True, {"a": 1}]}),), seed=3)
    assert loads(dump(original)) == original


# --- overrides ---------------------------------------------------------------------------------------------------------


def overridden(*overrides: str, text: str = FULL) -> Recipe:
    return loads(text, overrides)


def test_overrides_reach_every_depth():
    changed = overridden(
        "steps=9", "loss.clip_high=0.5", "warm_start.optimizer.lr=0.5", "evaluate.tasks=3", "env=turnwise/Arithmetic-v0"
    )
    assert changed.steps == 9 and changed.loss == PPOClip(clip_high=0.5) and changed.evaluate == Evaluate(tasks=3)
    assert changed.warm_start is not None and changed.warm_start.optimizer == AdamW(lr=0.5)
    assert changed.env == (EnvChoice(id="turnwise/Arithmetic-v0"),)


@pytest.mark.parametrize("override", ["advantage=trloo", 'advantage="trloo"', "advantage.name=trloo"])
def test_another_name_drops_the_parameters_of_the_old(override: str):
    text = LOOKUP + "[critic]\n[advantage]\nname = 'turn_gae'\nlam = 0.5\n"
    assert overridden(override, text=text).advantage == TRLOO()
    assert overridden("advantage.name=turn_gae", text=text).advantage == TurnGAE(lam=0.5), "the same name drops nothing"


def test_a_name_can_be_given_parameters():
    assert overridden("advantage.lam=0.5").advantage == TurnGAE(lam=0.5)
    assert overridden("loss=cispo", "optimizer.lr=0.5").loss == CISPO()
    assert overridden("aggregate=constant", "aggregate.length=7").aggregate == Constant(length=7)
    assert loads(LOOKUP, ["env.difficulty=[3]"]).env == (EnvChoice(id="turnwise/Lookup-v0", difficulty=(3,)),)


def test_the_default_method_can_be_given_parameters_without_its_name():
    loaded = loads(LOOKUP, ["loss.clip_high=0.5", "optimizer.lr=0.5", "rollout.size=4", "warm_start.optimizer.lr=0.5"])
    assert (loaded.loss, loaded.optimizer, loaded.rollout) == (PPOClip(clip_high=0.5), AdamW(lr=0.5), Independent(size=4))
    assert loaded.warm_start == SFT(optimizer=MuonAdamW(lr=0.5))


def test_the_one_environment_can_be_overridden():
    text = "[[env]]\nid = 'turnwise/Lookup-v0'\nkwargs = { style = 'terse' }"
    (env,) = overridden("env.difficulty=[3, 4]", "env.kwargs.name=some", text=text).env
    assert env == EnvChoice(id="turnwise/Lookup-v0", difficulty=(3, 4), kwargs={"style": "terse", "name": "some"})
    (env,) = overridden("env.difficulty=[3]", text="env = ['turnwise/Lookup-v0']").env
    assert env == EnvChoice(id="turnwise/Lookup-v0", difficulty=(3,))
    with pytest.raises(ConfigError, match="env is not a table"):
        overridden("env.difficulty=[3]")


def test_rewards_are_a_list():
    assert overridden('rewards=["invalid_action"]').rewards == (InvalidAction(),)
    assert overridden("rewards=[]").rewards == ()
    with pytest.raises(ConfigError, match="rewards: expected a list"):
        overridden("rewards=invalid_action")


def test_an_optimizer_within_a_method_is_the_one_that_was_named():
    loaded = overridden('rewards=[{ name = "implicit_prm", optimizer = { name = "muon", lr = 0.5 } }]')
    assert loaded.rewards == (ImplicitPRM(optimizer=MuonAdamW(lr=0.5)),) and loads(dump(loaded)) == loaded
    with pytest.raises(UnknownName, match="no optimizer is called 'moun'"):
        overridden('rewards=[{ name = "implicit_prm", optimizer = { name = "moun" } }]')


def test_transforms_are_a_list_in_order_and_survive():
    loaded = overridden('transform=["positive_only", { name = "empg", zeta = 0.1 }]')
    assert loaded.transform == (PositiveOnly(), EMPG(zeta=0.1))
    assert loads(dump(loaded)) == loaded and dump(loaded).count("[[transform]]") == 2
    text = LOOKUP + "[[transform]]\nname = 'empg'"
    assert overridden("transform.zeta=0.2", text=text).transform == (EMPG(zeta=0.2),)
    assert overridden("transform.zeta=0.2", text=LOOKUP + "transform = ['empg']").transform == (EMPG(zeta=0.2),)
    with pytest.raises(
        ConfigError, match=r'transform: expected a list of names or tables, as in transform = \["duration_aware"\]'
    ):
        overridden("transform=empg")


def test_a_transform_is_explained_and_its_mistakes_are_named():
    assert "transform      EMPG: steps scaled" in explain(overridden('transform=["empg"]')).replace("EMPG: EMPG: ", "EMPG: ")
    with pytest.raises(UnknownName, match="Did you mean 'empg'"):
        overridden('transform=["emp"]')
    with pytest.raises(UnknownName, match="Did you mean 'zeta'"):
        overridden('transform=[{ name = "empg", zetta = 1 }]')


@pytest.mark.parametrize("override", ["steps", "=3", "steps.more=3"])
def test_overrides_that_are_none(override: str):
    with pytest.raises(ConfigError, match="override"):
        overridden(override)


# --- methods from outside ----------------------------------------------------------------------------------------------


OUTSIDE = '''
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Twice:
    """Twice the reward of each turn."""

    factor: float = 2.0

    def __call__(self, batch):
        return batch.to_tokens(self.factor * batch.rewards)


class NoRecord:
    def __call__(self, batch):
        return batch.tokens * 0.0
'''


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_credit_methods.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    return "my_credit_methods"


def test_a_dotted_path_names_a_class_of_yours(outside: str):
    loaded = loads(LOOKUP, [f'advantage="{outside}:Twice"', "advantage.factor=3"])
    advantage: Any = loaded.advantage
    assert type(advantage).__name__ == "Twice" and advantage.factor == 3.0
    assert f'"{outside}:Twice"' in dump(loaded) and loads(dump(loaded)) == loaded


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("{0}:Thrice", "cannot be imported"),
        ("no_such_module_here:X", "cannot be imported"),
        ("{0}:NoRecord", "must be a dataclass"),
    ],
)
def test_a_dotted_path_that_leads_nowhere(outside: str, path: str, says: str):
    with pytest.raises(ConfigError, match=says):
        loads(LOOKUP, [f'advantage="{path.format(outside)}"'])


# --- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "error", "says"),
    [
        (["step=3"], UnknownName, "no recipe key is called 'step'. Did you mean 'steps'"),
        (["advantage=trlo"], UnknownName, "no advantage is called 'trlo'. Did you mean 'trloo'"),
        (["loss=ppo_clipp"], UnknownName, "Did you mean 'ppo_clip'"),
        (["aggregate=token_means"], UnknownName, "Did you mean 'token_mean'"),
        (["optimizer=adam"], UnknownName, "Did you mean 'adamw'"),
        (["policy=scratched"], UnknownName, "Did you mean 'scratch'"),
        (
            ["advantage=turn_gae", "advantage.lamb=0.5", "critic.lr=1"],
            UnknownName,
            r"key of advantage \(TurnGAE\) is called 'lamb'",
        ),
        (["loss.clip_higher=1"], UnknownName, "Did you mean 'clip_high'"),
        (["evaluate.task=1"], UnknownName, "key of evaluate"),
        (["warm_start.optimizer.name=adam"], UnknownName, "Did you mean 'adamw'"),
        (["warm_start.demos=1"], UnknownName, "key of warm_start"),
        (["env.dificulty=[1]"], UnknownName, "Did you mean 'difficulty'"),
        (['rewards=["invalid"]'], UnknownName, "Did you mean 'invalid_action'"),
        (["engine=vlllm"], UnknownName, "no engine is called"),
        (["steps=many"], ConfigError, "steps: .*'many'"),
        (["steps=1.5"], ConfigError, "steps: "),
        (["temperature=[1]"], ConfigError, "temperature: "),
        (['advantage.lam="much"', "advantage.name=turn_gae", 'advantage.lam="much"'], ConfigError, "advantage.lam: .*'much'"),
        (['env.difficulty=["hard"]'], ConfigError, "env.difficulty.0: .*'hard'"),
        (["evaluate=3"], ConfigError, "evaluate: expected a table"),
        (["advantage=3"], ConfigError, "advantage: expected a name or a table"),
        (["rewards=[{ penalty = 1 }]"], ConfigError, "rewards: expected a name"),
        (["advantage=turn_gae"], ConfigError, r"TurnGAE needs values; add a \[critic\]"),
        (["advantage=bilevel_gae", "critic.lr=1"], ConfigError, "BilevelGAE reads values per token; set it to"),
        (["advantage=turn_gae", "critic.level=token"], ConfigError, "TurnGAE reads values per turn; set it to"),
        (["critic.level=word"], ConfigError, "critic.level: .*'word'"),
        (["steps=-1"], ConfigError, "steps: expected at least 0, got -1"),
        (["temperature=0"], ConfigError, "temperature: must be above 0"),
        (["checkpoint_every=0"], ConfigError, "checkpoint_every: expected at least 1, got 0"),
        (["max_tokens=0"], ConfigError, "max_tokens: expected at least 1, got 0"),
        (["rollout.name=independent", "rollout.size=1"], ConfigError, "min_survivors: is 2, but a group has only 1"),
        (["env.weight=0"], ConfigError, "env.weight: must be above 0"),
        (["env=[]"], ConfigError, "at least one environment"),
        (["kl=-0.1"], ConfigError, "kl: expected at least 0, got -0.1"),
        (["warmup=-1"], ConfigError, "warmup: expected at least 0, got -1"),
        (["decay=1.5"], ConfigError, "decay: expected 0 to 1, got 1.5"),
        (["entropy=nan"], ConfigError, "entropy: expected a number, got nan"),
        (["temperature=nan"], ConfigError, "temperature: expected a number, got nan"),
        (["advantage=trloo", "advantage.gamma=-1.0"], ConfigError, "advantage: trloo.gamma: expected 0 to 1, got -1"),
        (["rollout=mcts", "rollout.explore=nan"], ConfigError, "rollout.explore: expected a number, got nan"),
        (['rewards=[{ name = "gdpo", weights = { a = nan } }]'], ConfigError, "rewards.0.weights.a: expected a number, got nan"),
        (["optimizer.lr=-1.0"], ConfigError, "optimizer: adamw.lr: expected at least 0, got -1"),
    ],
)
def test_mistakes_are_named_with_their_place_and_mend(overrides: Sequence[str], error: type[Exception], says: str):
    with pytest.raises(error, match=says) as caught:
        loads(LOOKUP, overrides, source="mine.toml")
    assert str(caught.value).startswith("mine.toml: ") or "override" in str(caught.value)
    assert isinstance(caught.value, ConfigError)


def test_a_recipe_needs_an_environment():
    with pytest.raises(ConfigError, match="env: missing"):
        loads("steps = 3")


def test_files_that_are_no_recipe(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        load(tmp_path / "bad.toml")


def test_what_has_no_toml_form_is_refused():
    with pytest.raises(ConfigError, match="has no TOML form"):
        dump(Recipe(env=(EnvChoice(id="x", kwargs={"a": object()}),)))


def test_recipes_are_values():
    one, two = loads(FULL), loads(FULL)
    assert one == two and one is not two
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.steps = 3  # type: ignore[misc]
    assert Recipe(env=one.env).advantage == GRPO() and Recipe(env=one.env).aggregate == TokenMean()
    assert Recipe(env=one.env).policy == Scratch() and Recipe(env=one.env).rollout == Independent()


AHEAD = "schedule=asynchronous"
ON_RAY = "cluster.address=auto"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["schedule.eta=2"], "no key of schedule (LockStep; name = \"asynchronous\" has it) is called 'eta'"),
        ([AHEAD, "schedule.eta=-1"], "schedule.eta: must not be negative, got -1"),
        (["schedule.eta=-1", AHEAD], "schedule.eta: must not be negative, got -1"),  # the order of overrides drops nothing
        ([AHEAD, "schedule.learner=thred"], "schedule.learner: Input should be 'thread' or 'ticks', got 'thred'"),
        (["engine.cache_tokens=-1"], "engine.cache_tokens: expected at least 0, got -1"),
        (["engine=vllm", "engine.max_num_seqs=0"], "engine.max_num_seqs: expected at least 1, got 0"),
        (["engine=vllm", "engine.entropy_tokens=0"], "engine.entropy_tokens: expected at least 1, got 0"),
        (["engine=vllm", 'engine.servers=["10.0.0.1:8000"]'], "expected addresses as in http://127.0.0.1:8000"),
        (["engine=vllm", 'engine.servers=["http://a:1"]', ON_RAY, "cluster.engines=2"], "set cluster.engines = 1"),
        (["engine=vllm", 'engine.servers=["http://a:1"]', ON_RAY, "cluster.engines=0"], "set cluster.engines = 1"),
        (["step_deadline_s=0"], "step_deadline_s: expected at least 0.001, got 0"),
        (["stall_s=-5"], "stall_s: expected at least 0.001, got -5"),
        (["cluster.start_s=-1"], "cluster.start_s: expected at least 1, got -1"),
        (["cluster.silence_s=2"], "cluster.silence_s: expected at least 10, got 2"),
        (["cluster.gpus_per_engine=-2"], "cluster.gpus_per_engine: expected at least 0, got -2"),
        (["evaluate.tasks=-1"], "evaluate.tasks: expected at least 0, got -1"),
        (["budget.tool_calls=-1"], "budget.tool_calls: expected at least 0, got -1"),
        (["lora.rank=0"], "lora.rank: expected at least 1, got 0"),
        (["probe.tensors_every=-1"], "probe.tensors_every: must not be negative, got -1"),
    ],
)
def test_engines_schedules_and_clusters_that_make_no_sense(overrides: list[str], says: str):
    with pytest.raises(ConfigError) as caught:
        loads(LOOKUP, overrides)
    assert says in str(caught.value)


def test_one_actor_may_own_servers_and_everybody_an_engine_beside_it():
    one = loads(LOOKUP, ["engine=vllm", 'engine.servers=["http://a:1"]', ON_RAY])
    assert one.cluster.engines == 1
    assert loads(LOOKUP, ["engine=vllm", ON_RAY, "cluster.engines=0"]).cluster.engines == 0
