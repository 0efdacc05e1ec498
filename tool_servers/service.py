"""One kind of tools behind a server: the sandbox that runs them, their schemas, and the canary that proves that it works."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnwise.errors import TurnwiseError, UnknownName
from turnwise.tool_servers.sandbox.protocol import Sandbox, SessionSpec, Status

__all__ = ["Canary", "Service"]

_FRESH_S = 5.0
"""How long a canary's answer is given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a server serves. Profiles share a sandbox; the first is the default."""

    kind: str
    sandbox: Sandbox
    tools: Mapping[str, Sequence[Mapping[str, Any]]]
    """Profile -> its tools: name, description and parameters (a JSON schema) of each."""
    canary: tuple[str, Mapping[str, Any]]
    """A tool of the default profile and arguments that must succeed."""
    canary_s: float = 1.0
    """Within this time, a fresh session included."""
    counts_memory: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Settings of sessions that a client opens without saying how (MCP)."""

    @property
    def profile(self) -> str:
        """The default."""
        return next(iter(self.tools))

    def tools_of(self, profile: str) -> Sequence[Mapping[str, Any]]:
        """The tools of a profile; UnknownName for a profile that is not served here."""
        if profile not in self.tools:
            raise UnknownName(f"profile of this {self.kind} server", profile, self.tools)
        return self.tools[profile]

    def names(self) -> set[str]:
        """Of all tools of all profiles."""
        return {tool["name"] for tools in self.tools.values() for tool in tools}


class Canary:
    """Opens a fresh session, runs a real call in it and closes it; the answer is kept for a moment."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._run: asyncio.Task[str] | None = None
        self._began = -_FRESH_S

    async def trouble(self) -> str:
        """What is wrong; "" if all is well."""
        stale = self._run is None or (self._run.done() and time.monotonic() - self._began > _FRESH_S)
        if self._run is None or stale:
            self._began = time.monotonic()
            self._run = asyncio.get_running_loop().create_task(self._sing())
        patience_s = self._service.canary_s
        done, _ = await asyncio.wait([self._run], timeout=max(0.0, self._began + patience_s - time.monotonic()))
        return self._run.result() if done else f"no answer in {patience_s:g} s"

    async def close(self) -> None:
        """Wait for the last one, so that its session is closed."""
        if self._run:
            await asyncio.wait([self._run])

    async def _sing(self) -> str:
        tool, arguments = self._service.canary
        spec = SessionSpec(
            id=f"canary-{os.urandom(8).hex()}", profile=self._service.profile, lease_s=30.0, settings=self._service.settings
        )
        began = time.monotonic()
        try:
            session = await self._service.sandbox.open(spec)
            try:
                result = await session.call(1, tool, arguments)
            finally:
                await session.close()
        except TurnwiseError as error:
            return str(error)
        took = time.monotonic() - began
        if result.status is not Status.OK:
            return f"{tool}: {result.status} {result.err[-300:]}".rstrip()
        return f"took {took:.1f} s" if took > self._service.canary_s else ""
