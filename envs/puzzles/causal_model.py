"""Structural causal models of binary variables, and exact probabilities in them, in whole numbers.

A variable is a fixed function of its direct causes, flipped by a noise of its own: V = f(causes) xor U. The U are independent, 1
with a chance of `flips` / 20. The probability of what is seen or set is the product of all P(V | causes). What would have been
needs the noises: a world is one value for each U, and what would have been is the same world with some V set.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PARTS", "Model", "Setting", "ancestors", "probability"]

PARTS = 20
"""Chances of noise are so many parts: 1/20 to 9/20."""

Setting = tuple[tuple[int, int], ...]
"""(variable, 0 or 1)."""


@dataclass(frozen=True, slots=True)
class Model:
    """N variables, causes before effects."""

    causes: tuple[tuple[int, ...], ...]
    """[N] direct causes of each variable, ascending."""
    rules: tuple[tuple[int, ...], ...]
    """[N] the function: a value for each setting of the causes, the first cause being the highest digit of the place."""
    flips: tuple[int, ...]
    """[N] the chance of the noise in twentieths."""

    def __deepcopy__(self, memo: dict[int, object]) -> Model:
        return self


def probability(
    model: Model, target: tuple[int, int], given: Iterable[tuple[int, int]] = (), do: Setting = (), *, before: bool = False
) -> Fraction:
    """P(target | given) where `do` is set. `given` was seen with `do` set, or, with `before`, in the same world without it: then
    it is the probability that the target would have been so. Raises ValueError if `given` cannot be."""
    given = tuple(given)
    if before and do:
        whole, part = _of_worlds(model, target, given, do)
    else:
        table, at = _joint(model, do), [_BOTH] * len(model.flips)
        for variable, value in given:
            at[variable] = value
        whole = int(table[tuple(at)].sum())
        part = int(table[tuple([*at[: target[0]], target[1], *at[target[0] + 1 :]])].sum()) if target[0] not in dict(given) else 0
    if not whole:
        raise ValueError("what is given cannot be")
    return Fraction(part, whole)


_BOTH: Any = slice(None)


@lru_cache(maxsize=1024)
def _joint(model: Model, do: Setting) -> NDArray[np.int64]:
    """[2] * N probabilities of all settings of the variables, in parts of a power of 20."""
    settings, table = dict(do), np.ones((1,) * len(model.flips), np.int64)
    for variable, causes in enumerate(model.causes):
        fixed = variable in settings
        factor = _ONE_OF[settings[variable]] if fixed else _factor(model.rules[variable], model.flips[variable])
        shape = [1] * len(model.flips)
        for axis in (variable, *(() if fixed else causes)):
            shape[axis] = 2
        table = table * factor.reshape(shape)
    return table


_ONE_OF = (np.array([1, 0]), np.array([0, 1]))


@lru_cache(maxsize=1024)
def _factor(rule: tuple[int, ...], flips: int) -> NDArray[np.int64]:
    """[settings of the causes * 2] P(V = 0) and P(V = 1) for each, in twentieths."""
    return np.array([PARTS - flips if value == given else flips for given in rule for value in (0, 1)])


def _of_worlds(model: Model, target: tuple[int, int], given: Setting, do: Setting) -> tuple[int, int]:
    """(weight of the worlds where `given` is so, weight of those of them where the target would be so if `do` were set)."""
    noise = _noises(len(model.flips))
    seen, after = _values(model, noise, {}), _values(model, noise, dict(do))
    agree = np.ones(len(noise), bool)
    for variable, value in given:
        agree &= seen[:, variable] == bool(value)
    chance = np.array(model.flips, np.int64)
    weights = np.where(noise[agree], chance, PARTS - chance).prod(axis=1)
    return int(weights.sum()), int(weights[after[agree, target[0]] == bool(target[1])].sum())


@lru_cache(maxsize=16)
def _noises(count: int) -> NDArray[np.bool_]:
    """[worlds = 2 ** count, count] all values of the noises."""
    found = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(bool)
    found.setflags(write=False)
    return found


def _values(model: Model, noise: NDArray[np.bool_], do: Mapping[int, int]) -> NDArray[np.bool_]:
    """[worlds, N] the variables in every world, those of `do` being set."""
    found = np.empty_like(noise)
    for variable, (causes, rule) in enumerate(zip(model.causes, model.rules, strict=True)):
        if variable in do:
            found[:, variable] = do[variable]
            continue
        place = np.zeros(len(noise), np.intp)
        for cause in causes:
            place = 2 * place + found[:, cause]
        found[:, variable] = np.array(rule, bool)[place] ^ noise[:, variable]
    return found


def ancestors(model: Model, of: Iterable[int], without: Container[int] = ()) -> set[int]:
    """These variables and all that cause them, nothing causing those of `without`."""
    found = set(of)
    for variable in range(max(found), 0, -1):  # causes come before effects
        if variable in found and variable not in without:
            found.update(model.causes[variable])
    return found
