"""Whose a container is: the process that opened it, named so that no later process can be taken for it.

A container dies with its owner by itself, for its standard input ends. The labels are the second net, for engines that were
restarted or hung in that moment: whoever starts next removes what belongs to a process that is provably gone.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["LABEL", "Owner", "process_start"]

LABEL = "turnwise.owner"
"""Every container of ours has this label; its value is an `Owner` as text."""


def process_start(pid: int) -> str:
    """Clock ticks from boot to the start of a process; "" if there is no such process, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]  # field 22 of proc(5); the name in field 2 may hold blanks


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").removeprefix("pid:")
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, for good: a pid that is used again has another start, a machine that was started again another boot id."""

    host: str
    """For people; two machines may have the same name."""
    boot: str
    namespace: str
    """The pid namespace that `pid` counts in."""
    pid: int
    start: str

    @classmethod
    def this_process(cls) -> Self:
        pid = os.getpid()
        return cls(socket.gethostname(), _boot_id(), _pid_namespace(), pid, process_start(pid))

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Self | None:
        """The owner a container's labels name; None if they name none."""
        parts = labels.get(LABEL, "").split("/")
        if len(parts) != 5 or not parts[3].isdecimal():
            return None
        host, boot, namespace, pid, start = parts
        return cls(host, boot, namespace, int(pid), start)

    def __str__(self) -> str:
        return "/".join((self.host, self.boot, self.namespace, str(self.pid), self.start))

    def is_gone(self) -> bool:
        """Whether that process has surely ended. False for every process that cannot be seen from here."""
        if not self.boot or not self.start or (self.boot, self.namespace) != (_boot_id(), _pid_namespace()):
            return False
        return process_start(self.pid) != self.start
