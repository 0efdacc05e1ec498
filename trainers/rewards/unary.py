"""Unary feedback: answers that come later earn less, and saying the same again costs something (UFO, arXiv:2507.14295)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.envs.actions import final_answer
from turnwise.trainers.bounds import within
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms
from turnwise.types import Group, Trajectory, Turn

__all__ = ["Unary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary:
    """For any environment in which an answer may be tried again.

    Attempt t = 0, 1, ... is a turn that gave an answer: a valid reply that called no tool and is not empty. Two terms:

        unary_decay       (decay^t - 1) * reward, at an attempt whose reward is above 0: it earns decay^t of it
        unary_repetition  repetition * (D / T - 1), at the last turn: D of the T attempts differ, white space and case apart

    The last turn is the last there is, also where a limit ended the episode (the release then charges nothing). A reply without
    an answer is no attempt. turnwise/TryAgain-v0 does this by itself: set its decay to 1 and its repetition to 0 with this.
    """

    decay: float = 0.5
    repetition: float = 0.5

    def __post_init__(self) -> None:
        within("unary.decay", self.decay, 0, 1)
        within("unary.repetition", self.repetition)

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        terms: dict[Turn, dict[str, float]] = {}
        for trajectory in (t for group in groups for t in group.survivors if t.turns):
            terms |= self._terms(trajectory)
        return add_terms(groups, terms)

    def _terms(self, trajectory: Trajectory) -> dict[Turn, dict[str, float]]:
        said: list[str] = []
        terms: dict[Turn, dict[str, float]] = {}
        for turn in trajectory.turns:
            terms[turn] = {"unary_decay": 0.0}
            if answer := _attempt(turn):
                terms[turn] = {"unary_decay": (self.decay ** len(said) - 1) * max(0.0, turn.reward)}
                said.append(answer)
        cost = self.repetition * (len(set(said)) / len(said) - 1) if said else 0.0
        terms[trajectory.turns[-1]]["unary_repetition"] = cost
        return terms


def _attempt(turn: Turn) -> str:
    """The answer of a turn as it is compared; "" if it gave none."""
    if not turn.valid or turn.tool_calls:
        return ""
    answer = final_answer(turn.action)
    return "".join((turn.action if answer is None else answer).split()).casefold()
