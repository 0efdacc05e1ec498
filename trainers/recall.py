"""An earlier trajectory played again: how a group begins where one of its own policy once was."""

from __future__ import annotations

from dataclasses import dataclass

from turnwise.agents.agent import Moment, Reply
from turnwise.errors import EnvFailure
from turnwise.types import Trajectory

__all__ = ["Replayed"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """An agent that says what was said in a trajectory of the same task, token by token; None after its last turn.

    Raises EnvFailure("replay") where the environment does not say what it said then: it cannot be brought back to that state.
    """

    trajectory: Trajectory

    async def reply(self, moment: Moment) -> Reply | None:
        at = len(moment.parent.path()) if moment.parent else 0
        turns = self.trajectory.turns
        if at >= len(turns):
            return None
        turn = turns[at]
        if moment.observation != turn.observation:
            says = f"turn {at} began with {turn.observation[:80]!r}, now with {moment.observation[:80]!r}"
            raise EnvFailure("replay", f"task {self.trajectory.task.id}: {says}; restarts need environments that replay.")
        return Reply(
            turn.action,
            turn.context_ids,
            turn.action_ids,
            turn.logprobs,
            turn.entropies,
            turn.stop_reason,
            turn.version,
            turn.versions,
        )

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        pass
