"""An engine whose replicas are Ray actors: requests to it from workers, and from the driver its weights.

A conversation stays with one replica. A replica that dies is replaced by whoever owns it (`crew`), who says so by `seat`;
requests that were under way are asked again there, and a sync that was is made again.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from turnwise.agents.engine import Capabilities, Completion, Load, Sampling
from turnwise.errors import EngineFailure
from turnwise.trainers.cluster.crew import cause, death
from turnwise.trainers.cluster.parcels import Stored, store

__all__ = ["RayEngine", "RemoteEngine"]

_TRIES = 3
_IDLE = Load(usage=0.0, waiting=0)
_T = TypeVar("_T")


class RemoteEngine:
    """See `turnwise.agents.engine.Engine`. It can be sent to another process."""

    def __init__(self, capabilities: Capabilities, handles: Sequence[Any], patience_s: float) -> None:
        """`handles` are actors of `hosts.EngineHost`, None for one that is just being replaced; `patience_s` is how long a
        request waits for that."""
        self.capabilities, self.patience_s = capabilities, patience_s
        self.handles = list(handles)
        self._loads = [_IDLE] * len(self.handles)
        self._changed: asyncio.Event | None = None
        self._homes: dict[str, str] = {}
        """Session -> the one whose replica it shares, where that is another."""
        self._turns = itertools.count()

    @property
    def load(self) -> Load:
        """Of all replicas, as each said with its last reply."""
        return Load(
            usage=sum(load.usage for load in self._loads) / len(self._loads),
            waiting=sum(load.waiting for load in self._loads),
            preempted=sum(load.preempted for load in self._loads),
        )

    def seat(self, index: int, handle: Any) -> None:
        """The replica `index` is another one now; None while there is none."""
        self.handles[index], self._loads[index] = handle, _IDLE
        self._wake()

    async def generate(self, ids: Sequence[int], sampling: Sampling, session: str | None = None) -> Completion:
        """See `Engine.generate`."""
        index = self._home(session)
        ids = tuple(ids)
        done, self._loads[index] = await self._ask(index, lambda handle: handle.generate.remote(ids, sampling, session))
        return done

    async def score(self, ids: Sequence[int], targets: Sequence[int]) -> list[float]:
        """See `Engine.score`. Texts with the same beginning go to one replica."""
        return await self._ask(self._home(str(tuple(ids[:64]))), lambda handle: handle.score.remote(tuple(ids), tuple(targets)))

    def release(self, session: str) -> None:
        handle = self.handles[self._home(session)]
        self._homes.pop(session, None)
        if handle is not None:
            handle.release.remote(session)

    def fork(self, session: str, twin: str) -> None:
        self._homes[twin] = self._homes.get(session, session)
        handle = self.handles[self._home(twin)]
        if handle is not None:
            handle.fork.remote(session, twin)

    async def update_weights(self, weights: Mapping[str, Any], version: int) -> None:
        raise EngineFailure("weights", "a worker may not change the weights of engines; the driver does.")

    async def close(self) -> None:
        """The actors end with who owns them."""

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_changed": None}

    def _home(self, session: str | None) -> int:
        if session is None:
            return next(self._turns) % len(self.handles)
        origin = self._homes.get(session, session)
        return int.from_bytes(hashlib.blake2b(origin.encode("utf-8", "surrogatepass"), digest_size=8).digest()) % len(
            self.handles
        )

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _seated(self, index: int) -> Any:
        """The replica `index`, once there is one."""
        try:
            async with asyncio.timeout(self.patience_s):
                while (handle := self.handles[index]) is None:
                    self._changed = self._changed or asyncio.Event()
                    await self._changed.wait()
                return handle
        except TimeoutError:
            raise EngineFailure("engine", f"engine {index} was not there again after {self.patience_s:g} s.") from None

    async def _ask(self, index: int, call: Callable[[Any], Awaitable[_T]]) -> _T:
        """Ask a replica; where it dies over it, the one that replaces it."""
        import ray  # noqa: PLC0415  (optional)
        from ray.exceptions import RayError, RayTaskError  # noqa: PLC0415  (optional)

        failure = EngineFailure("engine", f"engine {index} did not answer.")
        for _ in range(_TRIES):
            handle = await self._seated(index)
            answer = call(handle)
            try:
                return await answer
            except asyncio.CancelledError:
                ray.cancel(cast(Any, answer))
                raise
            except RayTaskError as error:
                raise cause(error) from None
            except RayError as error:
                failure = EngineFailure("engine", f"engine {index} died: {death(error)}")
                if self.handles[index] is handle:
                    self.seat(index, None)
        raise failure


class RayEngine(RemoteEngine):
    """See `turnwise.trainers.engines.protocol.PolicyEngine`: the driver's side, which owns the weights."""

    def __init__(self, capabilities: Capabilities, handles: Sequence[Any], patience_s: float, given: Stored) -> None:
        """`given` are the weights that the replicas were built with."""
        super().__init__(capabilities, handles, patience_s)
        self.version = 0
        self.given: tuple[Stored, int] = (given, 0)
        """What a replica that is made from now on must have, and its version."""
        self.sync_cost: tuple[int, float] = (0, 0.0)
        """Bytes put into the object store at the last change of weights, and the longest that a replica sampled no token."""

    async def update_weights(self, weights: Mapping[str, Any], version: int) -> None:
        """See `Engine.update_weights`. Of weights that are `Stored` already nothing passes through here."""
        stored = await asyncio.to_thread(store, weights)
        self.given = stored, version
        paused = await asyncio.gather(*(self._take(index, stored, version) for index in range(len(self.handles))))
        self.version, self.sync_cost = version, (stored.size, max(paused))

    async def _take(self, index: int, stored: Stored, version: int) -> float:
        return await self._ask(index, lambda handle: handle.take.remote(stored.ref, version))

    async def differing(self, weights: Mapping[str, Any]) -> list[str]:
        """Names of the tensors in `weights` that a replica holds otherwise."""
        stored = await asyncio.to_thread(store, weights)
        every = range(len(self.handles))
        answers = await asyncio.gather(*(self._ask(i, lambda handle: handle.differing.remote(stored.ref)) for i in every))
        return sorted({name for answer in cast("list[list[str]]", answers) for name in answer})

    async def score_each(self, ids: Sequence[int], targets: Sequence[int]) -> list[list[float]]:
        """`score`, by every replica, and by every one of its own where it has several."""
        every = range(len(self.handles))
        asked = (self._ask(i, lambda handle: handle.score_each.remote(tuple(ids), tuple(targets))) for i in every)
        answers = cast("list[list[list[float]]]", await asyncio.gather(*asked))
        return [scores for answer in answers for scores in answer]
