"""Memory, process counts and share of the processor of a session held by the kernel, where we may make control groups.

Version 1 and 2. In the `cpu` controller all sessions together weigh as much as one process of the server, and one session as much
as another, however many processes it has; only one that is being ended goes first. Where there is no such controller the other
two must do.

    <our own group, or one above it> / turnwise-<pid>-<start> / s<number>

Found by doing: a group is made, a limit set, a process moved into it, the group removed.
"""

import contextlib
import os
import signal
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PREFIX", "Group", "Groups", "discard", "find_groups", "leftovers"]

_MEMORY = {1: "memory.limit_in_bytes", 2: "memory.max"}
_WANTED = ("memory", "pids")
_WELCOME = "cpu"
_WEIGHTS = {1: ("cpu.shares", "1024", "262144"), 2: ("cpu.weight", "100", "10000")}
"""File, the kernel's default, and the most it takes."""
PREFIX = "turnwise-"


def _write(folder: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(folder: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(fd, 4096).decode()
    finally:
        os.close(fd)


class Group:
    """The control group of one session."""

    def __init__(self, groups: "Groups", name: str) -> None:
        self.groups, self.name = groups, name
        self._events = -1

    def add(self, pid: int) -> None:
        for folder in self._folders():
            _write(folder, f"{self.name}/cgroup.procs", str(pid))

    def limit(self, memory_mb: int, processes: int) -> None:
        memory, pids = self.groups.folders["memory"], self.groups.folders["pids"]
        limit = str(memory_mb << 20)
        swap, most = ("memory.memsw.limit_in_bytes", limit) if self.groups.version == 1 else ("memory.swap.max", "0")
        for name, text in ((swap, most), (_MEMORY[self.groups.version], limit), (swap, most)):  # neither may pass the other
            with contextlib.suppress(OSError):  # no swap accounting, or the second time will do
                _write(memory, f"{self.name}/{name}", text)
        _write(pids, f"{self.name}/pids.max", str(processes))

    def kills(self) -> int:
        """Processes that the kernel ended so far because the memory was used up."""
        if self._events < 0:
            name = "memory.oom_control" if self.groups.version == 1 else "memory.events"
            self._events = os.open(f"{self.name}/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.groups.folders["memory"])
        return int(os.pread(self._events, 4096, 0).partition(b"oom_kill ")[2].split(None, 1)[0])

    @contextlib.contextmanager
    def first(self) -> Generator[None]:
        """Before all other sessions, for as long as it lasts: a killed process needs the processor once more to be gone."""
        name, usual, most = _WEIGHTS[self.groups.version]
        self._weigh(name, most)
        try:
            yield
        finally:
            self._weigh(name, usual)

    def _weigh(self, name: str, weight: str) -> None:
        if (cpu := self.groups.folders.get(_WELCOME)) is not None:
            with contextlib.suppress(OSError):
                _write(cpu, f"{self.name}/{name}", weight)

    def remove_soon(self) -> bool:
        """Remove it as soon as its last process, which has been killed, is gone; False if that took too long."""
        for _ in range(400):
            if self.remove():
                return True
            time.sleep(0.005)
        return False

    def remove(self) -> bool:
        """Whether nothing of it is left; False while a process is still on its way out."""
        for folder in self._folders():
            try:
                os.rmdir(self.name, dir_fd=folder)
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True

    def _folders(self) -> set[int]:
        return set(self.groups.folders.values())


@dataclass(frozen=True, slots=True)
class Groups:
    """Our folder of groups: an open directory for each controller (version 2: twice the same)."""

    version: int
    name: str
    folders: Mapping[str, int]

    def group(self, name: str) -> Group:
        for folder in set(self.folders.values()):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=folder)
        return Group(self, name)

    def clear(self) -> None:
        """End what is in any of our groups, then remove them and the folder."""
        for name in {n for folder in set(self.folders.values()) for n in os.listdir(folder)}:
            group = Group(self, name)
            with contextlib.suppress(OSError):
                for pid in _read(self.folders["pids"], f"{name}/cgroup.procs").split():
                    os.kill(int(pid), signal.SIGKILL)
                group.remove_soon()
        self.remove()

    def remove(self) -> None:
        """Itself, once no session is left in it; whoever leaves last succeeds."""
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                os.rmdir(f"../{self.name}", dir_fd=folder)


def _mounts() -> Iterator[tuple[int, set[str], str, str]]:
    """(version, controllers, root of the mount, mount point) of every cgroup file system."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = left.split()
            yield (1 if kind == "cgroup" else 2), set(options.split(" ")[-1].split(",")), fields[3], fields[4]


def _own() -> dict[str, str]:
    """Controller -> our group; "" is version 2."""
    own: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    return own


def _candidates() -> Iterator[tuple[int, dict[str, Path]]]:
    """Where our folder may go: controller -> parent folder."""
    own, places = _own(), dict[str, Path]()
    for version, options, root, point in _mounts():
        for controller in (*_WANTED, _WELCOME):
            if version == 1 and controller in options and controller in own:
                here = os.path.relpath(own[controller], root)
                places[controller] = Path(point) if here.startswith("..") else Path(point, here)
        if version == 2 and "" in own:
            here = Path(point, os.path.relpath(own[""], root)) if own[""].startswith(root) else Path(point)
            for folder in (here, *here.parents):
                if folder.is_relative_to(point):
                    yield 2, dict.fromkeys((*_WANTED, _WELCOME), folder)
    if all(controller in places for controller in _WANTED):
        yield 1, places
        yield 1, {controller: places[controller] for controller in _WANTED}


def find_groups(name: str) -> Groups | None:
    """A folder of that name, proven to work by use; None where we may not, or a controller is missing."""
    for version, places in _candidates():
        made: list[Path] = []
        try:
            for parent in dict.fromkeys(places.values()):
                (parent / name).mkdir(exist_ok=True)
                made.append(parent / name)
            if version == 2:
                (made[0] / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in _WANTED))
                with contextlib.suppress(OSError):
                    (made[0] / "cgroup.subtree_control").write_text(f"+{_WELCOME}")
            folders = {p: os.open(p / name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for p in dict.fromkeys(places.values())}
            groups = Groups(version, name, {c: folders[p] for c, p in places.items()})
            _prove(groups)
            return groups
        except OSError:
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
    return None


def _prove(groups: Groups) -> None:
    group = groups.group(f"probe{os.getpid()}")
    child = os.fork()
    if not child:
        try:
            group.limit(64, 8)
            group.add(os.getpid())
            group.kills()
            limited = _read(groups.folders["memory"], f"{group.name}/{_MEMORY[groups.version]}").strip() == str(64 << 20)
            os._exit(0 if limited else 1)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if not group.remove() or status:
        raise OSError("a group could be made, but not used")


def discard(name: str) -> None:
    """Groups that whoever made them can no longer remove; what still holds a process stays."""
    for _, places in _candidates():
        for folder in {parent / name for parent in places.values()}:
            with contextlib.suppress(OSError):
                for inner in folder.glob("*/"):
                    inner.rmdir()
                folder.rmdir()


def leftovers() -> set[str]:
    """Names of groups like ours, whoever made them."""
    return {f.name for _, places in _candidates() for parent in set(places.values()) for f in parent.glob(f"{PREFIX}*")}
