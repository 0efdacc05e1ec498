"""Progressive reward shaping: format, then tool calls, then an answer, then its quality, one after the other (PRS,
arXiv:2512.07478)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.envs.actions import final_answer
from turnwise.errors import ConfigError
from turnwise.trainers.rewards.protocol import Scene, State
from turnwise.trainers.shaping import add_terms
from turnwise.types import Group, Trajectory

__all__ = ["Progressive"]

STAGES = ("format", "tool", "answer", "quality")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressive:
    """Adds terms `progressive_<stage>` to the last turn, for the stages in order; a stage pays only if those before it passed:

        format   every reply was valid
        tool     at least one tool call was made
        answer   the last reply gave an answer (`<answer>...</answer>`, or an outcome above 0)
        quality  the length-aware BLEU of that answer against `task.answer`, or the outcome if that is higher; passes at 1

    and only once it is unlocked: the curriculum starts at the first stage, and the next one opens when the share of trajectories
    that pass, a running mean over steps, reaches `unlock`. A weight of 0 leaves a stage out (environments without tools). Stages
    that are locked pay nothing, whatever was reached; the environment's own reward is there from the start (`weighted` may lower
    it).

    Length-aware BLEU takes n-grams up to min(4, words of either) with the brevity penalty, so that answers of one word can reach
    1. The weights, the rule that unlocks and the exact BLEU are ours: the paper's are not known to us. Left out: the judge for
    long answers (`rubric`).
    """

    format: float = 0.1
    tool: float = 0.2
    answer: float = 0.3
    quality: float = 0.4
    unlock: float = 0.8
    """Share of trajectories that must pass the highest open stage."""
    memory: float = 0.9
    """How much of the running mean a step leaves as it was; the first step of a stage counts whole."""

    def __post_init__(self) -> None:
        if not self._stages():
            raise ConfigError("progressive: expected a weight other than 0 for at least one stage, got none.")
        if not 0 < self.unlock <= 1 or not 0 <= self.memory < 1:
            raise ConfigError(f"progressive: unlock is in (0, 1] and memory in [0, 1), got {self.unlock} and {self.memory}.")

    def start(self, scene: Scene) -> State:
        return {"open": 1, "passed": None}

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        open_stages = self._stages()[: scene.state["open"]]
        return add_terms(
            groups,
            {
                t.leaf: {f"progressive_{s}": v * getattr(self, s) for s, v in self._reached(t).items() if s in open_stages}
                for group in groups
                for t in group.survivors
                if t.leaf is not None
            },
        )

    async def learn(self, groups: Sequence[Group], scene: Scene) -> tuple[State, dict[str, float]]:
        stages, count, mean = self._stages(), scene.state["open"], scene.state["passed"]
        reached = [self._reached(t)[stages[count - 1]] >= 1 for group in groups for t in group.survivors if t.leaf]
        if not reached:
            return scene.state, {"progressive_stage": float(count)}
        share = sum(reached) / len(reached)
        mean = share if mean is None else self.memory * mean + (1 - self.memory) * share
        metrics = {"progressive_stage": float(count), "progressive_passed": mean}
        if mean >= self.unlock and count < len(stages):
            return {"open": count + 1, "passed": None}, metrics
        return {"open": count, "passed": mean}, metrics

    def _stages(self) -> list[str]:
        return [stage for stage in STAGES if getattr(self, stage)]

    def _reached(self, trajectory: Trajectory) -> dict[str, float]:
        """By stage, how far it was reached, in [0, 1]; 0 from the first stage on that did not pass."""
        assert trajectory.leaf is not None
        given = final_answer(trajectory.leaf.action)
        marks = {
            "format": float(all(turn.valid for turn in trajectory.turns)),
            "tool": float(any(turn.tool_calls for turn in trajectory.turns)),
            "answer": float(given is not None or trajectory.outcome > 0),
            "quality": max(min(1.0, trajectory.outcome), _bleu(given or "", trajectory.task.answer)),
        }
        reached: dict[str, float] = {}
        passed = True
        for stage in self._stages():
            reached[stage] = marks[stage] if passed else 0.0
            passed = passed and marks[stage] >= 1
        return reached


def _bleu(answer: str, truth: str) -> float:
    """Geometric mean of n-gram precisions, n up to 4 or the words of the shorter text, times exp(1 - r / c) for short answers."""
    candidate, reference = answer.casefold().split(), truth.casefold().split()
    order = min(4, len(candidate), len(reference))
    logs = 0.0
    for n in range(1, order + 1):
        have, want = _ngrams(candidate, n), _ngrams(reference, n)
        hits = sum((have & want).values())
        if not hits:
            return 0.0
        logs += math.log(hits / have.total()) / order
    return math.exp(logs + min(0.0, 1 - len(reference) / len(candidate))) if order else 0.0


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
