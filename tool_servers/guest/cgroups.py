"""Memory, process counts and share of the processor of a session held by the kernel, where we may make control groups.

Version 1 and 2. In the `cpu` controller all sessions together weigh as much as one process of the server, and one session as much
as another, however many processes it has. Behind them comes a session that owes time while its processes are replaced; and last,
in time that nobody else wants, those whose call has used much already (`pace`). Those who watch are not among the sessions but
beside them: whatever sessions use up makes no supervisor late. Where there is no such controller the other two must do.

    <our own group, or one above it> / turnwise-<pid>-<start>-<number> / s<number>
                                                                       / rear / s<number>
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

from turnwise.tool_servers.guest.pace import NORMAL, REAR, Pace, Place, read_at, write_at

__all__ = ["PREFIX", "Counter", "Group", "Groups", "container_counter", "discard", "find_groups", "leftovers"]

_MEMORY = {1: "memory.limit_in_bytes", 2: "memory.max"}
_ANONYMOUS = {1: "rss", 2: "anon"}
_WANTED = ("memory", "pids")
_WELCOME = "cpu"
_COSTS = "cpuacct"
_USED = {1: "cpuacct.usage", 2: "cpu.stat"}
_WATCHERS = {1: "8192", 2: "800"}
"""Of those who watch: eight processes of the server, for they work in short bursts. Not more, or the kernel's own threads, which
free what dead processes leave, wait for them."""
_WATCH, _NURSERY = "watch", "nursery"
PREFIX = "turnwise-"


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

    def __init__(self, groups: "Groups", path: str) -> None:
        """`path`: its name, or where it is in the controller `cpu`."""
        self.groups, self.name = groups, path.removeprefix(f"{REAR}/")
        self.place = Place(groups.folders.get(_WELCOME), groups.version, path, groups.apart)
        self._events = self._tasks = -1
        self._used: list[Counter] = []

    def add(self, pid: int) -> None:
        """0: this process."""
        for folder in self._folders():
            path = self.place.path if folder == self.groups.cpu else self.name
            write_at(folder, f"{path}/cgroup.procs", str(pid))

    def limit(self, memory_mb: int, processes: int) -> None:
        memory, pids = self.groups.folders["memory"], self.groups.folders["pids"]
        limit = str(memory_mb << 20)
        swap, most = ("memory.memsw.limit_in_bytes", limit) if self.groups.version == 1 else ("memory.swap.max", "0")
        for name, text in ((swap, most), (_MEMORY[self.groups.version], limit), (swap, most)):  # neither may pass the other
            with contextlib.suppress(OSError):  # no swap accounting, or the second time will do
                write_at(memory, f"{self.name}/{name}", text)
        write_at(pids, f"{self.name}/pids.max", str(processes))

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
        if (folder := self.groups.folders.get(_COSTS)) is None:
            return None
        paths = self.place.paths if folder == self.groups.cpu else [self.name]
        for path in paths[len(self._used) :]:
            with contextlib.suppress(FileNotFoundError):  # it never was in the rear
                file = f"{path}/{_USED[self.groups.version]}"
                self._used.append(Counter(os.open(file, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder), self.groups.version))
        return sum(counter.ms() for counter in self._used)

    def anonymous(self) -> int:
        """Bytes of memory that belong to no file, each page counted once."""
        text = "\n" + read_at(self.groups.folders["memory"], f"{self.name}/memory.stat")
        return int(text.partition(f"\n{_ANONYMOUS[self.groups.version]} ")[2].split(None, 1)[0])

    @contextlib.contextmanager
    def at(self, pace: Pace) -> Generator[None]:
        """At this pace as long as it lasts: a killed process needs the processor once more to be gone. Then as before."""
        was = self.place.now
        self.place.pace(pace)
        try:
            yield
        finally:
            self.place.pace(was)

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
        found = map(int, read_at(self.groups.folders["pids"], f"{self.name}/cgroup.procs").split())
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
            for path in reversed(self.place.paths) if folder == self.groups.cpu else [self.name]:
                try:
                    os.rmdir(path, dir_fd=folder)
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

    @property
    def cpu(self) -> int | None:
        """The folder in the controller that shares the processor."""
        return self.folders.get(_WELCOME)

    @property
    def apart(self) -> bool:
        """Whether that one has a tree of its own."""
        return self.cpu is not None and self.cpu not in [self.folders[controller] for controller in _WANTED]

    def group(self, name: str) -> Group:
        for folder in set(self.folders.values()):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=folder)
        return self.known(name)

    def known(self, path: str) -> Group:
        """One that is there, by its name or the path of its place."""
        return Group(self, path)

    def watch(self) -> None:
        """From now on this process and its children go before all sessions: they are ours, and a time limit needs them."""
        self._join(self._beside, _WATCHERS[self.version])

    def rear(self) -> None:
        """From now on this process goes as one session among all: it makes what sessions live in, and no time limit needs it."""
        self._join(_NURSERY, NORMAL[self.version][1])

    @property
    def _beside(self) -> str:
        return f"../{self.name}-{_WATCH}"

    def _join(self, name: str, weight: str) -> None:
        if (cpu := self.cpu) is not None:
            with contextlib.suppress(OSError):
                os.mkdir(name, 0o755, dir_fd=cpu)
                write_at(cpu, f"{name}/cgroup.procs", str(os.getpid()))
                write_at(cpu, f"{name}/{NORMAL[self.version][0]}", weight)

    def clear(self) -> None:
        """End what is in any of our groups, then remove them and the folder."""
        found = {entry.name for folder in set(self.folders.values()) for entry in os.scandir(folder) if entry.is_dir()}
        for name in (*(found - {REAR}), self._beside):
            group = Group(self, name)
            with contextlib.suppress(OSError):
                for pid in read_at(self.folders["pids"], f"{name}/cgroup.procs").split():
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.remove_soon()
        self.remove()

    def remove(self) -> None:
        """Itself, once no session is left in it; whoever leaves last succeeds."""
        if (cpu := self.cpu) is not None:
            with contextlib.suppress(OSError):
                write_at(cpu, "../cgroup.procs", str(os.getpid()))  # back to where we came from
            for name in (self._beside, _NURSERY, REAR):
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
                write_at(folder, "cgroup.subtree_control", " ".join(f"+{c}" for c in _WANTED))
                with contextlib.suppress(OSError):
                    write_at(folder, "cgroup.subtree_control", f"+{_WELCOME}")
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
            limited = read_at(groups.folders["memory"], f"{group.name}/{_MEMORY[groups.version]}").strip() == str(64 << 20)
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
                for inner, _, _ in os.walk(folder, topdown=False):
                    os.rmdir(inner)


def leftovers() -> set[str]:
    """Names of groups like ours, whoever made them."""
    found: set[str] = set()
    for parent in {parent for _, places in _candidates() for parent in places.values()}:
        with contextlib.suppress(OSError):
            found |= {name for name in os.listdir(parent) if name.startswith(PREFIX)}
    return found
