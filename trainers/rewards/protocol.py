"""Reward shapers add named terms to turns, before credit is assigned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from turnwise.types import Group

__all__ = ["Shaper"]


class Shaper(Protocol):
    """`(groups) -> groups` with more `reward_terms`; a shaper changes neither order nor number of trajectories."""

    async def __call__(self, groups: Sequence[Group]) -> list[Group]: ...
