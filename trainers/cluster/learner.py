"""The learner as Ray actors: each of them one rank of `sharded`, asked all together.

    driver            rank 0            rank 1 ...
    update(batch) ->  the same rows, the same call; they meet in collectives
    weights()     ->  put together once, into the object store; nothing passes through the driver

Invariant: the ranks live and die together. One that is killed, hangs or loses the others ends all of them, and the call raises
LearnerFailure; who owns the learner makes a new one and goes on from a checkpoint (`run._steadily`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from turnwise.errors import ConfigError, InfraError, LearnerFailure, TurnwiseError
from turnwise.trainers.batch import Batch
from turnwise.trainers.cluster.crew import death
from turnwise.trainers.cluster.parcels import Packed, Stored, emptied, filled, packed, size_of, store, unpacked
from turnwise.trainers.cluster.resources import Shares
from turnwise.trainers.cluster.settings import Cluster
from turnwise.trainers.critic import Critic
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.sharded import join, meet, meeting_point

__all__ = ["RankHost", "RayLearner", "Settings"]

_TICK_S = 5.0
"""How often ranks that are busy are asked whether they live."""
_GRACE_S = 5.0
"""How long a failure waits for another that explains it: a rank that lost its peer may speak before the peer's death is known."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every rank is made with, beside the model."""

    update: Update
    temperature: float = 1.0
    critic: Critic | None = None
    seed: int = 0
    threads: int = 0
    """Of torch, in each rank; 0 leaves it alone."""


class RankHost:
    """One rank, in a process of its own. Its methods are collectives, but for the first three."""

    def __init__(self, rank: int, size: int, settings: Settings, device: str, silence_s: float) -> None:
        """`device` is "cuda" or "cpu": what Ray promised this actor, whatever else it can see."""
        self.rank, self.size, self.settings, self.device, self.silence_s = rank, size, settings, device, silence_s
        self._store: Any = None

    def pid(self) -> int:
        """This also answers while another method runs."""
        return os.getpid()

    def open(self) -> tuple[str, int]:
        """On rank 0: host and port where the others find it."""
        import ray  # noqa: PLC0415  (optional)

        host = ray.util.get_node_ip_address()
        self._store = meeting_point(host, self.silence_s)
        return host, self._store.port

    def build(self, host: str, port: int, model: Any, weights: Packed) -> None:
        """Meet the others, and keep this rank's part of the model. `model` is `emptied`."""
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        whole = cast(PreTrainedModel, filled(model, unpacked(weights)))
        own = self.settings
        place = self._store or meet(host, port, self.silence_s)
        ranks = join(self.rank, self.size, place, timeout_s=self.silence_s, device=self.device)
        self.learner = LocalLearner(whole, own.update, temperature=own.temperature, critic=own.critic, seed=own.seed, ranks=ranks)

    def annotate(self, batch: Batch) -> tuple[Tensor | None, Tensor | None] | None:
        seen = self.learner.annotate(batch)
        return self._first((seen.values, seen.token_values))

    def update(self, batch: Batch, advantages: Tensor, targets: Tensor | None) -> dict[str, float] | None:
        return self._first(self.learner.update(batch, advantages, targets))

    def weights(self) -> tuple[Packed | None, int]:
        """The whole model's, as `packed` gives them, and their bytes."""
        whole = self.learner.weights()
        arrays = packed(whole) if self.rank == 0 else None
        return arrays, size_of(arrays or {})

    def score(self, ids: Sequence[int]) -> list[float]:
        return self.learner.score(ids)

    def state_dict(self) -> dict[str, Any] | None:
        return self._first(self.learner.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_state_dict(state)

    def _first(self, result: T) -> T | None:
        """All ranks have the same; one sends it."""
        return result if self.rank == 0 else None


class RayLearner:
    """See `learner.Learner`: `cluster.learners` ranks. `close` ends them."""

    def __init__(self, model: PreTrainedModel, settings: Settings, cluster: Cluster, share: Shares) -> None:
        """Returns when all ranks are ready; each asks for a `share`. `model` stays as it is here: the ranks copy its weights.

        Raises ConfigError if ranks would have to share a GPU, InfraError if the cluster has no place for them within
        `cluster.start_s`, LearnerFailure if one of them dies.
        """
        import ray  # noqa: PLC0415  (optional)

        self.version = 0
        self.cluster, self._critic = cluster, settings.critic
        self._vocabulary = int(cast(Any, model).get_input_embeddings().weight.shape[0])
        self._stored: Stored | None = None
        self._pulses: dict[int, tuple[Any, float]] = {}
        options: dict[str, Any] = {"num_cpus": share.cpus, "num_gpus": share.learner_gpus, "max_restarts": 0}
        actor: Any = cast(Any, ray).remote(**options, concurrency_groups={"pulse": 1})(RankHost)
        size, device = cluster.learners, "cuda" if share.learner_gpus else "cpu"
        if size > 1 and 0 < share.learner_gpus < 1:
            raise ConfigError(
                f"cluster.learners: {size} ranks need a GPU each (NCCL has no two on one), the cluster has "
                f"{share.learner_gpus:g} for each; use one learner, fewer engines, or a lower cluster.gpus_per_engine."
            )
        self.ranks: list[Any] = [actor.remote(rank, size, settings, device, cluster.silence_s) for rank in range(size)]
        self.pids: list[int] = self._all([rank.pid.remote() for rank in self.ranks], within_s=cluster.start_s)
        (address,) = self._all([self.ranks[0].open.remote()])
        given = ray.put(emptied(model)), store(model.state_dict()).ref
        self._ask(lambda rank: rank.build.remote(*address, *given))

    @property
    def vocabulary(self) -> int:
        """See `Learner`."""
        return self._vocabulary

    def annotate(self, batch: Batch) -> Batch:
        """See `Learner`. The features stay with the ranks."""
        import ray  # noqa: PLC0415  (optional)

        if self._critic is None:
            return batch
        ref = ray.put(batch)
        values, token_values = self._ask(lambda rank: rank.annotate.remote(ref))
        return replace(batch, values=values, token_values=token_values)

    def update(self, batch: Batch, advantages: Tensor, targets: Tensor | None = None) -> dict[str, float]:
        """See `Learner`."""
        import ray  # noqa: PLC0415  (optional)

        given = [ray.put(part) for part in (batch, advantages, targets)]
        self._stored = None
        metrics = self._ask(lambda rank: rank.update.remote(*given))
        self.version += 1
        return metrics

    def weights(self) -> Stored:
        """See `Learner`. Put together once per version, and by reference: engines fetch them from where rank 0 put them."""
        if self._stored is None:
            answers = [rank.weights.options(num_returns=2).remote() for rank in self.ranks]
            sizes = self._all([size for _, size in answers])
            self._stored = Stored(answers[0][0], sizes[0])
        return self._stored

    def score(self, ids: Sequence[int]) -> list[float]:
        """See `Learner`."""
        return self._ask(lambda rank: rank.score.remote(list(ids)))

    def state_dict(self) -> dict[str, Any]:
        """Whole, as that of a learner in one process: any number of ranks can go on from it."""
        return self._ask(lambda rank: rank.state_dict.remote())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Learner`."""
        import ray  # noqa: PLC0415  (optional)

        ref = ray.put(dict(state))
        self._ask(lambda rank: rank.load_state_dict.remote(ref))
        self.version = int(state["version"])

    def close(self) -> None:
        """End all ranks."""
        import ray  # noqa: PLC0415  (optional)

        for rank in self.ranks:
            ray.kill(rank)

    def _ask(self, call: Callable[[Any], Any]) -> Any:
        """The same of every rank; what the first one answers."""
        return self._all([call(rank) for rank in self.ranks])[0]

    def _all(self, answers: Sequence[Any], within_s: float = 0.0) -> list[Any]:
        """What all answers are, those of the first ranks in order. Raises as soon as one of them fails."""
        import ray  # noqa: PLC0415  (optional)
        from ray.exceptions import RayError  # noqa: PLC0415  (optional)

        began, waiting = time.monotonic(), list(answers)
        self._pulses.clear()
        while waiting:
            done, waiting = ray.wait(waiting, timeout=_TICK_S)
            try:
                ray.get(done)
            except RayError as error:
                self._fail(answers, answers.index(done[0]), error, waiting)
            if within_s and waiting and time.monotonic() - began > within_s:
                self.close()
                room = f"the cluster has {ray.available_resources()} left"
                raise InfraError("learner", f"{len(waiting)} of {len(answers)} rank(s) did not start in {within_s:g} s; {room}.")
            if not done and not within_s:
                self._feel_pulses()
        return ray.get(list(answers))

    def _feel_pulses(self) -> None:
        """A process that does not answer at all (it was stopped, its machine hangs) is dead, whatever Ray thinks of it."""
        import ray  # noqa: PLC0415  (optional)

        for index, rank in enumerate(self.ranks):
            if index in self._pulses:
                answer, asked = self._pulses[index]
                if ray.wait([answer], timeout=0)[0]:
                    del self._pulses[index]
                elif time.monotonic() - asked > self.cluster.silence_s:
                    self.close()
                    raise LearnerFailure("rank", f"rank {index} said nothing for {self.cluster.silence_s:g} s.")
            if index not in self._pulses:
                self._pulses[index] = rank.pid.options(concurrency_group="pulse").remote(), time.monotonic()

    def _fail(self, answers: Sequence[Any], index: int, error: Exception, waiting: list[Any]) -> NoReturn:
        """End all ranks, and say what was first: a death before the complaint of those who lost somebody."""
        import ray  # noqa: PLC0415  (optional)
        from ray.exceptions import RayError, RayTaskError  # noqa: PLC0415  (optional)

        failures = {index: error}
        for ref in ray.wait(waiting, num_returns=len(waiting), timeout=_GRACE_S)[0] if waiting else []:
            try:
                ray.get(ref)
            except RayError as another:
                failures[answers.index(ref)] = another
        self.close()
        dead = [rank for rank, failure in failures.items() if not isinstance(failure, RayTaskError)]
        first = dead[0] if dead else index
        cause = failures[first].cause if isinstance(failures[first], RayTaskError) else None  # type: ignore[attr-defined]
        if isinstance(cause, Exception) and (isinstance(cause, TurnwiseError) or not isinstance(cause, RuntimeError | OSError)):
            raise cause from None  # a setting or somebody's code, not the world
        raise LearnerFailure("rank", f"rank {first} of {len(self.ranks)}: {death(cause or failures[first])}") from None
