"""Random generators of an episode's own, for packages that draw from those of the process.

TextArena seeds and draws from `random` and `numpy.random`: two games at a time disturb each other and the program around them.
`lend_to("textarena")` puts stand-ins in the place of the names `random`, `np` and `numpy` in the modules of a package. They pass
everything on, but within `using(generators)`, in that thread, drawing and seeding go to those generators. Nothing of the process
is touched, threads do not meet, and generators are copied with their environment.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

__all__ = ["Generators", "lend_to", "using"]


class Generators:
    """A generator of each kind; a deep copy goes on independently from the same point."""

    def __init__(self, seed: int) -> None:
        self.python = random.Random(seed)
        self.numpy = np.random.RandomState(seed % 2**32)

    def default_rng(self, seed: Any = None) -> np.random.Generator:
        """As numpy's; without a seed, one of ours."""
        return np.random.default_rng(self.numpy.randint(2**31) if seed is None else seed)


_current: ContextVar[Generators | None] = ContextVar("turnwise_lent_random", default=None)


class _Random:
    """Stands in for the module `random`."""

    def __getattr__(self, name: str) -> Any:
        lent = _current.get()
        return getattr(random if lent is None or name[:1].isupper() else lent.python, name)


class _NumpyRandom:
    """Stands in for `numpy.random`."""

    def __getattr__(self, name: str) -> Any:
        lent = _current.get()
        if lent is None or name[:1].isupper():
            return getattr(np.random, name)
        if name == "default_rng":
            return lent.default_rng
        return getattr(lent.numpy, name)


class _Numpy:
    """Stands in for `numpy`."""

    random = _NumpyRandom()

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


_RANDOM, _NUMPY = _Random(), _Numpy()


_PROCESS = getattr(random.random, "__self__", None)
"""The generator whose methods the functions of `random` are."""


def _passed_on(name: str) -> Callable[..., Any]:
    def draw(*arguments: Any, **options: Any) -> Any:
        return getattr(_RANDOM, name)(*arguments, **options)

    return draw


def lend_to(package: str) -> None:
    """Put the stand-ins into every module of the package that is loaded by now. May be called again."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package:
            for held, real, stand_in in (("random", random, _RANDOM), ("np", np, _NUMPY), ("numpy", np, _NUMPY)):
                if vars(module).get(held) is real:
                    setattr(module, held, stand_in)
            for held, value in list(vars(module).items()):  # from random import choice
                if getattr(value, "__self__", None) is _PROCESS:
                    setattr(module, held, _passed_on(value.__name__))


@contextmanager
def using(generators: Generators) -> Generator[None]:
    """What lent modules draw in this block, in this thread, comes from these generators."""
    token = _current.set(generators)
    try:
        yield
    finally:
        _current.reset(token)
