"""Memory, process counts and share of the processor of a session held by the kernel, where we may make control groups.

Version 1 and 2. In the `cpu` controller all sessions together weigh as much as one process of the server, and one session as much
as another, however many processes it has. Behind them comes a session that owes time while its processes are replaced; and last,
in time that nobody else wants, those whose call has used much already. Those who watch are not among the sessions but beside
them: whatever sessions use up makes no supervisor late. Where there is no such controller the other two must do.

    <our own group, or one above it> / turnwise-<pid>-<start>-<number> / s<number>
                                                                       / nursery
                                     / turnwise-<pid>-<start>-<number>-watch

Found by doing: a group is made, a limit set, a process moved into it, the group removed.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["PREFIX", "Counter", "Group", "Groups", "Pace", "container_counter", "discard", "find_groups", "leftovers"]

_MEMORY = {1: "memory.limit_in_bytes", 2: "memory.max"}
_ANONYMOUS = {1: "rss", 2: "anon"}
_WANTED = ("memory", "pids")
_WELCOME = "cpu"
_COSTS = "cpuacct"
_USED = {1: "cpuacct.usage", 2: "cpu.stat"}
_WEIGHTS = {1: ("cpu.shares", ("2", "64", "1024", "262144")), 2: ("cpu.weight", ("1", "6", "100", "10000"))}
"""File, and for each pace the least it takes, a sixteenth of the kernel's default, that, and the most."""
_WATCHERS = {1: "8192", 2: "800"}
"""Of those who watch: eight processes of the server, for they work in short bursts. Not more, or the kernel's own threads, which
free what dead processes leave, wait for them."""
_IDLE = "cpu.idle"
"""Linux 5.15: whatever is not idle runs at once in the place of what is."""
_WATCH, _NURSERY = "watch", "nursery"
PREFIX = "turnwise-"


class Pace(IntEnum):
    """When a session's processes get the processor."""

    LAST = 0
    LATE = 1
    USUAL = 2
    FIRST = 3


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


def _soon(done: Callable[[], bool], seconds: float) -> bool:
    """Look again and again; False if it is not done after that time."""
    nap_s, end = 0.0005, time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(nap_s)
        nap_s = min(2 * nap_s, 0.01)
    return True


@dataclass(frozen=True, slots=True)
class Counter:
    """CPU that a group has used, its file held open."""

    fd: int
    version: int

    def ms(self) -> float:
        used = int(os.pread(self.fd, 4096, 0).removeprefix(b"usage_usec ").split(None, 1)[0])
        return used / (1e6 if self.version == 1 else 1e3)


class Group:
    """The control group of one session."""

    def __init__(self, groups: "Groups", name: str) -> None:
        self.groups, self.name = groups, name
        self._events = self._tasks = -1
        self._used: Counter | None = None
        self._pace = Pace.USUAL

    def add(self, pid: int) -> None:
        """0: this process."""
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

    def tasks(self) -> int:
        """Processes and threads in it, also those that have ended and were not waited for yet."""
        if self._tasks < 0:
            self._tasks = os.open(f"{self.name}/pids.current", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.groups.folders["pids"])
        return int(os.pread(self._tasks, 64, 0))

    def cpu_ms(self) -> float | None:
        """CPU of all processes that ever were in it, also of those that nobody waited for; None if the kernel does not count."""
        if self._used is None and (folder := self.groups.folders.get(_COSTS)) is not None:
            version = self.groups.version
            fd = os.open(f"{self.name}/{_USED[version]}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
            self._used = Counter(fd, version)
        return self._used.ms() if self._used else None

    def anonymous(self) -> int:
        """Bytes of memory that belong to no file, each page counted once."""
        text = "\n" + _read(self.groups.folders["memory"], f"{self.name}/memory.stat")
        return int(text.partition(f"\n{_ANONYMOUS[self.groups.version]} ")[2].split(None, 1)[0])

    def pace(self, pace: Pace) -> None:
        """From now on, for all its processes."""
        was, self._pace = self._pace, pace
        if pace is was or (cpu := self.groups.folders.get(_WELCOME)) is None:
            return
        name, weights = _WEIGHTS[self.groups.version]
        steps = [(name, weights[pace])]
        steps = [(_IDLE, "0"), *steps] if was is Pace.LAST else steps
        for file, text in [*steps, (_IDLE, "1")] if pace is Pace.LAST else steps:
            with contextlib.suppress(OSError):
                _write(cpu, f"{self.name}/{file}", text)

    @property
    def late(self) -> bool:
        return self._pace is Pace.LATE

    def faster(self) -> Pace:
        """Before more of the others than now."""
        return Pace.USUAL if self._pace < Pace.USUAL else Pace.FIRST

    @contextlib.contextmanager
    def first(self) -> Generator[None]:
        """Before all other sessions, for as long as it lasts: a killed process needs the processor once more to be gone. Then as
        before."""
        was = self._pace
        self.pace(Pace.FIRST)
        try:
            yield
        finally:
            self.pace(was)

    def doom_all_but(self, kept: int, seconds: float) -> bool:
        """SIGKILL to every process but one, until no other shows up: none of them runs any further, but to be gone may take them
        long, for on the way they wait for locks that other sessions hold. False if there are still more after that time."""
        doomed = set[int]()

        def no_more() -> bool:
            found = self._kill_all_but(kept) - doomed
            doomed.update(found)
            return not found

        return _soon(no_more, seconds)

    def end_all_but(self, kept: int, seconds: float) -> bool:
        """SIGKILL to every process but one, until they are gone and waited for. False if some are left after that time."""
        return _soon(lambda: not self._kill_all_but(kept) and self.tasks() <= 1, seconds)

    def buried(self, seconds: float, left: int) -> bool:
        """Wait until all but so many are waited for: until then the others count. False if more are left after that time."""
        return _soon(lambda: self.tasks() <= left, seconds)

    def _kill_all_but(self, kept: int) -> set[int]:
        """Those that were there; who has ended is in the list no longer."""
        found = map(int, _read(self.groups.folders["pids"], f"{self.name}/cgroup.procs").split())
        alive = set(found) - {0, kept}
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return alive

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
        return self.known(name)

    def known(self, name: str) -> Group:
        """One that is there."""
        return Group(self, name)

    def watch(self) -> None:
        """From now on this process and its children go before all sessions: they are ours, and a time limit needs them."""
        self._join(self._beside, _WATCHERS[self.version])

    def rear(self) -> None:
        """From now on this process goes as one session among all: it makes what sessions live in, and no time limit needs it."""
        self._join(_NURSERY, _WEIGHTS[self.version][1][Pace.USUAL])

    @property
    def _beside(self) -> str:
        return f"../{self.name}-{_WATCH}"

    def _join(self, name: str, weight: str) -> None:
        if (cpu := self.folders.get(_WELCOME)) is not None:
            with contextlib.suppress(OSError):
                os.mkdir(name, 0o755, dir_fd=cpu)
                _write(cpu, f"{name}/cgroup.procs", str(os.getpid()))
                _write(cpu, f"{name}/{_WEIGHTS[self.version][0]}", weight)

    def clear(self) -> None:
        """End what is in any of our groups, then remove them and the folder."""
        found = {entry.name for folder in set(self.folders.values()) for entry in os.scandir(folder) if entry.is_dir()}
        for name in (*found, self._beside):
            group = Group(self, name)
            with contextlib.suppress(OSError):
                for pid in _read(self.folders["pids"], f"{name}/cgroup.procs").split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.remove_soon()
        self.remove()

    def remove(self) -> None:
        """Itself, once no session is left in it; whoever leaves last succeeds."""
        if (cpu := self.folders.get(_WELCOME)) is not None:
            with contextlib.suppress(OSError):
                _write(cpu, "../cgroup.procs", str(os.getpid()))  # back to where we came from
            for name in (self._beside, _NURSERY):
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=cpu)
        for folder in set(self.folders.values()):
            with contextlib.suppress(OSError):
                os.rmdir(f"../{self.name}", dir_fd=folder)


def _lines(path: str) -> list[str]:
    with open(path) as file:
        return file.read().splitlines()


def _mounts() -> Iterator[tuple[int, set[str], str, str]]:
    """(version, controllers, root of the mount, mount point) of every cgroup file system."""
    for line in _lines("/proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = left.split()
            yield (1 if kind == "cgroup" else 2), set(options.split(" ")[-1].split(",")), fields[3], fields[4]


def _own() -> dict[str, str]:
    """Controller -> our group; "" is version 2."""
    own: dict[str, str] = {}
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    return own


def _candidates() -> Iterator[tuple[int, dict[str, str]]]:
    """Where our folder may go: controller -> parent folder."""
    own, places = _own(), dict[str, str]()
    for version, options, root, point in _mounts():
        for controller in (*_WANTED, _WELCOME, _COSTS):
            if version == 1 and controller in options and controller in own:
                here = os.path.relpath(own[controller], root)
                places[controller] = point if here.startswith("..") else os.path.normpath(f"{point}/{here}")
        if version == 2 and "" in own:
            here = os.path.normpath(f"{point}/{os.path.relpath(own[''], root)}") if own[""].startswith(root) else point
            while here.startswith(f"{point}/"):
                yield 2, dict.fromkeys((*_WANTED, _WELCOME, _COSTS), here)
                here = os.path.dirname(here)
            yield 2, dict.fromkeys((*_WANTED, _WELCOME, _COSTS), point)
    if all(controller in places for controller in _WANTED):
        yield 1, places
        yield 1, {controller: places[controller] for controller in _WANTED}


def container_counter() -> Counter | None:
    """Of the container that we are in, where it shows its control group, which it may not change; None where it does not."""
    for version, options, _, point in sorted(_mounts(), key=lambda mount: mount[0]):
        if version == 2 or _COSTS in options:
            with contextlib.suppress(OSError):
                return Counter(os.open(f"{point}/{_USED[version]}", os.O_RDONLY | os.O_CLOEXEC), version)
    return None


def find_groups(name: str) -> Groups | None:
    """A folder of that name, proven to work by use; None where we may not, or a controller is missing."""
    for version, places in _candidates():
        made: dict[str, int] = {}
        try:
            for parent in dict.fromkeys(places.values()):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(f"{parent}/{name}")
                made[parent] = os.open(f"{parent}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            groups = Groups(version, name, {c: made[p] for c, p in places.items()})
            if version == 2:
                (folder,) = made.values()
                _write(folder, "cgroup.subtree_control", " ".join(f"+{c}" for c in _WANTED))
                with contextlib.suppress(OSError):
                    _write(folder, "cgroup.subtree_control", f"+{_WELCOME}")
            _prove(groups)
            return groups
        except OSError:
            for parent, folder in made.items():
                os.close(folder)
                with contextlib.suppress(OSError):
                    os.rmdir(f"{parent}/{name}")
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
        for folder in {f"{parent}/{name}" for parent in places.values()}:
            with contextlib.suppress(OSError):
                with os.scandir(folder) as entries:
                    for inner in entries:
                        if inner.is_dir():
                            os.rmdir(inner)
                os.rmdir(folder)


def leftovers() -> set[str]:
    """Names of groups like ours, whoever made them."""
    found: set[str] = set()
    for parent in {parent for _, places in _candidates() for parent in places.values()}:
        with contextlib.suppress(OSError):
            found |= {name for name in os.listdir(parent) if name.startswith(PREFIX)}
    return found
