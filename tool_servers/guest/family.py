"""A session and its forks: one init, one pid namespace, one control group; a mount namespace and pipes for each."""

import contextlib
import os
import select
import signal
import socket
import time
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from turnwise.tool_servers.guest import files
from turnwise.tool_servers.guest.accounts import Accounts
from turnwise.tool_servers.guest.brancher import Brancher
from turnwise.tool_servers.guest.cgroups import Group, Pace, container_counter
from turnwise.tool_servers.guest.channel import Broken, handed_over, send, told
from turnwise.tool_servers.guest.frames import FrameError, packed
from turnwise.tool_servers.guest.init import Init
from turnwise.tool_servers.guest.member import Member, Pipes, State
from turnwise.tool_servers.guest.meter import Meter
from turnwise.tool_servers.guest.plan import FOLDERS, WORK, Bounds, Plan

__all__ = ["START_S", "Builders", "Family"]

START_S = 30.0
_FORK_S = 10.0


@dataclass(frozen=True, slots=True)
class Builders:
    """Who does what takes rights over namespaces."""

    inits: socket.socket
    """Takes orders for an init."""
    residents: socket.socket | None
    """Takes orders for a session's process in namespaces that are there; None where init starts it."""
    parent: int
    """Whose children the former are."""


class Family:
    """Makes and ends members; what they do in between is the supervisor's business."""

    def __init__(
        self, plan: Plan, worker: ModuleType | None, proc: int, group: Group | None, root: bool, builders: Builders | None
    ) -> None:
        """`proc`: an open procfs of the host; `root`: sessions run as a user that nobody else is; `builders`: None where there
        are no namespaces, and init, which starts the `worker`, is our own child."""
        self._plan, self._worker, self._proc, self._group, self._builders = plan, worker, proc, group, builders
        self._meter = Meter(proc)
        self.user = plan.first_user + os.getpid() if root else None
        self.members: dict[int, Member] = {}
        self.accounts: Accounts
        self._folder = WORK
        self._init = self._born = 0
        self._initfd = -1
        self._walls: list[int] = []
        """Open namespaces that all of the family are in."""
        self._mounts = -1
        """Open mount namespace of init."""
        self._branchers: dict[int, Brancher] = {}
        """Those who make the walls of forks, by the generation of whom is forked; each has a user namespace of its own."""
        self.control: socket.socket
        """To init, which says nothing unless it is asked."""

    def start(self, bounds: Bounds, ours_alone: list[int]) -> Member:
        """The first member, not yet running. `ours_alone`: descriptors that init must not have. Raises Broken, OSError."""
        if self._group:
            self._group.pace(Pace.USUAL)
            self._group.limit(bounds.memory_mb + bounds.disk_mb, bounds.processes + 2)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            if self._builders:
                order = {"bounds": _plain(bounds), "user": self.user, "supervisor": os.getpid()}
                send(self._builders.inits, order, [theirs.fileno()])
            else:
                self._fork_init(bounds, theirs, [*ours_alone, self.control.fileno()])
        said, fds = handed_over(self.control, START_S, "init", "up")
        self._init, self._initfd = said["init"], os.pidfd_open(said["init"])
        own = len(FOLDERS) + 2
        fds, self._walls = fds[:own], fds[own:]
        apart = self._builders and self._builders.residents
        nursery = (self._builders.parent, self._name_of(self._walls[-1])) if self._builders and apart else (0, "")
        folder = None if self._builders else self._folder
        counter = container_counter() if self._plan.contained else None
        self.accounts = Accounts(self._meter, self._init, nursery, self._group, folder, self.members, counter)
        if self._group:
            self._group.add(self._init)
        if self._builders:
            self._mounts = os.dup(fds[-2])
        return self._add(fds, bounds, Pipes.make(), 0)

    def _fork_init(self, bounds: Bounds, theirs: socket.socket, ours_alone: list[int]) -> None:
        self._folder = files.temporary(f"turnwise-{os.getppid()}-{os.getpid()}-")
        if self.user is not None:
            os.chown(self._folder, self.user, self.user)
        if init := os.fork():
            send(theirs, {"init": init})
            return
        for fd in ours_alone:
            os.close(fd)
        Init(self._plan, bounds, self._worker, self._proc, self.user, self._folder).run(theirs)

    def spawn(self, member: Member) -> None:
        """A process for a session, which then waits for `begin`; its pipes are fresh."""
        nursery = self._builders and self._builders.residents
        if nursery:
            group = self._group.name if self._group else ""
            order = {"bounds": _plain(member.bounds), "user": self.user, "group": group}
            send(nursery, order, [*member.pipes.theirs, *member.spaces, *self._walls])
        else:
            send(self.control, {}, [*member.pipes.theirs, *(member.spaces if member.generation else [])])
        member.pipes.close_theirs()

    def wait_blank(self, member: Member, seconds: float) -> None:
        """Until a session's process waits for `begin`. Raises Broken."""
        deadline = time.monotonic() + seconds
        while not member.pid:
            _hear(member, deadline)
        member.state = State.BLANK

    def begin(self, member: Member) -> None:
        """Tell its process its seed and settings, of which the worker is made."""
        member.state = State.STARTING
        member.unsent += packed({"begin": {"seed": member.bounds.seed, "settings": member.bounds.settings}})
        member.push()

    def wait_ready(self, member: Member, seconds: float) -> None:
        """Look at nothing but this session's start. Raises Broken, or BadPath with what its worker has against its settings."""
        deadline = time.monotonic() + seconds
        while member.state is State.STARTING:
            _hear(member, deadline)
        if member.state is State.LOST:
            raise files.BadPath(f"the worker refused its settings: {member.refusal}")

    def orphaned(self, fd: int | None = None) -> bool:
        """Whether init is gone, or on its way: its descriptors close before its processes are ended. With a descriptor that has
        news: whether this is the news."""
        if fd is not None:
            return self._init != 0 and fd == self.control.fileno()
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        return bool(poll.poll(0))

    def end_processes(self, member: Member) -> None:
        """All of one session; if they cannot be had one by one, the family dies."""
        self._or_die(self.accounts.end(member))

    def bury_processes(self) -> None:
        """Those that have ended, before there is another one."""
        self._or_die(self.accounts.bury())

    def _or_die(self, ended: bool) -> None:
        if not ended:
            signal.pidfd_send_signal(self._initfd, signal.SIGKILL)
            raise Broken("processes of the session could not be ended one by one")

    def twin(self, member: Member) -> Member:
        """A fork, ready. While the process forks itself, a copy of the files is made behind new walls, and the new one moves
        there."""
        if self._group:
            self._group.pace(Pace.USUAL)  # its last call may have left it behind all others
        grown = self.accounts.grow()
        brancher = self._brancher(member)
        pipes = Pipes.make()
        try:
            order = packed({"fork": self._born, "files": member.files})
            socket.send_fds(member.pipes.claim, [order], pipes.theirs)
            pipes.close_theirs()
            twin = self._add(self._new_walls(member, brancher, grown), member.bounds, pipes, member.generation + 1)
        except BaseException:
            pipes.close()  # which ends the new process
            with contextlib.suppress(Broken):
                _wait_claim(member, {"forked": self._born}, _FORK_S)
            self.accounts.alone(member, _FORK_S)  # or the next fork would be refused for it
            raise
        try:
            socket.send_fds(twin.pipes.claim, [b"move"], twin.spaces)
            self.wait_ready(twin, _FORK_S)
            _wait_claim(member, {"forked": twin.id}, _FORK_S)  # until then it holds descriptors of ours
        except BaseException:
            self.remove(twin)
            raise
        return twin

    def _brancher(self, member: Member) -> Brancher:
        """Of those who are in a member's user namespace. Raises Broken."""
        if member.generation not in self._branchers:
            assert self._builders
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._branchers[member.generation] = Brancher(ours)
            self.accounts.helpers = len(self._branchers)
            group = self._group.name if self._group else ""
            order = {"bounds": _plain(member.bounds), "user": self.user, "group": group, "supervisor": os.getpid()}
            with theirs:
                told(self._builders.inits, order, [theirs.fileno(), self._mounts, member.spaces[1]])
        return self._branchers[member.generation]

    def _new_walls(self, member: Member, brancher: Brancher, grown: dict[str, Any]) -> list[int]:
        """With a copy of the member's files. Raises Broken."""
        fds: list[int] = []
        try:
            fds = brancher.walls()
            brancher.fill(grown, member.folders)
            brancher.filled()
        except BaseException:
            self._branchers.pop(member.generation).end()  # the next fork has another one
            self.accounts.helpers = len(self._branchers)
            for fd in fds:
                os.close(fd)
            raise
        return fds

    def remove(self, member: Member) -> None:
        """Close one; its family goes on."""
        if self.members.pop(member.id, None):
            if self.members:
                self.end_processes(member)
            member.close()

    def end(self) -> None:
        """Everything: the end of a pid namespace's init is the end of all in it. Once."""
        if self._init:
            if not self._builders:
                self._meter.end_below(lambda: self._meter.children(self._init), 2.0)
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._initfd, signal.SIGKILL)
            select.select([self._initfd], [], [])
            with contextlib.suppress(OSError):
                if self._builders:
                    send(self._builders.inits, {"ended": self._init, "supervisor": os.getpid()})
                else:
                    os.waitpid(self._init, 0)
            for fd in (self._initfd, *self._walls, *([self._mounts] if self._builders else [])):
                os.close(fd)
            for brancher in self._branchers.values():
                brancher.end()
            self.control.close()
        for member in self.members.values():
            member.close()
        if self._folder != WORK:
            files.remove_temporary(os.path.basename(self._folder))

    def _add(self, fds: list[int], bounds: Bounds, pipes: Pipes, generation: int) -> Member:
        folders, spaces = (fds[:-2], fds[-2:]) if self._builders else (fds, [])
        mounts = self._name_of(spaces[0]) if spaces else ""
        kills = self._group.kills() if self._group else 0
        member = Member(self._born, folders, spaces, mounts, bounds, pipes, generation, kills=kills)
        self.members[member.id] = member
        self._born += 1
        return member

    def _name_of(self, space: int) -> str:
        return os.readlink(f"self/fd/{space}", dir_fd=self._proc)


def _plain(bounds: Bounds) -> dict[str, Any]:
    """Without what only the worker gets, and may be large."""
    return {name: getattr(bounds, name) for name in Bounds.__slots__} | {"settings": {}}


def _hear(member: Member, deadline: float) -> None:
    """What a process that starts says next. Raises Broken."""
    poll = select.poll()
    poll.register(member.pipes.claim.fileno(), select.POLLIN | (select.POLLOUT if member.unsent else 0))
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise Broken("the session's process did not start in time")
    member.push()
    try:
        member.listen()
    except (EOFError, FrameError):
        member.drain()
        raise Broken(member.err.text().strip() or "the session's process did not start") from None


def _wait_claim(member: Member, expected: dict[str, int], seconds: float) -> None:
    poll = select.poll()
    poll.register(member.pipes.claim.fileno(), select.POLLIN)
    deadline = time.monotonic() + seconds
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        try:
            if expected in member.listen():
                return
        except (EOFError, FrameError):
            break
    raise Broken("the session's process did not come back from its fork")
