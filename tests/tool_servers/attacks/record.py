"""What an attack is: what it tries, the code that tries it, and when it counts as held."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Status

__all__ = ["ANY", "BOUNDS", "ENDED", "Attack", "Finding", "Verdict"]

BOUNDS = Limits(
    wall_s=5, cpu_s=20, memory_mb=128, processes=16, open_files=64, disk_mb=16, inodes=512, output_stop_mb=8, value_kb=256
)
"""What a session under attack may use: small, so that a bomb that works does no harm to the machine either."""
ANY = tuple(s for s in Status if s is not Status.QUOTA)
ENDED = (Status.TIMEOUT, Status.DIED, Status.ERROR, Status.MEMORY)
"""Whatever stopped it, it did not get through."""


class Verdict(StrEnum):
    """What came of an attack."""

    HELD = "held"
    REACHED = "reached"
    """It got what it was after."""
    BROKE = "broke"
    """It got nothing, but the sandbox failed: a model could so make its own failures look like the machine's."""
    SKIPPED = "skipped"
    """Never run there: it would harm the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack. The code runs as a cell after `kit.py`, with its targets in `T`; printing "REACHED ..." is a confession."""

    name: str
    tries: str
    """One line for people."""
    code: str
    statuses: tuple[Status, ...] = (Status.OK, Status.ERROR)
    """How the call may end if the wall holds."""
    alone: bool = False
    """Whether the session is of no use afterwards; the others share one, call after call."""
    dangerous: bool = False
    """Never run without a sandbox: it would end or stop processes of others, or take the machine."""
    kernel: bool = False
    """Whether it only shows that a door into the kernel is open; a sandbox with a kernel of its own may answer itself."""
    wall_s: float = 4.0
    after: str = ""
    """Name of a further judge in `judges.py`, which looks at the session afterwards from outside."""
    most_processes: int = 64
    """Seen from outside at one time; the sandbox's own are among them."""
    most_memory_mb: int = 320
    """Seen from outside at one time: private and shared memory of all processes of the session."""
    limits: Limits = field(default=BOUNDS)


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one attack and what was seen from outside."""

    name: str
    verdict: Verdict
    evidence: tuple[str, ...] = ()
    status: str = ""
    said: str = ""
    """The end of what it wrote to standard error."""
