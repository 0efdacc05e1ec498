"""Actors of one kind, each replaced when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from turnwise.errors import InfraError

__all__ = ["Crew", "cause", "death"]

_CLOSE_S = 30.0


def death(error: Exception) -> str:
    """What Ray says of an actor's death, in one line."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(said)[:500] or type(error).__name__


def cause(error: Any) -> Exception:
    """What an actor's own code raised, of Ray's error that carries it."""
    return error.cause if isinstance(error.cause, Exception) else error


class Crew:
    """`start`, then `living` and `seats`; `close` at the end. Belongs to one event loop."""

    def __init__(
        self,
        kind: str,
        count: int,
        *,
        create: Callable[[int], Any],
        prepare: Callable[[int, Any], Awaitable[None]],
        seated: Callable[[int, Any], None],
        lost: Callable[[str, int, str], None],
        restarts: int,
        start_s: float,
    ) -> None:
        """
        Args:
            create: a new actor, of `hosts.EngineHost` or a subclass, for a seat.
            prepare: makes it ready; what it raises, other than the actor's death, ends the crew.
            seated: told when a seat has another actor, or none (None).
            lost: told of each death: kind, seat, why.
            restarts: deaths in a row, with nothing finished between them, that one seat may have.
            start_s: bound on `prepare`.
        """
        self.kind = kind
        self.seats: list[Any] = [None] * count
        """The actor of each seat; None while it is being replaced."""
        self._create, self._prepare, self._seated, self._lost = create, prepare, seated, lost
        self._restarts, self._start_s = restarts, start_s
        self._deaths = [0] * count
        self._why = [""] * count
        self._changed = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self.error: Exception | None = None
        """Set where it cannot go on."""

    async def start(self) -> None:
        """Returns when all seats are taken."""
        self._keepers = [asyncio.create_task(self._keep(i), name=f"{self.kind} {i}") for i in range(len(self.seats))]
        await self._until(lambda: all(handle is not None for handle in self.seats))

    async def living(self) -> list[int]:
        """Seats that are taken, at least one. Raises what the crew broke of."""
        await self._until(lambda: any(handle is not None for handle in self.seats))
        return [index for index, handle in enumerate(self.seats) if handle is not None]

    async def fails(self) -> None:
        """Raises what the crew broke of, as soon as it did."""
        await self._until(lambda: False)

    def finished(self, index: int) -> None:
        """That one did a piece of its work: its deaths so far are forgiven."""
        self._deaths[index] = 0

    def dead(self, index: int, handle: Any, why: str) -> None:
        """Somebody found that one dead, or wants it to be."""
        import ray  # noqa: PLC0415  (optional)

        if self.seats[index] is handle:
            self._why[index] = why
            self._take(index, None)
        ray.kill(handle)

    async def close(self) -> None:
        """End all of them: politely, then for sure."""
        import ray  # noqa: PLC0415  (optional)
        from ray.exceptions import RayError  # noqa: PLC0415  (optional)

        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        handles = [handle for handle in self.seats if handle is not None]

        async def ended(handle: Any) -> None:
            with suppress(RayError, TimeoutError):
                await asyncio.wait_for(handle.close.remote(), _CLOSE_S)
            ray.kill(handle)

        await asyncio.gather(*map(ended, handles))

    async def _keep(self, index: int) -> None:
        try:
            while self.error is None:
                why = await self._live(index)
                self._deaths[index] += 1
                self._lost(self.kind, index, why)
                if self._deaths[index] > self._restarts:
                    often = f"{self.kind} {index} died {self._deaths[index]} times without having finished anything"
                    raise InfraError(self.kind, f"{often}; cluster.restarts allows {self._restarts}. The last time: {why}")
        except Exception as error:  # the boundary: whatever it is, who waits for this crew must not wait for ever
            self.error = error
            self._bump()

    async def _live(self, index: int) -> str:
        """One actor from its making to its death; why it died."""
        import ray  # noqa: PLC0415  (optional)
        from ray.exceptions import RayError, RayTaskError  # noqa: PLC0415  (optional)

        handle, why = self._create(index), "it ended by itself"
        self._why[index] = ""
        try:
            async with asyncio.timeout(self._start_s):
                await self._prepare(index, handle)
            self._take(index, handle)
            await handle.endure.remote()
        except TimeoutError:
            why = f"it did not start within {self._start_s:g} s; the cluster has {ray.available_resources()} left"
        except RayTaskError as error:
            raise cause(error) from None
        except RayError as error:
            why = self._why[index] or death(error)
        except asyncio.CancelledError:
            if self.seats[index] is not handle:  # else `close` ends it politely
                ray.kill(handle)
            raise
        if self.seats[index] is handle:
            self._take(index, None)
        ray.kill(handle)
        return why

    def _take(self, index: int, handle: Any) -> None:
        self.seats[index] = handle
        self._seated(index, handle)
        self._bump()

    def _bump(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            if self.error is not None:
                raise self.error
            await self._changed.wait()
