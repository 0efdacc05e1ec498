"""The contract of TurnEnv as code: `check_turn_env` for anybody's environment, and ChaosEnv to test who uses environments.

from turnwise.envs.testing import check_turn_env
print(check_turn_env("cafe/Cafe-v0"))        # or: turnwise check cafe/Cafe-v0
"""

from turnwise.envs.testing.chaos import ChaosEnv
from turnwise.envs.testing.hostile import hostile_actions
from turnwise.envs.testing.kit import RULES, ContractError, Report, check_turn_env
from turnwise.envs.testing.probes import CONSTANTS, probe_policies

__all__ = [
    "CONSTANTS",
    "RULES",
    "ChaosEnv",
    "ContractError",
    "Report",
    "check_turn_env",
    "hostile_actions",
    "probe_policies",
]
