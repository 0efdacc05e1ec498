"""The records and protocols of a sandbox: open a session, call tools in it, fork it, close it.

A `ToolResult` tells what the *action* did, and may become an observation. What the *sandbox* did wrong is raised as
`SandboxFailure`, an InfraError, and becomes neither an observation nor a reward.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Protocol, Self

from turnwise.errors import ConfigError, TurnwiseError
from turnwise.tool_servers.sandbox.limits import Limits

__all__ = ["ForkRefused", "Level", "Sandbox", "Session", "SessionSpec", "Status", "ToolResult", "Usage", "checked_id"]

_ID = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,64}")


class Level(IntEnum):
    """How strongly a session is isolated; comparable, stronger is greater. Found by doing, never by looking for a program."""

    RLIMITS = 0
    """Resource limits only: the code reads what the user reads. Never chosen by itself."""
    LANDLOCK = 1
    """Landlock and seccomp: no files but its own, no network, no foreign processes; shares the kernel's namespaces."""
    NAMESPACES = 2
    """Own user, mount, pid, ipc, uts and net namespaces, with seccomp."""
    DOCKER = 3
    """A hardened container."""
    GVISOR = 4
    """A kernel of its own in user space (Docker with runsc)."""


class Status(StrEnum):
    """What an action did."""

    OK = "ok"
    ERROR = "error"
    """The code raised, the query was refused, an argument was wrong."""
    TIMEOUT = "timeout"
    """Stopped at its wall or CPU time."""
    MEMORY = "memory"
    OUTPUT = "output"
    """Stopped because it wrote without end."""
    DIED = "died"
    """The code ended its own process."""
    QUOTA = "quota"
    """The calls of this session are used up."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one call cost."""

    wall_ms: float = 0.0
    """From the start of the work; time in a queue is not in it."""
    cpu_ms: float = 0.0
    peak_mb: float = 0.0
    """Largest resident memory of the session's processes together, so far."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of one call."""

    status: Status
    out: str = ""
    """Standard output, invalid bytes replaced, the middle cut out beyond `Limits.output_kb`."""
    err: str = ""
    """Standard error, the traceback, or the one line that says which limit was met and how to stay within."""
    value: Any = None
    """JSON-able result of the tool. A claim of the code in the session: never a proof that a task is solved."""
    truncated: bool = False
    """Whether `out` or `err` was cut."""
    usage: Usage = Usage()
    seq: int = 0
    restarted: bool = False
    """Whether the session's process had to be replaced, so that variables are lost; files stay."""


def checked_id(value: object) -> str:
    """A session's id, or ConfigError."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ConfigError(f"session id: expected 1 to 64 of letters, digits, '-', '_' and '.', got {value!r}.")
    return value


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What to open. Opening the same spec under the same id again gives the same session; another spec is an error."""

    id: str
    """Chosen by the caller, once per trajectory: 1 to 64 of letters, digits, "-", "_" and "."."""
    profile: str = "python"
    """Name of what runs inside (`profiles.py`)."""
    limits: Limits = field(default_factory=Limits)
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Relative path -> content, put into the work folder before the first call."""
    seed: int = 0
    """Seeds the session's own generators (hash seed excepted), so that equal calls give equal results."""
    lease_s: float = 300.0
    """Seconds without a call after which the session is closed."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON-able settings of the profile's worker."""
    shared: tuple[str, ...] = ()
    """Names of folders that the sandbox was given; each is at /shared/NAME, read-only."""

    def __post_init__(self) -> None:
        checked_id(self.id)


class ForkRefused(TurnwiseError):
    """This session cannot be forked as it is (threads, children, open sockets): replay its calls in a fresh one instead."""


class Session(Protocol):
    """One isolated place. Calls of one session run one after the other."""

    @property
    def id(self) -> str: ...

    async def call(self, seq: int, tool: str, arguments: Mapping[str, Any], *, wall_s: float | None = None) -> ToolResult:
        """Run a tool. `seq` counts from 1: the next number runs, a number that ran gives its stored result again.

        `wall_s` shortens `Limits.wall_s` for this call. Raises SandboxFailure if the sandbox broke, ConfigError for a
        `seq` that is neither the next nor stored.
        """
        ...

    async def fork(self, ids: Sequence[str]) -> Sequence[Session]:
        """One independent copy per id, at this very point: same variables, files and stored results. Raises ForkRefused."""
        ...

    async def put(self, path: str, data: bytes) -> None:
        """Write a file below the work folder; ConfigError for a path that leaves it."""
        ...

    async def get(self, path: str, *, max_bytes: int = 1_000_000) -> bytes:
        """Read a regular file below the work folder; FileNotFoundError, or ConfigError if it is larger, outside, or no file."""
        ...

    async def close(self) -> None:
        """End it and everything it started. Closing again does nothing."""
        ...


class Sandbox(Protocol):
    """A place that opens sessions."""

    @property
    def level(self) -> Level: ...

    async def open(self, spec: SessionSpec) -> Session:
        """Raises SandboxFailure if no session can be had, ConfigError for a spec that cannot be right."""
        ...

    async def close(self) -> None:
        """Close every session and everything of this sandbox."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...
