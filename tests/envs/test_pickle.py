"""An environment survives pickling at any point, as Gymnasium's own tests ask of every environment."""

import pickle
from typing import Any, cast

import gymnasium
import pytest
from gymnasium.utils.env_checker import data_equivalence

from turnwise.envs.core import TurnEnv
from turnwise.envs.math.math_tools import MathTools

FAMILIES = (
    "Arithmetic",
    "TryAgain",
    "RandomCalculation",
    "CodeWrite",
    "MLEngineering",
    "SQL",
    "Search",
    "MaskedSearch",
    "Router",
)


def copied(env: TurnEnv) -> TurnEnv:
    return cast(TurnEnv, pickle.loads(pickle.dumps(env)))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_pickled_copy_goes_on_alike(name: str) -> None:
    options: dict[str, Any] = {"needs": "process"} if name == "SQL" else {}
    env = cast(TurnEnv, gymnasium.make(f"turnwise/{name}-v0", **options).unwrapped)
    twin = copied(env)
    assert data_equivalence(env.reset(seed=3), twin.reset(seed=3))
    if name not in ("CodeWrite", "MLEngineering", "TryAgain"):  # sandboxes, which the next test opens; or the end
        env.step(env.expert_action())
    twins = (env, twin := copied(env))
    assert env.expert_action() == twin.expert_action()
    assert data_equivalence(env.step("no tool call and no answer"), twin.step("no tool call and no answer"))
    assert data_equivalence(env.reset(), twin.reset()), "the generator goes along"
    for twin in twins:
        twin.close()


def test_a_session_is_run_again() -> None:
    env = MathTools()
    env.reset(seed=0)
    env.step(env.format.call("python", {"code": "x = 41"}))
    twin = cast(MathTools, copied(env))
    env.step(env.format.call("python", {"code": "x = 1"}))
    assert twin.step(twin.format.call("python", {"code": "x + 1"}))[0] == "42"
    env.close()
    twin.close()
