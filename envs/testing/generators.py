"""The rule that nothing touches the random generators of the process. The only file of the house that knows them."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from turnwise.envs.testing.subject import Breach, Subject, canonical, mixed, opened, play

__all__ = ["leaves_global_generators_alone"]

_MARK = 91_283
"""Seeds a state that no environment would bring about by seeding for itself."""


def leaves_global_generators_alone(subject: Subject) -> str:
    """Nothing draws from, or seeds, the generators of the process: `random`, `numpy.random`, and torch's if torch is loaded."""
    generators = _generators()
    before = {name: get() for name, (get, _, _) in generators.items()}
    try:
        for _, put, marked in generators.values():
            put(marked)
        for seed, options in subject.cases(1, "global"):
            with opened(subject) as env:
                play(env, mixed(seed), seed=seed, options=options)
                if env.render_mode:
                    env.render()
        for name, (get, _, marked) in generators.items():
            if canonical(get()) != canonical(marked):
                raise Breach(f"the state of the process-wide generator {name} changed.", "draw from self.np_random only.")
    finally:
        for name, (_, put, _) in generators.items():
            put(before[name])
    return f"{', '.join(generators)} untouched"


def _generators() -> dict[str, tuple[Callable[[], Any], Callable[[Any], None], Any]]:
    """Name -> (get its state, set it, the marked state)."""
    found: dict[str, tuple[Callable[[], Any], Callable[[Any], None], Any]] = {
        "random": (random.getstate, random.setstate, random.Random(_MARK).getstate()),
        "numpy.random": (np.random.get_state, np.random.set_state, np.random.RandomState(_MARK).get_state()),
    }
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        marked = torch.Generator().manual_seed(_MARK).get_state().numpy()
        found["torch"] = (
            lambda: torch.get_rng_state().numpy(),
            lambda state: torch.set_rng_state(torch.from_numpy(state)),
            marked,
        )
    return found
