"""The two records that cross into the guest: what a zygote prepares, and what one session may use."""

import sys
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FOLDERS", "NOBODY", "SHARED", "WORK", "Bounds", "Plan"]

NOBODY = 65534
"""User and group that the model's code sees itself as."""
WORK = "/work"
FOLDERS = (WORK, "/tmp", "/dev/shm")
"""What a session may write to, where it has a file system of its own."""
SHARED = "/shared"
"""Where folders that sessions asked for are, by name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a zygote prepares once."""

    profile: str
    worker: str
    """Path of the worker's file."""
    level: int
    """A `Level` as a number: 0 rlimits, 1 landlock, 2 namespaces."""
    imports: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    """Folders added to the import path."""
    readable: tuple[str, ...] = ()
    """Host paths that sessions read, at the same place; what does not exist is left out."""
    shared: dict[str, str] = field(default_factory=dict[str, str])
    """Name -> host path of a folder that a session sees at `SHARED`/name if it asks for it."""
    group: str = ""
    """Name of the cgroup that sessions' groups go into; "" for none."""
    contained: bool = False
    """Whether we are in a container that holds nothing else: what it uses is the session's."""
    first_user: int = 0x70000000
    """As root, a session runs as user `first_user` + process id of its supervisor: no two that share a kernel share one."""

    @property
    def apart(self) -> bool:
        """Whether the imports are in a process of their own, see `nursery`, where there are namespaces: for large ones that saves
        more than it costs, and those of the standard library are small."""
        return any(name.partition(".")[0] not in sys.stdlib_module_names for name in self.imports)


@dataclass(frozen=True, slots=True)
class Bounds:
    """One session: `Limits` field for field (units there), and what its worker gets."""

    wall_s: float
    cpu_s: float
    memory_mb: int
    processes: int
    open_files: int
    disk_mb: int
    inodes: int
    output_kb: int
    output_stop_mb: int
    value_kb: int
    calls: int
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    shared: tuple[str, ...] = ()
