"""The life of a sandbox session that serves an episode: opened at first use, closed with the episode, forked with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

from turnwise.errors import EnvFailure, SandboxFailure
from turnwise.tool_servers.sandbox.protocol import ForkRefused

__all__ = ["LEASE_S", "EpisodeSession", "failing", "new_id"]

LEASE_S = 3600.0
"""Seconds without a call after which a forgotten session ends."""


class Session(Protocol):
    """What there is to end and to fork."""

    def fork(self, ids: Sequence[str]) -> Sequence[Self]: ...
    def close(self) -> None: ...


S = TypeVar("S", bound=Session)


class EpisodeSession(Generic[S]):
    """One session after the other. A deep copy is a fork; where the sandbox refuses one, the copy opens its own at first use."""

    _session: S | None = None

    def close(self) -> None:
        """End the session, if there is one. May be called again."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(SandboxFailure):  # it is gone, which is what was wanted
                session.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}  # a session stays where it is; a pickled copy opens its own at first use

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._session = None
        if self._session is not None:
            with failing(), contextlib.suppress(ForkRefused):
                (twin._session,) = self._session.fork([new_id()])
        return twin


@contextlib.contextmanager
def failing() -> Generator[None]:
    """A sandbox that broke is a failure of the environment."""
    try:
        yield
    except SandboxFailure as failure:
        raise EnvFailure(failure.kind, failure.detail) from failure


def new_id() -> str:
    return f"episode-{os.urandom(12).hex()}"
