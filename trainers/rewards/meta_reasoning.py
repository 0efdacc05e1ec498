"""Verifiable meta-reasoning rewards: planning, exploring, reflecting and monitoring, judged by what came of them (RLVMR,
arXiv:2507.22844)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms, answers_to, distinct_turns
from turnwise.types import Group, Trajectory, Turn

__all__ = ["MetaReasoning"]

TAGS = ("planning", "explore", "reflection", "monitor")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaReasoning:
    """A reply opens with one tagged thought, `<explore>...</explore>`, and then acts. Adds one term, `meta_` and the tag:

        planning    `planning` if the trajectory is solved in the end (through a shared turn: in that share of its rollouts)
        explore     `exploring` if the reply was valid and the environment answered something new in this trajectory
        reflection  `reflecting` if the turn before had failed and this one has not
        monitor     `monitoring`

    A turn has failed if its reply was not valid, or if the environment answered what it had said before (a repeated state). A
    turn whose thought is not exactly one, closed, and followed by something gets `malformed` on top; the term of a turn without
    any tag is `meta_none`. All rules look at the environment's own events, none at what a thought says.

    Made for `advantage = "rlvmr"`, which compares turns with the same tag. A cold start comes from `warm_start.tagged = true`.
    The magnitudes 1 are ours (the paper's are not known to us), as are the predicates, which the paper words per environment.
    """

    planning: float = 1.0
    exploring: float = 1.0
    reflecting: float = 1.0
    monitoring: float = 0.0
    malformed: float = -0.1
    solved: float = 1.0
    """Outcome from which on a plan has come true."""

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        terms: dict[Turn, dict[str, float]] = {}
        for group in groups:
            leaves = distinct_turns(group)
            for trajectory in group.survivors:
                for turn, new, recovered in _events(trajectory):
                    through = leaves[turn]
                    share = sum(t.outcome >= self.solved for t in through) / len(through)
                    terms[turn] = self._term(turn, share, new, recovered)
        return add_terms(groups, terms)

    def _term(self, turn: Turn, solved: float, new: bool, recovered: bool) -> dict[str, float]:
        tag, well_formed = _read(turn.action)
        rewards = {
            "planning": self.planning * solved,
            "explore": self.exploring * new,
            "reflection": self.reflecting * recovered,
            "monitor": self.monitoring,
        }
        return {f"meta_{tag or 'none'}": rewards.get(tag, 0.0) + (0.0 if well_formed else self.malformed)}


def _events(trajectory: Trajectory) -> list[tuple[Turn, bool, bool]]:
    """(turn, whether it reached something new, whether it did so after a turn that had failed)."""
    said = {turn.observation for turn in trajectory.turns[:1]}
    events: list[tuple[Turn, bool, bool]] = []
    failed = False
    for turn, answer in zip(trajectory.turns, answers_to(trajectory), strict=True):
        new = turn.valid and answer not in said
        events.append((turn, new, new and failed))
        said.add(answer)
        failed = not new
    return events


def _read(reply: str) -> tuple[str, bool]:
    """(the tag that opens a reply, "" if none does; whether it is one closed thought with something after it)."""
    opening = re.match(rf"\s*<({'|'.join(TAGS)})>", reply)
    if not opening:
        return "", False
    tag = opening[1]
    _, closed, action = reply.partition(f"</{tag}>")
    others = sum(reply.count(f"<{name}>") + reply.count(f"</{name}>") for name in TAGS)
    return tag, bool(closed) and bool(action.strip()) and others == 2
