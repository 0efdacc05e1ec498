"""Every registered id keeps the whole contract."""

import gymnasium
import pytest

from turnwise.envs.core import TurnEnv
from turnwise.envs.registration import ids
from turnwise.envs.testing import check_turn_env
from turnwise.envs.testing.kit import PROBES, RULES

NP = [env_id for env_id in ids() if env_id.startswith("turnwise/NP-")]
"""One environment ten times: test_np.py has the expert on all levels and a thousand tasks without a twin."""
TASKS = {
    "turnwise/CodeRepair-v0": 2,
    "turnwise/CodeWrite-v0": 2,
    "turnwise/MLEngineering-v0": 1,
    "turnwise/Lookup-v0": 200,
    "turnwise/MathTools-v0": 2,
    "turnwise/MaskedSearch-v0": 15,
    "turnwise/Search-v0": 15,
    "turnwise/SQL-v0": 2,
    "turnwise/CausalGraph-v0": 10,
    "turnwise/Countdown-v0": 10,
    "turnwise/FrozenLake-v0": 10,
    "turnwise/Game2048-v0": 3,
    "turnwise/KnightsAndKnaves-v0": 10,
    "turnwise/LightsOut-v0": 10,
    "turnwise/Mastermind-v0": 10,
    "turnwise/Maze-v0": 10,
    "turnwise/Minesweeper-v0": 10,
    "turnwise/Platformer-v0": 4,
    "turnwise/SlidingTiles-v0": 10,
    "turnwise/StringCompose-v0": 10,
    "turnwise/Sudoku-v0": 10,
    "turnwise/TextHouse-v0": 10,
    "turnwise/TowerOfHanoi-v0": 10,
    "turnwise/WordGuess-v0": 5,
    **dict.fromkeys(NP, 5),
}
"""Train and test tasks per level that the expert plays; 50 where not said, fewer where each opens a session or builds a world."""
PROBED = dict.fromkeys(NP, 10)
"""Tasks that each thoughtless policy plays, all levels together; 60 where not said."""
DISTINCT = dict.fromkeys(NP, 100)
"""Tasks that are compared; 1,000 where not said."""
LEVELS = {
    "turnwise/CodeRepair-v0": (1, 3),
    "turnwise/CodeWrite-v0": (1, 3),
    "turnwise/MLEngineering-v0": (1, 2),
    "turnwise/MathTools-v0": (1, 3),
    "turnwise/SQL-v0": (1, 6),
    **dict.fromkeys(NP, (1, 4)),
}
"""All of them where not said; `turnwise check ID` checks all."""

IDS = [env_id for env_id in ids() if env_id not in ("turnwise/Gui-v0", "turnwise/MiniWoB-v0")]
"""Gui is GuiLite in a browser, step by step the same: test_gui.py holds that, and what of the contract is the browser's.
MiniWoB plays other people's pages in the browser: test_miniwob.py has its share of the contract."""


@pytest.mark.parametrize("env_id", IDS)
def test_contract(env_id: str) -> None:
    tasks, distinct = TASKS.get(env_id, 50), DISTINCT.get(env_id, 1000)
    report = check_turn_env(env_id, tasks=tasks, levels=LEVELS.get(env_id), distinct=distinct, rules=tuple(RULES))
    assert len(report.seen) == len(RULES)


@pytest.mark.parametrize("env_id", IDS)
def test_probes(env_id: str) -> None:
    report = check_turn_env(env_id, tasks=PROBED.get(env_id, 60), rules=[PROBES])
    assert len(report.probes) > 100


@pytest.mark.parametrize("env_id", ids())
def test_has_five_levels_or_more(env_id: str) -> None:
    env = gymnasium.make(env_id).unwrapped
    assert isinstance(env, TurnEnv)
    assert len(env.levels) >= 5
