"""What wrappers with an id of their own wrap: a given environment, or one that is made by its id, so that recipes can name it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from turnwise.errors import ConfigError

__all__ = ["given_or_made"]


def given_or_made(
    owner: str, env: gymnasium.Env[Any, str] | None, env_id: str, kwargs: Mapping[str, Any]
) -> gymnasium.Env[Any, str]:
    """`env`, or else one made of `env_id` with `kwargs`. Raises ConfigError unless exactly one of the two is there."""
    if (env is None) == (not env_id):
        raise ConfigError(f"{owner}: expected either an environment or an env_id to make one, got both or none.")
    if env is not None:
        if kwargs:
            raise ConfigError(f"{owner}: {sorted(kwargs)} are for an environment that is made by its env_id, and one was given.")
        return env
    return gymnasium.make(env_id, disable_env_checker=True, **kwargs)
