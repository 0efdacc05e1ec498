"""What a session uses, seen from outside, and the end of its processes."""

import contextlib
import math
import os
import signal
import stat
import time
from collections.abc import Mapping
from typing import Any

from turnwise.tool_servers.guest.cgroups import Counter, Group, Pace
from turnwise.tool_servers.guest.files import BadPath, disk_used
from turnwise.tool_servers.guest.member import Call, Member
from turnwise.tool_servers.guest.meter import Meter, Process
from turnwise.tool_servers.guest.plan import Bounds

__all__ = ["Accounts"]

_REAPED_S = 0.02
_END_S = 20.0
"""A killed process needs the processor once more, and on a full machine its group waits for it."""
_PATIENT_S = 1.0
"""How long killed processes of a session that owes time wait behind others, and it is only asked whether they are gone."""
_LAST_BREATH_S, _ALONE_S = 0.02, 0.1
_LOOK_S, _FIRST_LOOK_S, _RARELY_S = 0.02, 0.01, 0.1
_HURRY_S = 0.002
"""Between looks while files grow fast where only our looking bounds them."""
_BURST_MS, _SHARE, _DEBT_MS = 8.0, 0.025, 500.0
"""CPU for which a session is one among equals: so much at a time, growing again by this share of a core; beyond that it owes what
it used, at most so much."""
_LEAST_MS, _HELD_S = 2.0, 0.1
"""CPU that a call gets whatever its session owes and whoever else wants it, if it was kept waiting so long and had less."""
_FAMILY_S, _FAMILY_SHARE = 0.01, 5.0
"""How long a look at a whole family is good for: at least so long, and so many times what it took."""
_OWN_FDS = 6
"""0 to 5 are the resident's, see there."""


class Accounts:
    """Of one family: its processes are those below its init and those that the nursery forked for it, told apart by their mount
    namespace."""

    def __init__(
        self,
        meter: Meter,
        init: int,
        nursery: tuple[int, str],
        group: Group | None,
        folder: str | None,
        members: Mapping[int, Member],
        counter: Counter | None,
    ) -> None:
        """`nursery`: whose children sessions' first processes are, 0 if they are init's, and the name of init's pid namespace;
        `folder`: the work folder if no file system of its own bounds it; `members`: the family's, as they come and go;
        `counter`: of a container that holds nothing else."""
        self._meter, self._init, self._group, self._folder, self._members = meter, init, group, folder, members
        self._nursery, self._ours = nursery
        self._counter = counter
        self._before_ms = 0.0
        """What the kernel had counted when the family began: its supervisor, and so its group, may have had others before."""
        self._before_ms = self._group_ms() or self._container_ms()
        self._foreign = set[int]()
        """Children of the nursery that are in another family."""
        self.forked = False
        self.helpers = 0
        """Processes of ours beside init that the kernel counts as the family's."""
        self._room = 1
        """Sessions for which the kernel's limits of the whole family are enough."""
        self._seen: list[tuple[Process, str]] = []
        """Processes of the family with their mount namespace, and until when that is good."""
        self._seen_until = 0.0
        self._files, self._files_at, self._fills_s = 0, 0.0, math.inf
        """Files in the folder, when they were counted, and in how many seconds there are too many if it goes on like that."""
        self._credit_ms, self._used_ms, self._counted_at = _BURST_MS, -1.0, 0.0
        """What is left of the burst, and the CPU and time when that was so."""
        self._reaped_ms = 0.0
        """CPU of init and of what it has waited for, and when that was seen."""
        self._reaped_at = 0.0

    def over(self, member: Member) -> tuple[str, str] | None:
        """(cause, status) if a limit is passed. Keeps what it saw in the member."""
        bounds = member.bounds
        main = self._meter.process(member.pid)
        if main is None or main.gone:
            return None
        member.looked, member.main_ms = time.monotonic(), main.cpu_ms
        if member.call and main.state != "R":
            member.call.rested = True
        processes = self._with_company(member, main)
        company = len(processes) > 1 or main.threads > 1
        if company or member.busy or member.looked > self._reaped_at + _REAPED_S:
            self._look_at_init()
        member.busy = company
        rss = sum(p.rss for p in processes)
        member.peak = max(member.peak, rss)
        member.total_ms = self._cpu(member, processes)
        if self.killed_for_memory(member):
            return "memory", "memory"
        if rss > bounds.memory_mb << 20 and self._resident(processes) > bounds.memory_mb << 20:
            return "memory", "memory"
        if sum(p.threads for p in processes) > bounds.processes:
            return "processes", "error"
        if member.total_ms > bounds.cpu_s * 1000:
            return "cpu", "timeout"
        return self._too_much_on_disk(bounds, [p.pid for p in processes])

    def _too_much_on_disk(self, bounds: Bounds, pids: list[int], more: int = 0) -> tuple[str, str] | None:
        """Where no file system of its own bounds the session. Files that were removed count as long as they are open."""
        if self._folder is None:
            return None
        used, files = disk_used(self._folder, bounds.inodes)
        now = time.monotonic()
        grown, room, ago_s = files - self._files, max(0, bounds.inodes - files), now - self._files_at
        self._fills_s = ago_s * room / grown if grown > 0 else math.inf
        self._files, self._files_at = files, now
        if used + more + sum(self._removed(pid) for pid in pids) > bounds.disk_mb << 20:
            return "disk", "error"
        return ("inodes", "error") if files > bounds.inodes else None

    def _removed(self, pid: int) -> int:
        """Bytes of files that a process has open and nobody can find."""
        found: dict[tuple[int, int], int] = {}
        with contextlib.suppress(OSError):
            folder = self._meter.open(f"{pid}/fd")
            try:
                for fd in os.listdir(folder):
                    about = os.stat(fd, dir_fd=folder)
                    if stat.S_ISREG(about.st_mode) and not about.st_nlink:
                        found[about.st_dev, about.st_ino] = about.st_blocks * 512
            finally:
                os.close(folder)
        return sum(found.values())

    def check_room(self, member: Member, size: int) -> None:
        """Raises BadPath if a file of that size would pass the limit."""
        if self._too_much_on_disk(member.bounds, [], size):
            raise BadPath(f"no room for {size} bytes: the session may have {member.bounds.disk_mb} MB of files.")

    def begin(self, member: Member) -> None:
        """A call: what is small goes before what has become large."""
        member.looked, member.look_s = time.monotonic(), _FIRST_LOOK_S if self._counted else _LOOK_S
        if self._folder is not None:
            member.look_s, self._files_at = _FIRST_LOOK_S / 2, member.looked
        if self._counted:
            member.total_ms = self._cpu(member, []) or member.total_ms
        self._set_pace()

    def went_on(self, member: Member) -> None:
        """It was looked at, and no limit is passed. Where the kernel holds the limits, the next look has time."""
        if self._folder is not None:
            member.look_s = max(_HURRY_S, min(self._fills_s, _LOOK_S))
        elif self._counted:
            member.look_s = min(2 * member.look_s, _RARELY_S)
        if member.call and member.looked > member.call.started + _HELD_S and self.starves(member, member.call):
            self.help(member)
        else:
            self._set_pace()

    def starves(self, member: Member, call: Call) -> bool:
        """Whether it wanted the processor whenever it was looked at, and had next to nothing."""
        had = max(self.clock_ms(member) - call.clock_ms, member.total_ms - call.total_ms)
        return not call.rested and had < _LEAST_MS

    def start_due(self, member: Member) -> float:
        """When a fresh process that is not ready yet has waited behind others long enough."""
        return member.since + _HELD_S if self._group and self._group.late else math.inf

    def hurry(self) -> None:
        """It goes among equals."""
        if self._group:
            self._group.pace(Pace.USUAL)

    def help(self, member: Member) -> None:
        """Before more of the others than until now; we look again soon."""
        member.look_s = _FIRST_LOOK_S
        if self._group:
            self._group.pace(self._group.faster())

    def _set_pace(self) -> None:
        """Whoever computes much, or has its process replaced again and again, goes behind those who do little."""
        if self._group is None:
            return
        used, now = self._group_ms(), time.monotonic()
        used = sum(m.total_ms for m in self._members.values()) if used is None else used
        if self._used_ms >= 0:
            credit = self._credit_ms + (now - self._counted_at) * 1000 * _SHARE - (used - self._used_ms)
            self._credit_ms = min(_BURST_MS, max(-_DEBT_MS, credit))
        self._used_ms, self._counted_at = used, now
        self._group.pace(Pace.USUAL if self._credit_ms > 0 else Pace.LAST)

    @property
    def _counted(self) -> bool:
        """Whether the kernel counts for this one session: memory and processes."""
        return self._group is not None and not self.forked

    def killed_for_memory(self, member: Member) -> bool:
        """Whether the kernel has ended a process because the group's memory was used up."""
        return self._group is not None and self._group.kills() > member.kills

    def forgive(self, member: Member) -> None:
        """After a restart: what was killed is dealt with."""
        if self._group:
            member.kills = self._group.kills()
        self._look_at_init()

    def clock_ms(self, member: Member) -> float:
        """CPU of the session's first process, to the nanosecond; 0 if it is gone."""
        try:
            return time.clock_gettime_ns((~member.pid << 3) | 2) / 1e6
        except OSError:
            return 0.0

    def end(self, member: Member) -> bool:
        """Kill every process of a session; False if that did not come to an end. Where the kernel holds them together, none runs
        any further from here on, and `bury` waits until they are gone."""
        self._seen_until = 0.0
        self._foreign.clear()
        if self._group and not self.forked and (used := self._group_ms()) is not None:
            member.total_ms = used
            return self._group.doom_all_but(self._init, _END_S)
        if self.forked and self._end_alone(member):
            return True
        processes = [p for p in self._meter.below(*self._roots()) if self._belongs(member, p)]
        member.total_ms = max(member.total_ms, self._cpu(member, processes))
        if self.forked:
            member.spent_ms = member.total_ms
        elif self._nursery:  # nobody in the family waits for it
            member.spent_ms += next((p.cpu_ms for p in processes if p.pid == member.pid), member.main_ms)
        if self._group and not self.forked:
            return self._group.doom_all_but(self._init, _END_S)
        with self._group.first() if self._group else contextlib.nullcontext():
            return self._meter.end_below(self._roots, _END_S, lambda p: self._belongs(member, p))

    def _end_alone(self, member: Member) -> bool:
        """Of a family in which each session has one process: to look at all of them takes long where there are many. False if
        that is not so, or did not stay so."""
        main = self._meter.process(member.pid)
        if self._group is None or main is None or member.pidfd < 0 or self._group.tasks() != (count := self._if_alone(member)):
            return False
        member.total_ms = member.spent_ms = max(member.total_ms, self._cpu(member, [main]))
        with self._group.first(), contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(member.pidfd, signal.SIGKILL)
            # A child that it forked in this very moment is init's by now; a list may lack one while another one exits.
            return self._group.buried(_ALONE_S, count - 1) and not any(self._strays() for _ in range(2))
        return False

    def _strays(self) -> set[int]:
        """Children of init that are no session's first process."""
        return set(self._meter.children(self._init)) - {m.pid for m in self._members.values()}

    def _if_alone(self, member: Member) -> int:
        """Processes of the family if each session has one, this member's among them."""
        return 1 + self.helpers + len({member.pid, *(m.pid for m in self._members.values())} - {0})

    def bury(self) -> bool:
        """Wait until those that have ended count no longer; False if that did not come to an end. They, and what comes then, go
        behind those who owe nothing, but before all calls of those who do; first of all where they would never have a turn."""
        if self._group:
            self._group.pace(Pace.USUAL if self._credit_ms > 0 else Pace.LATE)
        if not self._group or self.forked or self._group.buried(_PATIENT_S, 1):
            return True
        with self._group.first():
            return self._group.end_all_but(self._init, _END_S)

    def why_not_fork(self, member: Member) -> str:
        """What of a session's process would not be copied, or would be shared with the copy; "" if there is nothing.

        Leaves the open files that the copy has to open anew in the member."""
        main = self._settled(member)
        if main is None or main.gone:
            return "its process has ended"
        if main.threads > 1:
            return f"it has {main.threads} threads"
        self._seen_until = 0.0
        if len(self._with_company(member, main)) > 1 and not self.alone(member, _LAST_BREATH_S):
            return "it has live child processes"
        folder = self._meter.open(f"{member.pid}/fd")
        try:
            kinds = {int(fd): _kind(os.stat(fd, dir_fd=folder)) for fd in os.listdir(folder) if int(fd) >= _OWN_FDS}
        finally:
            os.close(folder)
        member.files = [fd for fd, kind in kinds.items() if kind == "a file"]
        for fd, kind in kinds.items():
            if kind not in ("a file", "a device"):
                return f"it has {kind} open (descriptor {fd})"
        return "it maps shared memory" if self._meter.shares_memory(member.pid) else ""

    def alone(self, member: Member, seconds: float) -> bool:
        """Whether a session is its first process alone, or is so in that time: who has just ended is still seen for a moment."""
        end = time.monotonic() + seconds
        while (main := self._meter.process(member.pid)) is not None and not main.gone:
            self._seen_until = 0.0
            if len(self._with_company(member, main)) == 1:
                return True
            if time.monotonic() > end:
                return False
            time.sleep(0.001)
        return True

    def _settled(self, member: Member) -> Process | None:
        """A session's first process; a thread that was joined is still seen for a moment."""
        main = self._meter.process(member.pid)
        end = time.monotonic() + _LAST_BREATH_S
        while main is not None and main.threads > 1 and time.monotonic() < end:
            time.sleep(0.001)
            main = self._meter.process(member.pid)
        return main

    def grow(self) -> dict[str, Any]:
        """Before one more is forked. What the kernel counts for a whole family grows with it, twofold each time: here for the
        group; the user's processes are left to the brancher. The bounds of each session are watched from here on."""
        members = list(self._members.values())
        if not self.forked:
            for member in members:
                member.spent_ms = max(0.0, self._cpu(member, []) - self._alone_ms(member))
        self.forked = True
        if len(members) < self._room:
            return {"pids": [], "processes": 0}
        bounds, count = members[0].bounds, 1 << len(members).bit_length()
        self._room = count
        if self._group:
            self._group.limit((bounds.memory_mb + bounds.disk_mb) * count, (bounds.processes + 2) * count)
        return {"pids": [m.pid for m in members if m.pid], "processes": (bounds.processes + 2) * count}

    def _alone_ms(self, member: Member) -> float:
        """Of its one process, where that is in the kernel's count for all of it."""
        process = self._meter.process(member.pid) if self._group_ms() is not None else None
        return process.cpu_ms if process else 0.0

    def _look_at_init(self) -> None:
        if (init := self._meter.process(self._init)) is not None:
            self._reaped_ms, self._reaped_at = init.cpu_ms, time.monotonic()

    def _with_company(self, member: Member, main: Process) -> list[Process]:
        """The first process and all others; quick where it is alone."""
        if self._group and main.threads == 1 and self._group.tasks() == self._if_alone(member):
            return [main]  # each has one process, and ours are there
        if self.forked:
            return [main, *(p for p, mounts in self._family() if mounts == member.mounts and p.pid != main.pid)]
        if main.threads == 1 and not self._meter.children(main.pid) and self._roots() == [main.pid]:
            return [main]
        return [p for p in self._meter.below(*self._roots()) if not p.gone]

    def _family(self) -> list[tuple[Process, str]]:
        """Looked at once for all members, for there may be many, and we would take the time that they need."""
        began = time.monotonic()
        if began > self._seen_until:
            self._seen = [(p, self._meter.link(f"{p.pid}/ns/mnt")) for p in self._meter.below(*self._roots()) if not p.gone]
            self._seen_until = time.monotonic() + max(_FAMILY_S, _FAMILY_SHARE * (time.monotonic() - began))
        return self._seen

    def _roots(self) -> list[int]:
        """What all processes of the family are below of: children of init, and of the nursery in our pid namespace."""
        found = self._meter.children(self._init)
        if self._nursery:
            children = self._meter.children(self._nursery)
            self._foreign.intersection_update(children)
            spaces = {pid: self._meter.link(f"{pid}/ns/pid") for pid in children if pid not in self._foreign}
            self._foreign.update(pid for pid, space in spaces.items() if space not in ("", self._ours))
            found += [pid for pid, space in spaces.items() if space == self._ours]
        return found

    def _belongs(self, member: Member, process: Process) -> bool:
        return not self.forked or self._meter.link(f"{process.pid}/ns/mnt") == member.mounts

    def _cpu(self, member: Member, processes: list[Process]) -> float:
        """Of the whole session so far. Where the kernel does not count for it alone, what ended is in init's account, which in a
        family is that of every session; what ended and nobody waited for is lost."""
        if not self.forked and (used := self._group_ms()) is not None:
            return used
        if self._counter:
            return self._container_ms()
        return member.spent_ms + sum(p.cpu_ms for p in processes) + (0.0 if self.forked else self._reaped_ms)

    def _group_ms(self) -> float | None:
        """All of the family; None where the kernel does not count that."""
        used = self._group.cpu_ms() if self._group else None
        return None if used is None else used - self._before_ms

    def _container_ms(self) -> float:
        """All but what this supervisor itself used."""
        return self._counter.ms() - time.process_time() * 1000 - self._before_ms if self._counter else 0.0

    def _resident(self, processes: list[Process]) -> int:
        """Bytes, shared pages counted once, where the kernel tells; else the plain sum. Looking into the processes one by one
        waits for locks that they may hold, and so needs them to go on."""
        if self._group and not self.forked:
            return self._group.anonymous()
        with self._group.first() if self._group else contextlib.nullcontext():
            return sum(p.rss if (share := self._meter.fair_share(p.pid)) is None else share for p in processes)


def _kind(about: os.stat_result) -> str:
    """Of an open file. A copy gets a file anew and may share a device; anything else it would share, and should not."""
    mode = about.st_mode
    if stat.S_ISREG(mode):
        return "a file" if about.st_nlink else "a deleted file"
    kinds = ((stat.S_ISCHR, "a device"), (stat.S_ISSOCK, "a socket"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISDIR, "a folder"))
    return next((name for test, name in kinds if test(mode)), "a kernel object")
