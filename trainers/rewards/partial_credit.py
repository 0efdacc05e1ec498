"""Partial credit for programs that fail: how far did they get? (RL for ML-engineering agents, arXiv:2509.01684)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.errors import ConfigError
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms, answers_to
from turnwise.types import Group, Trajectory, Turn

__all__ = ["PartialCredit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialCredit:
    """Adds the term `partial_credit`: `each` for every milestone that the environment's answer to a turn shows for the first time
    in the trajectory, and `failed` at the last turn of a trajectory that was not solved.

    A milestone is a regular expression, found anywhere in an answer; it pays once, so showing it again earns nothing. With one
    turn this is the paper's reward, -10 and 0.1 a milestone. A solved trajectory (outcome 1) has its environment's reward, and
    no milestones on top. The step from -10 to a metric makes advantages bimodal: normalise, or take another `failed`.

    In the paper a frozen model adds the prints to a copy of the program that is then run. Here that is the environment's part:
    a program that prints its own milestones is paid for printing, so match on what only the environment can write.
    """

    milestones: tuple[str, ...] = ("(?i)packages imported", "(?i)data loaded", "(?i)model defined", "(?i)model trained")
    """Four of the paper's seven; their wording is ours."""
    each: float = 0.1
    failed: float = -10.0

    def __post_init__(self) -> None:
        for pattern in self.milestones:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"partial_credit.milestones: {pattern!r} is no regular expression: {error}.") from error

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        terms: dict[Turn, dict[str, float]] = {}
        for trajectory in (t for group in groups for t in group.survivors):
            terms |= self._terms(trajectory)
        return add_terms(groups, terms)

    def _terms(self, trajectory: Trajectory) -> dict[Turn, dict[str, float]]:
        solved, reached = trajectory.outcome >= 1, set[str]()
        terms: dict[Turn, dict[str, float]] = {}
        for turn, answer in zip(trajectory.turns, answers_to(trajectory), strict=True):
            new = {pattern for pattern in self.milestones if re.search(pattern, answer)} - reached
            last = turn is trajectory.leaf
            terms[turn] = {"partial_credit": 0.0 if solved else self.each * len(new) + self.failed * last}
            reached |= new
        return terms
