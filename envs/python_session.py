"""The Python tool of an episode: a session in a sandbox, opened at the first call, closed with the episode, forked with it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Generator, Mapping
from typing import Any, Self

from turnwise.envs.sandboxes import level_named, shared_sandbox
from turnwise.errors import EnvFailure, SandboxFailure
from turnwise.tool_servers.sandbox.blocking import BlockingSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.profiles import profile_of
from turnwise.tool_servers.sandbox.protocol import ForkRefused, SessionSpec, Status, ToolResult

__all__ = ["PythonSession", "as_text"]

LEASE_S = 3600.0
"""Seconds without a call after which a forgotten session ends."""


class PythonSession:
    """Runs code for one episode after the other. A deep copy is a fork: by the sandbox, else by running the same code again."""

    def __init__(self, *, profile: str, needs: str, wall_s: float) -> None:
        self.profile, self.needs = profile_of(profile).name, level_named(needs)
        self.limits = Limits(wall_s=wall_s, output_kb=8, calls=100_000)
        self._task = ""
        self._files: Mapping[str, bytes] = {}
        self._calls: tuple[tuple[str, float | None], ...] = ()
        """What ran in this episode, and the seconds it was given."""
        self._session: BlockingSession | None = None

    def restart(self, task: str, files: Mapping[str, bytes] | None = None) -> None:
        """A new episode: the next call finds nothing of the last one, but `files`. `task` seeds the session's generators."""
        self.close()
        self._task, self._files = task, files or {}

    def run(self, code: str, wall_s: float | None = None) -> tuple[str, bool]:
        """(what the code printed, its value or its error; whether it ran through). Raises EnvFailure if the sandbox broke.

        `wall_s` shortens the seconds of this call.
        """
        with _failing():
            if self._session is None:
                self._session = self._opened()
            result = self._session.call("python", {"code": code}, wall_s=wall_s)
            self._calls = (*self._calls, (code, wall_s))
        return as_text(result), result.status is Status.OK

    def fetch(self, path: str, max_bytes: int) -> bytes:
        """A file that the code wrote; FileNotFoundError, or ConfigError for what is no regular file or larger."""
        if self._session is None:
            raise FileNotFoundError(path)
        with _failing():
            return self._session.get(path, max_bytes=max_bytes)

    def close(self) -> None:
        """End the session, if there is one. May be called again."""
        session, self._session, self._calls = self._session, None, ()
        if session is not None:
            with contextlib.suppress(SandboxFailure):  # it is gone, which is what was wanted
                session.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._session = None
        if self._session is not None:
            try:
                with _failing():
                    (twin._session,) = self._session.fork([_new_id()])
            except ForkRefused:
                pass  # its first call runs the same code again
        return twin

    def _opened(self) -> BlockingSession:
        seed = int.from_bytes(hashlib.blake2b(self._task.encode("utf-8", "replace"), digest_size=4).digest(), "big")
        spec = SessionSpec(_new_id(), profile=self.profile, limits=self.limits, files=self._files, seed=seed, lease_s=LEASE_S)
        session = shared_sandbox(self.needs).open(spec)
        for code, wall_s in self._calls:
            session.call("python", {"code": code}, wall_s=wall_s)
        return session


@contextlib.contextmanager
def _failing() -> Generator[None]:
    """A sandbox that broke is a failure of the environment."""
    try:
        yield
    except SandboxFailure as failure:
        raise EnvFailure(failure.kind, failure.detail) from failure


def _new_id() -> str:
    return f"episode-{os.urandom(12).hex()}"


def as_text(result: ToolResult) -> str:
    """What a model reads: printed text, the value of a last expression, the error; no times and no sizes."""
    parts = [result.out.rstrip("\n"), "" if result.value is None else str(result.value), result.err.rstrip("\n")]
    if result.restarted:
        parts.append("(The session was started again: variables are lost.)")
    return "\n".join(part for part in parts if part) or "(no output)"
