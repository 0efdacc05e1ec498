"""A session and its forks: one init, one pid namespace, one control group; a mount namespace and pipes for each."""

import contextlib
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from types import ModuleType

from turnwise.tool_servers.guest import files, kernel
from turnwise.tool_servers.guest.accounts import Accounts
from turnwise.tool_servers.guest.cgroups import Group
from turnwise.tool_servers.guest.frames import FrameError, packed
from turnwise.tool_servers.guest.init import Init, receive, send
from turnwise.tool_servers.guest.member import Member, State
from turnwise.tool_servers.guest.meter import Meter
from turnwise.tool_servers.guest.plan import WORK, Bounds, Plan

__all__ = ["START_S", "Broken", "Family"]

START_S = 30.0
_FORK_S = 10.0


class Broken(Exception):
    """The sandbox, not the code in it."""


class Family:
    """Makes and ends members; what they do in between is the supervisor's business."""

    def __init__(self, plan: Plan, worker: ModuleType, proc: int, group: Group | None, root: bool) -> None:
        """`proc`: an open procfs of the host; `root`: sessions run as a user that nobody else is."""
        self._plan, self._worker, self._proc, self._group = plan, worker, proc, group
        self._meter = Meter(proc)
        self.user = plan.first_user + os.getpid() if root else None
        self.members: dict[int, Member] = {}
        self.accounts: Accounts
        self._folder = WORK
        self._init = self._born = 0
        self.control: socket.socket
        """To init, which says nothing unless it is asked."""

    def start(self, bounds: Bounds, ours_alone: list[int]) -> Member:
        """The first member, not yet running. `ours_alone`: descriptors that init must not have. Raises Broken, OSError."""
        if self._group:
            self._group.limit(bounds.memory_mb + bounds.disk_mb, bounds.processes + 2)
        if self._plan.level >= 2:
            kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
        else:
            self._folder = tempfile.mkdtemp(prefix=f"turnwise-{os.getppid()}-{os.getpid()}-")
            if self.user is not None:
                os.chown(self._folder, self.user, self.user)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._init = os.fork()
        if not self._init:
            for fd in (*ours_alone, ours.detach()):
                os.close(fd)
            Init(self._plan, bounds, self._worker, self._proc, self.user, self._folder).run(theirs)
        theirs.close()
        self.control = ours
        self.accounts = Accounts(self._meter, self._init, self._group, None if self._plan.level >= 2 else self._folder)
        if self._group:
            self._group.add(self._init)
        return self._add(_handed_over(ours, START_S), bounds)

    def spawn(self, member: Member) -> None:
        """A process for a session; its pipes are fresh."""
        send(self.control, {"do": "spawn"}, [*member.pipes.theirs, *self._joined(member)])
        member.pipes.close_theirs()

    def wait_ready(self, member: Member, seconds: float) -> None:
        """Look at nothing but this session's start. Raises Broken, or BadPath with what its worker has against its settings."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(member.pipes.claim.fileno(), select.POLLIN)
        while member.state is State.STARTING:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise Broken("the session's process did not start in time")
            try:
                member.listen()
            except (EOFError, FrameError):
                member.drain()
                raise Broken(member.err.text().strip() or "the session's process did not start") from None
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
        if not self.accounts.end(member):
            os.kill(self._init, signal.SIGKILL)
            raise Broken("processes of the session could not be ended one by one")

    def twin(self, member: Member) -> Member:
        """A fork, ready. Init's helper makes namespaces with a copy of the files; the process forks itself and moves there."""
        grown = self.accounts.grow(list(self.members.values()))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                send(self.control, {"do": "branch", **grown}, [theirs.fileno(), *self._joined(member)])
            twin = self._add(_handed_over(ours, _FORK_S), member.bounds)
        try:
            order = packed({"fork": twin.id, "files": member.files})
            socket.send_fds(member.pipes.claim, [order], [*twin.pipes.theirs, *twin.spaces])
            twin.pipes.close_theirs()
            self.wait_ready(twin, _FORK_S)
            _wait_claim(member, {"forked": twin.id}, _FORK_S)  # until then it holds descriptors of ours
        except BaseException:
            self.remove(twin)
            raise
        return twin

    def remove(self, member: Member) -> None:
        """Close one; its family goes on."""
        if self.members.pop(member.id, None):
            if self.members:
                self.end_processes(member)
            member.close()

    def end(self) -> None:
        """Everything: the end of a pid namespace's init is the end of all in it."""
        if self._init:
            if self._plan.level < 2:
                self._meter.end_below(self._init, 2.0)
            with contextlib.suppress(OSError):
                os.kill(self._init, signal.SIGKILL)
                os.waitpid(self._init, 0)
        if self._folder != WORK:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._group:
            self._group.remove_soon()

    def _add(self, fds: list[int], bounds: Bounds) -> Member:
        work, *spaces = fds
        mounts = os.readlink(f"self/fd/{spaces[1]}", dir_fd=self._proc) if spaces else ""
        member = Member(self._born, work, spaces, mounts, bounds)
        self.members[member.id] = member
        self._born += 1
        return member

    def _joined(self, member: Member) -> list[int]:
        """Namespaces that init itself is not in."""
        return member.spaces if member.id else []


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


def _handed_over(channel: socket.socket, seconds: float) -> list[int]:
    channel.settimeout(seconds)
    try:
        message, fds = receive(channel)
    except (EOFError, TimeoutError):
        raise Broken("the walls were not built in time") from None
    if "broken" in message:
        raise Broken(message["broken"])
    return fds
