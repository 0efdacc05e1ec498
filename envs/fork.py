"""Fork an environment with all its wrappers."""

import copy
from typing import Any

import gymnasium

from turnwise.envs.core import TurnEnv

__all__ = ["copied", "fork"]


def fork(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """An independent twin of a whole wrapper stack at this very point, TimeLimit's counter and random generators included.

    The `fork()` of a TurnEnv is used (a real snapshot for stateful tools), and that of a wrapper which has one; else a deep copy.
    """
    if isinstance(env, TurnEnv):
        return env.fork()
    own = getattr(type(env), "fork", None) if isinstance(env, gymnasium.Wrapper) else None
    return own(env) if own is not None else copied(env)


def copied(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """`fork` without the wrapper's own: for that one to call."""
    if isinstance(env, gymnasium.Wrapper):
        inner: gymnasium.Env[Any, Any] = env.env
        twin = copy.copy(env)
        inner_twin = fork(inner)
        # Wrappers may hold the inner environment twice; the memo keeps every such reference on the twin.
        memo: dict[int, Any] = {id(inner): inner_twin, id(inner.unwrapped): inner_twin.unwrapped}
        twin.__dict__.update({k: copy.deepcopy(v, memo) for k, v in env.__dict__.items()})
        return twin
    return copy.deepcopy(env)
