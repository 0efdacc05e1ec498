"""What processes use, read from procfs through an open directory, so that it works from any mount namespace."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Meter", "Process"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of procfs."""

    pid: int
    state: str
    cpu_ms: float
    """Its own and that of its children that it has waited for."""
    rss: int
    """Resident bytes."""
    threads: int

    @property
    def gone(self) -> bool:
        return self.state in "ZX"


class Meter:
    """A view of the host's processes."""

    def __init__(self, proc: int) -> None:
        """`proc`: an open procfs directory."""
        self.proc = proc

    def read(self, path: str, size: int = 4096) -> bytes:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc)
        try:
            return os.read(fd, size)
        finally:
            os.close(fd)

    def process(self, pid: int) -> Process | None:
        """None once it is gone."""
        try:
            text = self.read(f"{pid}/stat")
        except OSError:
            return None
        f = text[text.rindex(b")") + 2 :].split(b" ", 23)
        cpu = sum(map(int, f[11:15])) * _TICK_MS
        return Process(pid, f[0].decode(), cpu, int(f[21]) * _PAGE, int(f[17]))

    def children(self, pid: int) -> list[int]:
        """Of all its threads; [] once it is gone."""
        try:
            found = self.read(f"{pid}/task/{pid}/children", 65536)
            tasks = [t for t in self._tasks(pid) if t != str(pid)]
            found += b"".join(b" " + self.read(f"{pid}/task/{t}/children", 65536) for t in tasks)
        except OSError:
            return []
        return [int(p) for p in found.split()]

    def _tasks(self, pid: int) -> list[str]:
        fd = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.proc)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def below(self, root: int) -> Iterator[int]:
        """Every descendant, parents first."""
        waiting = self.children(root)
        while waiting:
            pid = waiting.pop()
            yield pid
            waiting += self.children(pid)

    def link(self, path: str) -> str:
        """Target of a link such as "123/ns/mnt"; "" if there is none."""
        try:
            return os.readlink(path, dir_fd=self.proc)
        except OSError:
            return ""

    def fair_share(self, pid: int) -> int | None:
        """Resident bytes, shared pages divided among those that share them; slow for large processes. None if not to be had."""
        try:
            for line in self.read(f"{pid}/smaps_rollup", 4096).splitlines():
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            return None
        return None
