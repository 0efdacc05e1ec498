"""The actors of one run: engines, rollout workers, and what ties them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from turnwise.agents.engine import Capabilities
from turnwise.agents.episode import Problem
from turnwise.trainers.cluster.crew import Crew
from turnwise.trainers.cluster.hosts import EngineHost, WorkerHost
from turnwise.trainers.cluster.parcels import emptied, store
from turnwise.trainers.cluster.pool import RayPool
from turnwise.trainers.cluster.remote import RayEngine, RemoteEngine
from turnwise.trainers.cluster.resources import shares
from turnwise.trainers.recipe import Recipe
from turnwise.types import Failure, Trajectory

__all__ = ["Fleet", "launch"]

_CALLS = 10_000  # that one actor works on side by side


class Fleet:
    """Made by `launch`. `engine` is the policy; `pool` plays with it."""

    def __init__(self, recipe: Recipe, model: nn.Module, tokenizer: PreTrainedTokenizerBase, say: Callable[[str], None]) -> None:
        import ray  # noqa: PLC0415  (optional)

        self.recipe, self.say = recipe, say
        self.lost: Counter[str] = Counter()
        """Deaths by kind: worker, engine."""
        self._told: list[Callable[[str, int, str], None]] = []
        cluster = recipe.cluster
        self.shares = shares(cluster, ray.cluster_resources(), _gpus_wanted(recipe))
        self._model, self._tokenizer = ray.put(emptied(model)), ray.put(tokenizer)
        waiting = Capabilities(tokens=True, score=True, update_weights=True, context_window=0)
        count = cluster.engines or cluster.workers
        self.engine = RayEngine(waiting, [None] * count, cluster.start_s, store(model.state_dict()))
        bounds: dict[str, Any] = {"lost": self._lost, "restarts": cluster.restarts, "start_s": cluster.start_s}
        self.engines = (
            Crew("engine", count, create=self._engine, prepare=self._build, seated=self._engine_seated, **bounds)
            if cluster.engines
            else None
        )
        seated = self._worker_seated if cluster.engines else self.engine.seat
        self.workers = Crew("worker", cluster.workers, create=self._worker, prepare=self._hire, seated=seated, **bounds)

    async def start(self) -> None:
        """Returns when all actors are ready. Raises what one of them cannot start for."""
        if self.engines is not None:
            await self.engines.start()
        await self.workers.start()

    def pool(
        self,
        done: Callable[[Trajectory], None] = lambda _: None,
        retried: Callable[[Problem, Failure], None] = lambda _p, _f: None,
    ) -> RayPool:
        """The same workers for whoever asks."""
        others = (self.engines,) if self.engines is not None else ()
        cluster = self.recipe.cluster
        bounds: dict[str, Any] = {"size": self.recipe.rollout.size, "tries": cluster.tries, "silence_s": cluster.silence_s}
        return RayPool(self.workers, others, **bounds, done=done, retried=retried, say=self.say)

    @contextmanager
    def telling(self, lost: Callable[[str, int, str], None]) -> Generator[None]:
        """`lost` is told of every death (kind, seat, why) while the block lasts."""
        self._told.append(lost)
        try:
            yield
        finally:
            self._told.remove(lost)

    async def close(self) -> None:
        await self.workers.close()
        if self.engines is not None:
            await self.engines.close()

    def _engine(self, index: int) -> Any:
        return _actor(EngineHost, self.shares.cpus, self.shares.engine_gpus).remote(self.recipe)

    def _worker(self, index: int) -> Any:
        gpus = 0.0 if self.recipe.cluster.engines else self.shares.engine_gpus
        return _actor(WorkerHost, self.shares.cpus, gpus).remote(self.recipe)

    async def _build(self, index: int, handle: Any) -> None:
        """An engine with the present weights, those that come meanwhile included."""
        first, _ = self.engine.given
        self.engine.capabilities = await handle.build.remote(self._model, first.ref, self.recipe.concurrency)
        given = None
        while given is not self.engine.given:
            given = self.engine.given
            await handle.take.remote(given[0].ref, given[1])

    async def _hire(self, index: int, handle: Any) -> None:
        engine = None
        if self.engines is None:
            await self._build(index, handle)
        else:
            engine = RemoteEngine(self.engine.capabilities, self.engine.handles, self.engine.patience_s)
        await handle.hire.remote(self._tokenizer, engine, self.recipe.cluster.workers)

    def _engine_seated(self, index: int, handle: Any) -> None:
        self.engine.seat(index, handle)
        for worker in self.workers.seats:
            if worker is not None:
                worker.seat.remote(index, handle)

    def _worker_seated(self, index: int, handle: Any) -> None:
        if handle is not None:  # an engine may have been replaced while it was made
            for number, engine in enumerate(self.engine.handles):
                handle.seat.remote(number, engine)

    def _lost(self, kind: str, index: int, why: str) -> None:
        self.lost[kind] += 1
        self.say(f"{kind} {index} died and is replaced: {why}")
        for tell in self._told:
            tell(kind, index, why)


async def launch(
    recipe: Recipe, model: nn.Module, tokenizer: PreTrainedTokenizerBase, say: Callable[[str], None], parts: AsyncExitStack
) -> Fleet:
    """All actors, ready; they end with `parts`. Ray is connected already (`resources.connected`)."""
    fleet = Fleet(recipe, model, tokenizer, say)
    parts.push_async_callback(fleet.close)
    await fleet.start()
    return fleet


def _actor(cls: type, cpus: float, gpus: float) -> Any:
    """The class as an actor's: spread over the nodes, never restarted by Ray itself (`crew` does, with the present weights)."""
    import ray  # noqa: PLC0415  (optional)

    options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_concurrency": _CALLS, "scheduling_strategy": "SPREAD"}
    return ray.remote(**options, max_restarts=0)(cls)


def _gpus_wanted(recipe: Recipe) -> int:
    """GPUs that one engine is made for: vLLM may spread a model over several."""
    options: dict[str, Any] = getattr(recipe.engine, "options", {})
    return int(options.get("tensor_parallel_size", 1)) * int(options.get("pipeline_parallel_size", 1))
