"""What processes use, read from procfs through an open directory, so that it works from any mount namespace."""

import contextlib
import fcntl
import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Meter", "Process"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_MAPS_QUERY = struct.Struct("QQ88x")
"""Its size, which areas are asked for, and what is left empty: from which address, room for the answer."""
_QUERY_MAPS = 3 << 30 | _MAPS_QUERY.size << 16 | ord("f") << 8 | 17
_NEXT_SHARED_WRITABLE = 0x10 | 0x08 | 0x02
_SHARED = (b" rw-s ", b" rwxs ", b" -w-s ", b" -wxs ")
"""What a list of areas says of those."""


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

    def read_all(self, path: str) -> bytes:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc), "rb") as file:
            return file.read()

    def open(self, path: str) -> int:
        """A descriptor of a folder, the caller's to close."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.proc)

    def process(self, pid: int) -> Process | None:
        """None once it is gone."""
        try:
            text = self.read(f"{pid}/stat")
        except OSError:
            return None
        f = text[text.rindex(b")") + 2 :].split(b" ", 23)
        cpu = sum(map(int, f[11:15])) * _TICK_MS
        return Process(pid, f[0].decode(), cpu, int(f[21]) * _PAGE, int(f[17]))

    def children(self, pid: int, threads: int = 1) -> list[int]:
        """Of the first thread, or of all if there are more; [] once it is gone."""
        try:
            found = self.read(f"{pid}/task/{pid}/children", 65536)
            if threads > 1:
                others = [t for t in self._tasks(pid) if t != str(pid)]
                found += b"".join(b" " + self.read(f"{pid}/task/{t}/children", 65536) for t in others)
        except OSError:
            return []
        return [int(p) for p in found.split()]

    def _tasks(self, pid: int) -> list[str]:
        fd = self.open(f"{pid}/task")
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def below(self, *roots: int) -> Iterator[Process]:
        """These and every descendant, parents first; those that have ended only if nobody has waited for them yet."""
        waiting = list(roots)
        while waiting:
            process = self.process(waiting.pop())
            if process is not None:
                yield process
                waiting += self.children(process.pid, process.threads)

    def end_below(
        self, roots: Callable[[], list[int]], seconds: float, chosen: Callable[[Process], bool] = lambda _: True
    ) -> bool:
        """SIGKILL to `roots` and every descendant that are `chosen`, until there is none: one that forks while we look is found
        in the next round. False if some are left after that time."""
        end, none, nap_s = time.monotonic() + seconds, 0, 0.0005
        while none < 2:  # the kernel may leave one out of its list while another one exits
            alive = [p for p in self.below(*roots()) if not p.gone and chosen(p)]
            none = 0 if alive else none + 1
            for process in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            if time.monotonic() > end:
                return False
            if alive:
                time.sleep(nap_s)
                nap_s = min(2 * nap_s, 0.01)
        return True

    def link(self, path: str) -> str:
        """Target of a link such as "123/ns/mnt"; "" if there is none."""
        try:
            return os.readlink(path, dir_fd=self.proc)
        except OSError:
            return ""

    def shares_memory(self, pid: int) -> bool:
        """Whether it and its forks would write to some memory together. Linux 6.11 looks itself, others list everything. Raises
        OSError once it is gone."""
        with os.fdopen(os.open(f"{pid}/maps", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc), "rb") as maps:
            try:
                fcntl.ioctl(maps, _QUERY_MAPS, bytearray(_MAPS_QUERY.pack(_MAPS_QUERY.size, _NEXT_SHARED_WRITABLE)))
                return True
            except FileNotFoundError:  # there is none
                return False
            except OSError:
                text = maps.read()
        return any(rights in text for rights in _SHARED)

    def fair_share(self, pid: int) -> int | None:
        """Resident bytes, shared pages divided among those that share them; slow for large processes. None if not to be had."""
        try:
            for line in self.read(f"{pid}/smaps_rollup", 4096).splitlines():
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            return None
        return None
