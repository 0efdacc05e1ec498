"""What the process that the model's code lives in gives up, last of all before that code."""

import contextlib
import os
import signal
from dataclasses import dataclass

from turnwise.tool_servers.guest import kernel, landlock, seccomp
from turnwise.tool_servers.guest.plan import Bounds, Plan
from turnwise.tool_servers.guest.rlimits import set_limits

__all__ = ["Confinement", "filter_of", "first_to_go"]

_NICE = 10
"""Of the model's code: those who watch it come first."""


def filter_of(plan: Plan) -> bytes:
    """The filter of system calls at a plan's level."""
    if plan.level >= 2:
        return seccomp.program(seccomp.Policy(join=True))
    return seccomp.program(seccomp.Policy(families=(), signals=landlock.abi() >= 6))


def first_to_go(proc: int) -> None:
    """When memory runs out the kernel ends this process, not those who watch it. `proc`: an open procfs of the host."""
    with contextlib.suppress(OSError):
        fd = os.open("self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        os.write(fd, b"1000")
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Confinement:
    """Of one session."""

    plan: Plan
    bounds: Bounds
    folder: str
    """The work folder."""
    alone: bool
    """Whether the user it runs as has no processes but the session's."""

    def enter(self) -> None:
        """There is no way back. Raises OSError."""
        if self.plan.level < 2:
            kernel.die_with_parent(signal.SIGKILL)
        os.nice(_NICE)
        set_limits(self.bounds, count_processes=self.alone)
        kernel.no_new_privileges()
        kernel.drop_capabilities()
        kernel.dumpable(True)  # to its supervisor, which may be of the same user and no more
        if self.plan.level == 1:
            readable = [(p, landlock.READ) for p in self.plan.readable if os.path.exists(p)]
            devices = [(f"/dev/{n}", landlock.WRITE) for n in ("null", "zero", "full", "random", "urandom")]
            landlock.restrict([*readable, *devices, (self.folder, landlock.WRITE)])
        if self.plan.level >= 1:
            seccomp.apply(filter_of(self.plan))
