"""A profiling reward for programs that must be right, then fast (Dr. Kernel, arXiv:2602.05885)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from turnwise.errors import ConfigError
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms, answers_to
from turnwise.types import Group

__all__ = ["Profiling"]

_NUMBER = r"\D{0,12}?([0-9]+(?:\.[0-9]+)?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiling:
    """Adds the term `profiling` to every turn: for a correct program (outcome 1)

        correct + speed * min(speed-up, cap) + coverage_weight * coverage

    and `wrong` for any other. Speed-up and coverage (the share of time spent in the program's own kernels, which tells a real
    solution from a wrapper around the library) are what the environment reports in its answer to the turn: the number in the
    last match of a regular expression with one group. A correct program without a report has no speed-up and no coverage.

    Take patterns that a program's own output cannot match, or environments that do not show it: whoever can print
    "speedup: 100" would be paid for that. Left out: dropping lazy turns from the baseline (profiling rejection sampling).
    """

    correct: float = 0.5
    speed: float = 0.5
    cap: float = 3.0
    coverage_weight: float = 0.25
    """The release's script has 0.5."""
    wrong: float = 0.0
    speedup_pattern: str = r"(?i)speed-?up" + _NUMBER
    coverage_pattern: str = r"(?i)coverage" + _NUMBER

    def __post_init__(self) -> None:
        for name in ("speedup_pattern", "coverage_pattern"):
            _checked(name, getattr(self, name))

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        return add_terms(
            groups,
            {
                turn: {"profiling": self._reward(answer) if turn.outcome >= 1 else self.wrong}
                for group in groups
                for trajectory in group.survivors
                for turn, answer in zip(trajectory.turns, answers_to(trajectory), strict=True)
            },
        )

    def _reward(self, answer: str) -> float:
        speedup, coverage = _last(self.speedup_pattern, answer), _last(self.coverage_pattern, answer)
        return self.correct + self.speed * min(speedup, self.cap) + self.coverage_weight * min(coverage, 1.0)


def _last(pattern: str, text: str) -> float:
    """The number in the last match, 0 without one."""
    found = re.findall(pattern, text)
    return float(found[-1]) if found else 0.0


def _checked(name: str, pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ConfigError(f"profiling.{name}: {pattern!r} is no regular expression: {error}.") from error
    if groups != 1:
        raise ConfigError(f"profiling.{name}: expected one group, the number, got {groups} in {pattern!r}.")
