"""ChaosEnv: an environment that fails on purpose, at known rates, the same way every time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any, Self

import gymnasium
import numpy as np
from typing_extensions import override

from turnwise.envs.adapters.wrapped import given_or_made
from turnwise.envs.fork import copied
from turnwise.errors import ConfigError, EnvFailure, UnknownName
from turnwise.seeds import child

__all__ = ["ChaosEnv"]

_CRASHES: tuple[type[Exception], ...] = (RuntimeError, KeyError, ZeroDivisionError, TimeoutError, UnicodeError)
_FAULTS = ("fail", "hang", "crash", "nonsense")
_CALLS = ("make", "reset", "step", "fork", "expert", "close")
_MADE = itertools.count()


class _Gate:
    """A threading.Event that forks share: release() lets all of them go on."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class ChaosEnv(gymnasium.Wrapper[Any, str, Any, str]):
    """At each call of those in `where`, with these probabilities, instead of the right result:

    - `fail`: raises EnvFailure, as a broken sandbox does;
    - `hang`: blocks until `release()`, or for `hang_s` seconds, and only then answers, rightly;
    - `crash`: raises what user code raises (RuntimeError, KeyError, ...);
    - `nonsense`: returns an observation that is no text, a reward that is no number, or a tuple of the wrong length (elsewhere
      than in a reset or step: nothing).

    Calls are "make" (the constructor), "reset", "step", "fork", "expert" (`expert_action`) and "close".

    The faults are drawn from a generator of its own, seeded by `seed` and the episode's seed, so runs replay; a fork takes the
    generator along and so meets the same faults. A constructor knows no episode: its fault follows from `seed` and from how many
    were made before in this process. A step whose result is a fault does not reach the wrapped environment.
    `transient` faults come from the system's entropy instead: what is tried again may go well, and nothing replays.

    `turnwise/Chaos-v0` wraps `env_id`, to whose constructor further arguments go.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, str] | None = None,
        *,
        env_id: str = "",
        fail: float = 0.0,
        hang: float = 0.0,
        crash: float = 0.0,
        nonsense: float = 0.0,
        where: Sequence[str] = ("reset", "step"),
        seed: int = 0,
        hang_s: float | None = None,
        transient: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(given_or_made("ChaosEnv", env, env_id, kwargs))
        self.rates = (fail, hang, crash, nonsense)
        if min(self.rates) < 0.0 or sum(self.rates) > 1.0 + 1e-9:
            raise ConfigError(f"ChaosEnv: rates must be 0 or more and sum to at most 1, got {self.rates}.")
        for name in where:
            if name not in _CALLS:
                raise UnknownName("call of an environment", name, _CALLS)
        self.metadata = {**self.env.metadata, "inline": False}
        self.where, self.seed, self.hang_s, self.transient = tuple(where), seed, hang_s, transient
        self._gate = _Gate()
        self._rng = np.random.default_rng(None if transient else child(seed, "chaos", "make", next(_MADE)))
        self._strikes("make")
        self._rng = np.random.default_rng(None if transient else child(seed, "chaos"))

    def release(self) -> None:
        """Let every hanging call of this environment and its forks go on, now and from now on."""
        self._gate.event.set()

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None and not self.transient:
            self._rng = np.random.default_rng(child(self.seed, "chaos", seed))
        result = self.env.reset(seed=seed, options=options)  # first, so that what follows a fault replays as well
        if self._strikes("reset"):
            wrong: tuple[Any, ...] = ((None, {}), ("only an observation",), (7, "no dict"))
            return wrong[int(self._rng.integers(len(wrong)))]
        return result

    @override
    def step(self, action: str) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._strikes("step"):
            info = {"outcome": 0.0, "reward_terms": {}, "valid_action": True, "role": "user"}
            wrong: tuple[Any, ...] = (
                (None, 0.0, False, False, info),
                (b"bytes", 0.0, False, False, info),
                ("text", float("nan"), False, False, info),
                ("text", "much", False, False, info),
                ("text", 0.0, False),
            )
            return wrong[int(self._rng.integers(len(wrong)))]
        return self.env.step(action)

    def expert_action(self) -> str:
        self._strikes("expert")
        return self.env.get_wrapper_attr("expert_action")()

    def fork(self) -> gymnasium.Env[Any, Any]:
        self._strikes("fork")
        return copied(self)

    @override
    def close(self) -> None:
        self._strikes("close")
        super().close()

    def _strikes(self, where: str) -> bool:
        """Raises or blocks as drawn; True where nonsense is to be returned."""
        if where not in self.where:
            return False
        draw = float(self._rng.random())
        fault = next((name for name, edge in zip(_FAULTS, np.cumsum(self.rates), strict=True) if draw < edge), None)
        if fault == "fail":
            raise EnvFailure("chaos", f"{where} failed on purpose")
        if fault == "crash":
            raise _CRASHES[int(self._rng.integers(len(_CRASHES)))](f"{where} crashed on purpose")
        if fault == "hang":
            self._gate.event.wait(self.hang_s)
        return fault == "nonsense"
