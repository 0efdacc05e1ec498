"""Demonstrations with meta-reasoning tags: the cold start of `rewards = ["meta_reasoning"]` (RLVMR, arXiv:2507.22844)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from turnwise.agents.agent import Agent, Moment, Reply
from turnwise.envs.actions import final_answer
from turnwise.seeds import child

__all__ = ["Tagged"]

THOUGHTS = {
    "planning": "one step after the other",
    "explore": "what is new here",
    "reflection": "that led nowhere, so another way",
    "monitor": "all is found",
}


@dataclass(frozen=True, slots=True)
class Tagged:
    """An agent whose replies open with the tag that fits: planning at the start, reflection after a turn that led nowhere,
    monitor before an answer, explore otherwise. (In the paper a stronger model writes the thoughts; these are plain.)

    An expert never errs, and so would show nobody how to recover: with probability `slip` a turn after the first repeats the
    reply before it, and the next one reflects.
    """

    teacher: Agent
    slip: float = 0.1

    async def reply(self, moment: Moment) -> Reply | None:
        parent = moment.parent
        rng = np.random.default_rng(child(moment.seed, "slip"))
        stuck = parent is not None and (not parent.valid or moment.observation in {t.observation for t in parent.path()})
        if parent is not None and not stuck and rng.random() < self.slip:
            return Reply(_tagged("explore", parent.action.rpartition(">\n")[2]))
        said = await self.teacher.reply(moment)
        if said is None:
            return None
        answers = final_answer(said.text) is not None
        tag = "planning" if parent is None else "reflection" if stuck else "monitor" if answers else "explore"
        return replace(said, text=_tagged(tag, said.text))

    def fork(self, session: str, twin: str) -> None:
        self.teacher.fork(session, twin)

    def release(self, session: str) -> None:
        self.teacher.release(session)


def _tagged(tag: str, reply: str) -> str:
    return f"<{tag}>{THOUGHTS[tag]}</{tag}>\n{reply}"
