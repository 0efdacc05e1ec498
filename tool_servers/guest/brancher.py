"""Makes the walls of forks: for each a mount namespace, and in it a copy of the session's folders.

A process moves to another mount namespace only with rights over the user namespace that owns it. A session's process has none
where it is, but every right over user namespaces that its user makes below its own. So a process lives in such a one and
makes mount namespaces there, one ahead, for all forks of sessions that are in the user namespace above. It copies the files while
the session's process forks; no line of the model's runs in it, and what it uses is counted as the family's.
"""

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from turnwise.tool_servers.guest import files, kernel, namespaces
from turnwise.tool_servers.guest.cgroups import Groups
from turnwise.tool_servers.guest.channel import handed_over, receive, send, told
from turnwise.tool_servers.guest.plan import Bounds, Plan
from turnwise.tool_servers.guest.rlimits import raise_process_limit

__all__ = ["Brancher", "Spare", "make_walls"]

_PATIENCE_S = 10.0
_KEPT_S = 1.0
_SOON_MS = 20


class Brancher:
    """The supervisor's hold on one."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel, self._pidfd = channel, -1

    def walls(self) -> list[int]:
        """Folders, mount namespace and user namespace of the next fork, all open. Raises Broken."""
        said, fds = handed_over(self._channel, _PATIENCE_S, "up")
        if self._pidfd < 0:
            self._pidfd = os.pidfd_open(said["up"])
        return fds

    def fill(self, grown: dict[str, Any], folders: list[int]) -> None:
        """Have these copied into the walls that came last, and limits raised as said. Raises Broken."""
        told(self._channel, grown, folders)

    def filled(self) -> None:
        """Wait for that. Raises Broken."""
        handed_over(self._channel, _PATIENCE_S, "filled")

    def end(self) -> None:
        """At once, whatever it is at."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
        self._channel.close()


class Spare:
    """The zygote's: a brancher that waits for an order, for as long as there are forked sessions and a moment longer."""

    def __init__(self, start: Callable[[], socket.socket]) -> None:
        """`start`: makes one, which waits at the other end of what is returned. Raises OSError."""
        self._start = start
        self._channel: socket.socket | None = None
        self._families = set[int]()
        """Supervisors of those that were forked."""
        self._until = 0.0

    def branch(self, order: dict[str, Any], fds: list[int]) -> None:
        """The order goes to the one that waits. If none can be had, its supervisor sees that its channel, which comes along,
        closes."""
        self._families.add(order["supervisor"])
        with contextlib.suppress(OSError), self._channel or self._start() as channel:
            send(channel, order, fds)
        self._channel = None
        for fd in fds:
            os.close(fd)

    def ended(self, supervisor: int) -> None:
        """A family, or who watched it."""
        if supervisor in self._families:
            self._families.remove(supervisor)
            self._until = time.monotonic() + _KEPT_S

    @property
    def patience_ms(self) -> float | None:
        """When there is something to do for us, if nothing else is."""
        if self._families:
            return None if self._channel else _SOON_MS
        return max(0.0, self._until - time.monotonic()) * 1000 if self._channel else None

    def tend(self, at_rest: bool) -> None:
        """`at_rest`: nothing else is to be done."""
        if self._families and self._channel is None and at_rest:
            with contextlib.suppress(OSError):
                self._channel = self._start()
        elif not self._families and time.monotonic() >= self._until:
            self.close()

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def make_walls(waiting: socket.socket, plan: Plan, proc: int, groups: Groups | None) -> NoReturn:
    """In a fresh process, which waits for an order: the bounds, the user to become (None for who we are) and the control group;
    with it come a channel to the supervisor, the mount namespace of the family's init, and the user namespace of those that will
    fork. Until that channel's other side is gone. `proc`: an open procfs of the host."""
    kernel.name_process("tw-brancher")
    with contextlib.suppress(EOFError), waiting:
        if not select.select([waiting], [], [], 0)[0]:
            _rehearse(plan)
        order, (link, mounts, users) = receive(waiting)
        _serve(socket.socket(fileno=link), order, mounts, users, plan, proc, groups)
    os._exit(0)


def _rehearse(plan: Plan) -> None:
    """Whatever is done for the first time writes to pages that are others' until then, which takes longer than the rest. So it is
    done once while nobody waits, in a mount namespace that is left again."""
    with contextlib.suppress(OSError):
        kernel.unshare(kernel.CLONE_NEWNS)
        namespaces.session_folders(1, 16, None, plan.readable)
        work, *others = namespaces.open_folders()
        os.close(os.open("f", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, dir_fd=others[0]))
        files.clone(others[0], work)
        for fd in (work, *others):
            os.close(fd)


def _serve(
    channel: socket.socket, order: dict[str, Any], mounts: int, users: int, plan: Plan, proc: int, groups: Groups | None
) -> None:
    try:
        if groups:
            groups.known(order["group"]).add(0)
        namespaces.enter(mounts)
        if order["user"] is not None:
            namespaces.become(order["user"])
        namespaces.enter(users)
        namespaces.become_mapped(proc, kernel.CLONE_NEWNS)
        bounds = Bounds(**order["bounds"])
        pattern, ours = namespaces.descriptors(proc, "mnt", "user")
        while True:
            kernel.unshare(kernel.CLONE_NEWNS)
            namespaces.session_folders(bounds.disk_mb, bounds.inodes, None, plan.readable)
            folders = namespaces.open_folders()
            (made,) = namespaces.descriptors(proc, "mnt")
            send(channel, {"up": os.getpid()}, [*folders, made, ours])
            _fill(channel, folders)
            for fd in (*folders, made):
                os.close(fd)
            namespaces.enter(pattern)
    except (EOFError, ConnectionError):
        return  # the supervisor is gone
    except Exception as error:
        with contextlib.suppress(ConnectionError):
            send(channel, {"broken": f"{type(error).__name__}: {error}"})


def _fill(channel: socket.socket, folders: list[int]) -> None:
    order, sources = receive(channel)
    raise_process_limit(order["pids"], order["processes"])
    for source, target in zip(sources, folders, strict=True):
        files.clone(source, target)
        os.close(source)
    send(channel, {"filled": True})
