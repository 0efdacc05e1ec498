"""How far rollouts may run ahead of learning: a bound on staleness by admission alone, nothing is ever dropped.

    begin a group while    accepted + running < (eta + version + 1) * batch

(AReaL, arXiv:2505.24298, section 4.1). Batches are learned from in the order in which they were begun, so a group that was begun
at version v is consumed at v + eta at the latest. With eta = 0 nothing runs ahead: rollouts are on policy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from turnwise.errors import ConfigError

__all__ = ["Admission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A value: every change is a new one. Counts are of groups since the beginning of the run, resumed or not."""

    eta: int
    """Most versions between a group's first token and the update it is for."""
    batch: int
    """Groups of one update."""
    version: int = 0
    """Updates done; one that found no usable group counts."""
    accepted: int = 0
    """Groups that came back, learned from or waiting for it, failed ones included."""
    running: int = 0

    def __post_init__(self) -> None:
        if self.eta < 0 or self.batch < 1:
            raise ConfigError(f"schedule: expected eta >= 0 and batches of at least 1 group, got {self.eta} and {self.batch}.")

    @property
    def room(self) -> int:
        """Groups that may be begun now."""
        return max(0, (self.eta + self.version + 1) * self.batch - self.accepted - self.running)

    def begun(self, groups: int) -> Admission:
        """Raises ValueError beyond the room there is: a bug of the caller."""
        if groups > self.room:
            raise ValueError(f"admission: {groups} groups for a room of {self.room}.")
        return replace(self, running=self.running + groups)

    def came_back(self, groups: int) -> Admission:
        if groups > self.running:
            raise ValueError(f"admission: {groups} groups came back of {self.running} that were running.")
        return replace(self, running=self.running - groups, accepted=self.accepted + groups)

    def learned(self) -> Admission:
        """Raises ValueError if the batch was not there."""
        if self.accepted < (self.version + 1) * self.batch:
            raise ValueError(f"admission: version {self.version} has no whole batch among {self.accepted} groups.")
        return replace(self, version=self.version + 1)
