"""The Python tool of an episode: a session in a sandbox, opened at the first call, closed with the episode, forked with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from typing_extensions import override

from turnwise.envs.episode_session import LEASE_S, EpisodeSession, failing, new_id
from turnwise.envs.sandboxes import level_named, shared_sandbox
from turnwise.tool_servers.sandbox.blocking import BlockingSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.profiles import profile_of
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status, ToolResult

__all__ = ["PythonSession", "as_text"]


class PythonSession(EpisodeSession[BlockingSession]):
    """Runs code for one episode after the other. A copy that is no fork of the sandbox runs the same code again."""

    def __init__(self, *, profile: str, needs: str, wall_s: float) -> None:
        self.profile, self.needs = profile_of(profile).name, level_named(needs)
        self.limits = Limits(wall_s=wall_s, output_kb=8, calls=100_000)
        self._task = ""
        self._files: Mapping[str, bytes] = {}
        self._calls: tuple[tuple[str, float | None], ...] = ()
        """What ran in this episode, and the seconds it was given."""

    def restart(self, task: str, files: Mapping[str, bytes] | None = None) -> None:
        """A new episode: the next call finds nothing of the last one, but `files`. `task` seeds the session's generators."""
        self.close()
        self._task, self._files = task, files or {}

    def run(self, code: str, wall_s: float | None = None) -> tuple[str, bool]:
        """(what the code printed, its value or its error; whether it ran through). Raises EnvFailure if the sandbox broke.

        `wall_s` shortens the seconds of this call.
        """
        with failing():
            if self._session is None:
                self._session = self._opened()
            result = self._session.call("python", {"code": code}, wall_s=wall_s)
            self._calls = (*self._calls, (code, wall_s))
        return as_text(result), result.status is Status.OK

    def fetch(self, path: str, max_bytes: int) -> bytes:
        """A file that the code wrote; FileNotFoundError, or ConfigError for what is no regular file or larger."""
        if self._session is None:
            raise FileNotFoundError(path)
        with failing():
            return self._session.get(path, max_bytes=max_bytes)

    @override
    def close(self) -> None:
        self._calls = ()
        super().close()

    def _opened(self) -> BlockingSession:
        seed = int.from_bytes(hashlib.blake2b(self._task.encode("utf-8", "replace"), digest_size=4).digest(), "big")
        spec = SessionSpec(new_id(), profile=self.profile, limits=self.limits, files=self._files, seed=seed, lease_s=LEASE_S)
        session = shared_sandbox(self.needs).open(spec)
        for code, wall_s in self._calls:
            session.call("python", {"code": code}, wall_s=wall_s)
        return session


def as_text(result: ToolResult) -> str:
    """What a model reads: printed text, the value of a last expression, the error; no times and no sizes."""
    parts = [result.out.rstrip("\n"), "" if result.value is None else str(result.value), result.err.rstrip("\n")]
    if result.restarted:
        parts.append("(The session was started again: variables are lost.)")
    return "\n".join(part for part in parts if part) or "(no output)"
