"""Limits that a process carries itself and passes on to its children; the second line behind the supervisor."""

import contextlib
import resource

from turnwise.tool_servers.guest.plan import Bounds

__all__ = ["raise_process_limit", "set_limits"]

_ADDRESS_SPACE_MB = 4096
"""On top of the memory limit: threads and numeric libraries reserve far more than they use."""
_KINDS = ("AS", "CPU", "NOFILE", "FSIZE", "NPROC", "CORE", "MEMLOCK", "MSGQUEUE", "NICE", "RTPRIO", "SIGPENDING")
_MOST = {kind: resource.getrlimit(kind)[1] for kind in (getattr(resource, f"RLIMIT_{name}") for name in _KINDS)}
"""What the machine allows, by kind."""
MOST_PROCESSES = 4096
"""Hard bound of a family of forks; the soft one is the session's, and nobody inside may raise it."""


def set_limits(bounds: Bounds, count_processes: bool) -> None:
    """Of this process. `count_processes`: the kernel counts a user's processes, and this user has none but the session's (and
    its init, the one more)."""
    space = (_ADDRESS_SPACE_MB + bounds.memory_mb) << 20
    cpu = int(bounds.cpu_s) + 2
    disk = bounds.disk_mb << 20
    for kind, soft, hard in (
        (resource.RLIMIT_AS, space, space),
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_NOFILE, bounds.open_files, bounds.open_files),
        (resource.RLIMIT_FSIZE, disk, disk),
        *([(resource.RLIMIT_NPROC, bounds.processes + 1, MOST_PROCESSES)] if count_processes else []),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
        (resource.RLIMIT_NICE, 0, 0),
        (resource.RLIMIT_RTPRIO, 0, 0),
        (resource.RLIMIT_SIGPENDING, 256, 256),
    ):
        most = _MOST[kind]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))


def raise_process_limit(pids: list[int], processes: int) -> None:
    """For sessions of our user, which is what the kernel asks for; they themselves may change no limit."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            hard = resource.prlimit(pid, resource.RLIMIT_NPROC)[1]
            resource.prlimit(pid, resource.RLIMIT_NPROC, (min(hard, processes), hard))
