"""The records that flow from an environment to a weight update.

    Task -> Env <-> Agent -> Turn -> Trajectory -> Group -> ... (trainers/batch.py takes over from here)

Dimensions: C context tokens that a turn adds, A tokens the policy sampled in it, K turns of a trajectory. All records are frozen;
a fork shares the turns before it by reference, so a shared prefix is stored once and can be trained once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Failure", "Family", "Group", "Spent", "Stop", "Task", "Trajectory", "Turn"]


@dataclass(frozen=True, slots=True)
class Task:
    """One problem, complete: an environment can be put back at its start from this record alone."""

    id: str
    """Stable name; decides the split (`turnwise.envs.core.split_of`), so equal tasks have equal ids."""
    prompt: str
    """The question as a person would read it."""
    answer: str
    """The ground truth as text; information gain scores it. "" if the task has none."""
    difficulty: int
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON-able; all the environment needs to rebuild the episode."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Task:
        return self  # frozen: forks share it


class Stop(StrEnum):
    """Why a trajectory ended."""

    TERMINATED = "terminated"
    """The environment ended it: solved, lost, answered."""
    TRUNCATED = "truncated"
    """The environment's turn limit was reached."""
    TOKENS = "tokens"
    """The agent ran out of its token budget for the whole conversation."""
    BUDGET = "budget"
    """The group's budget of sampled tokens or tool calls was spent."""
    FAILED = "failed"
    """Infrastructure broke; the trajectory is in no baseline and no loss."""


class Family(StrEnum):
    """What kind of thing broke: it decides whether another attempt can help."""

    PROVIDER = "provider"
    """The inference engine, or the provider behind it."""
    SANDBOX = "sandbox"
    """A sandbox, tool server, database or browser."""
    ENVIRONMENT = "environment"
    """The environment said itself that its world is broken."""
    TIMEOUT = "timeout"
    """No answer within the deadline."""
    TASK = "task"
    """The task's own code: an exception or an answer against the contract. It would do the same again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What broke, and where: `kind` is one short word (env, timeout, engine, nonsense), `detail` the message."""

    kind: str
    detail: str
    family: Family = Family.ENVIRONMENT


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One observation and the reply to it. Compared by identity: a shared turn is the same object."""

    observation: str
    """What the environment said before this reply."""
    context_ids: tuple[int, ...]
    """[C] ids added before the reply: the end of the last message, the observation, the generation prompt."""
    action: str
    """The reply as the environment saw it."""
    action_ids: tuple[int, ...]
    """[A] ids exactly as sampled, a sampled stop token included. Empty for agents without tokens."""
    logprobs: tuple[float, ...]
    """[A] log-probability of each sampled id under the distribution it was drawn from, nats."""
    entropies: tuple[float, ...]
    """[A] entropy of that distribution, nats; empty if the engine gives none."""
    reward: float
    reward_terms: Mapping[str, float]
    """Named parts of the reward and of the shapers after it."""
    outcome: float
    """How far the task is solved after this turn, in [0, 1]; 1 is solved."""
    valid: bool
    """Whether the environment could parse the reply."""
    tool_calls: int
    stop_reason: str
    """Why sampling stopped: "stop" (a stop token), "length" (the cap of the turn), "" for agents without tokens."""
    version: int
    """Weights the reply was sampled with; the lowest if they changed on the way."""
    duration_s: float
    """Seconds the environment took for the step; measured by the caller, never part of what must replay."""
    parent: Turn | None = None
    given: bool = False
    """Whether the reply was put there (by an expert) and not sampled by the policy: seen, never trained."""
    versions: tuple[int, ...] = ()
    """[A] weights that each id was sampled with, where they changed on the way; empty where `version` says it all."""

    @property
    def state(self) -> str:
        """Key of the anchor state: equal observations have equal keys."""
        return hashlib.blake2b(self.observation.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def path(self) -> tuple[Turn, ...]:
        """All turns from the root to this one."""
        turns: list[Turn] = []
        node: Turn | None = self
        while node is not None:
            turns.append(node)
            node = node.parent
        return tuple(reversed(turns))


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """A path from the root to a leaf: one episode of one agent on one task."""

    task: Task
    env_id: str
    seed: int
    leaf: Turn | None
    """Last turn; None if it failed before the first reply."""
    stop: Stop
    failure: Failure | None = None
    final: str = ""
    """What the environment said after the last turn; nobody replied to it."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """[K]"""
        return self.leaf.path() if self.leaf else ()

    @property
    def outcome(self) -> float:
        """How far the task was solved at the end, in [0, 1]."""
        return self.leaf.outcome if self.leaf else 0.0

    @property
    def reward(self) -> float:
        """The undiscounted return."""
        return sum(turn.reward for turn in self.turns)

    @property
    def failed(self) -> bool:
        return self.failure is not None

    @property
    def ids(self) -> tuple[int, ...]:
        """[T] the whole conversation as the engine saw it."""
        return tuple(i for turn in self.turns for part in (turn.context_ids, turn.action_ids) for i in part)

    @property
    def turn_of_token(self) -> tuple[int, ...]:
        """[T] index of the turn that sampled the token; -1 where the token is not the policy's."""
        return tuple(
            index
            for k, turn in enumerate(self.turns)
            for index in (-1,) * len(turn.context_ids) + (-1 if turn.given else k,) * len(turn.action_ids)
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What a group cost: every reply and tool call once, those of abandoned and broken branches included."""

    tokens: int = 0
    """Sampled by the policy."""
    tool_calls: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.tool_calls + other.tool_calls)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """All trajectories of one task in one training step; the unit of group-relative credit."""

    task: Task
    trajectories: tuple[Trajectory, ...]
    spent: Spent = Spent()

    @property
    def survivors(self) -> tuple[Trajectory, ...]:
        """The trajectories that no infrastructure failure ended."""
        return tuple(t for t in self.trajectories if not t.failed)

    def nodes(self) -> Iterator[tuple[Turn, tuple[int, ...]]]:
        """Every turn once, parents first, with the indices of the trajectories that pass through it."""
        leaves: dict[int, tuple[Turn, list[int]]] = {}
        for index, trajectory in enumerate(self.trajectories):
            for turn in trajectory.turns:
                leaves.setdefault(id(turn), (turn, []))[1].append(index)
        for turn, below in leaves.values():
            yield turn, tuple(below)
