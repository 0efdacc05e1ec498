"""turnwise/SlowTools-v0: any of our environments with tools that take their time, as tools on a network do."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from typing_extensions import override

from turnwise.envs.adapters.wrapped import given_or_made
from turnwise.errors import ConfigError
from turnwise.seeds import child

__all__ = ["SlowTools"]

_Z99 = 2.3263478740408408
"""99th percentile of the standard normal distribution."""


class SlowTools(gymnasium.Wrapper[Any, str, Any, str]):
    """Each answer of a tool takes a log-normal time with this median and 99th percentile, in seconds.

    The time follows from the episode's seed, the turn and the action, so it replays; observations, rewards and everything else
    are the wrapped environment's. `turnwise/SlowTools-v0` wraps `env_id`, to whose constructor further arguments go.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, str] | None = None,
        *,
        env_id: str = "",
        median_s: float = 0.3,
        p99_s: float = 3.0,
        sleep: Callable[[float], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """`sleep` is what waiting is: by default the thread of the call blocks. Raises ConfigError for times without sense."""
        if not 0 < median_s <= p99_s:
            raise ConfigError(f"SlowTools: expected 0 < median_s <= p99_s, got {median_s} and {p99_s}.")
        super().__init__(given_or_made("SlowTools", env, env_id, kwargs))
        self.metadata = {**self.env.metadata, "inline": False}
        self.median_s, self.sigma = median_s, math.log(p99_s / median_s) / _Z99
        self._sleep = sleep or _block
        self._seed, self._turn = 0, 0

    def latency_s(self, action: str) -> float:
        """What a tool would take for this action now."""
        rng = np.random.default_rng(child(self._seed, "latency", self._turn, action))
        return self.median_s * math.exp(self.sigma * float(rng.standard_normal()))

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._seed = seed
        self._turn = 0
        return self.env.reset(seed=seed, options=options)

    @override
    def step(self, action: str) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        if result[4].get("role") == "tool":
            self._sleep(self.latency_s(action))
        self._turn += 1
        return result


def _block(seconds: float) -> None:
    threading.Event().wait(seconds)
