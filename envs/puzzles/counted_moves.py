"""CountedMoves: environments in which a reply may hold several moves, each of which counts as a turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from turnwise.envs.core import TurnEnv

__all__ = ["CountedMoves"]

T = TypeVar("T")


class CountedMoves(TurnEnv):
    """Were they not counted, one long walk would find what is easy. Where the caller set `max_turns`, only turns count."""

    def in_turns(self, moves: Sequence[T]) -> Iterator[T]:
        """The moves of a reply one by one, as long as there are turns left; each after the first takes one when it is taken."""
        for number, move in enumerate(moves):
            if number and not self._max_turns:
                if self._limit <= self.turn:
                    return
                self._limit -= 1
            yield move

    def allowance(self) -> str:
        """For the rules: how many moves there are; "" where turns are counted."""
        return "" if self._max_turns else f" You have {self._limit} moves."
