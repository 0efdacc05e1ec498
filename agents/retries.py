"""When the world broke and not the task: another attempt, after a pause, in a new world brought to the same point."""

from __future__ import annotations

from dataclasses import dataclass

from turnwise.errors import ConfigError
from turnwise.types import Failure, Family

__all__ = ["Retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a call is made before its failure counts. A task's own error is never retried: it would come again."""

    attempts: int = 1
    """Of one call (a reset, a reply, a step), the first included; 1 is no second attempt."""
    pause_s: float = 0.5
    """Before the second attempt; it doubles with each further one."""
    longest_s: float = 30.0
    families: tuple[Family, ...] = (Family.PROVIDER, Family.SANDBOX, Family.ENVIRONMENT)
    """What is worth another attempt. A timeout is not, by default: the deadline was paid already."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.pause_s < 0 or self.longest_s < 0:
            raise ConfigError(f"retry: expected attempts >= 1 and pauses >= 0, got {self.attempts} and {self.pause_s} s.")
        if Family.TASK in self.families:
            raise ConfigError('retry.families: a task\'s own error comes again each time; leave "task" out.')

    def allows(self, failure: Failure, attempt: int) -> bool:
        """Whether the attempt of that number (from 1), which failed so, is followed by another."""
        return attempt < self.attempts and failure.family in self.families

    def pause(self, attempt: int) -> float:
        """Seconds after that failed attempt."""
        return min(self.longest_s, self.pause_s * 2.0 ** (attempt - 1))
