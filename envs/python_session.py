"""The Python tool of an episode: a session in a sandbox, opened at the first call, closed with the episode, forked with it."""

from __future__ import annotations

import contextlib
import hashlib
import os
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
        self._codes: tuple[str, ...] = ()
        """What ran in this episode."""
        self._session: BlockingSession | None = None

    def restart(self, task: str) -> None:
        """A new episode: the next call finds nothing of the last one. `task` seeds the session's generators."""
        self.close()
        self._task = task

    def run(self, code: str) -> tuple[str, bool]:
        """(what the code printed, its value or its error; whether it ran through). Raises EnvFailure if the sandbox broke."""
        try:
            if self._session is None:
                self._session = self._opened()
            result = self._session.call("python", {"code": code})
            self._codes = (*self._codes, code)
        except SandboxFailure as failure:
            raise EnvFailure(failure.kind, failure.detail) from failure
        return as_text(result), result.status is Status.OK

    def close(self) -> None:
        """End the session, if there is one. May be called again."""
        session, self._session, self._codes = self._session, None, ()
        if session is not None:
            with contextlib.suppress(SandboxFailure):  # it is gone, which is what was wanted
                session.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._session = None
        if self._session is not None:
            try:
                (twin._session,) = self._session.fork([_new_id()])
            except ForkRefused:
                pass  # its first call runs the same code again
            except SandboxFailure as failure:
                raise EnvFailure(failure.kind, failure.detail) from failure
        return twin

    def _opened(self) -> BlockingSession:
        seed = int.from_bytes(hashlib.blake2b(self._task.encode("utf-8", "replace"), digest_size=4).digest(), "big")
        spec = SessionSpec(_new_id(), profile=self.profile, limits=self.limits, seed=seed, lease_s=LEASE_S)
        session = shared_sandbox(self.needs).open(spec)
        for code in self._codes:
            session.call("python", {"code": code})
        return session


def _new_id() -> str:
    return f"math-{os.urandom(12).hex()}"


def as_text(result: ToolResult) -> str:
    """What a model reads: printed text, the value of a last expression, the error; no times and no sizes."""
    parts = [result.out.rstrip("\n"), "" if result.value is None else str(result.value), result.err.rstrip("\n")]
    if result.restarted:
        parts.append("(The session was started again: variables are lost.)")
    return "\n".join(part for part in parts if part) or "(no output)"
