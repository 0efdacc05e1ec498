"""Process 1 of a session: builds its walls, starts and reaps what lives in it, and takes all of it along when it ends.

It never runs the model's code. It obeys its supervisor through a socket that nobody else holds; when that closes, it ends, and
the kernel ends every process of its pid namespace with it.
"""

import contextlib
import os
import select
import signal
import socket
from types import ModuleType
from typing import NoReturn

from turnwise.tool_servers.guest import kernel, namespaces, resident
from turnwise.tool_servers.guest.channel import receive, send
from turnwise.tool_servers.guest.confinement import Confinement, first_to_go
from turnwise.tool_servers.guest.meter import Meter
from turnwise.tool_servers.guest.plan import Bounds, Plan

__all__ = ["SPACES", "Init"]

SPACES = ("mnt", "user", "net", "ipc", "uts", "pid")
"""Namespaces of a session, in the order in which they are handed over; a fork has the first two of its own."""


class Init:
    """One session, and its forks."""

    def __init__(self, plan: Plan, bounds: Bounds, worker: ModuleType | None, proc: int, user: int | None, folder: str) -> None:
        """`worker`: None where the nursery starts what lives in it; `proc`: an open procfs of the host; `user`: whom to become,
        None for who we are; `folder`: the work folder."""
        self._plan, self._bounds, self._worker, self._proc, self._user, self._folder = plan, bounds, worker, proc, user, folder

    def run(self, channel: socket.socket) -> NoReturn:
        """In a fresh process. Never returns."""
        try:
            kernel.name_process("tw-init")
            news = _news_of_children()
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a handler is all that lets the code inside reach process 1
            try:
                fds = self._wall_in()
            except OSError as error:
                send(channel, {"broken": str(error)})
                raise
            send(channel, {"up": True}, fds)
            poll = select.poll()
            for fd in (news, channel.fileno()):
                poll.register(fd, select.POLLIN)
            while True:
                for fd, _ in poll.poll():
                    if fd == news:
                        os.read(news, 4096)
                        _reap()
                    else:
                        self._spawn(receive(channel)[1])
        finally:
            if self._plan.level < 2:  # no pid namespace ends them for us
                meter = Meter(self._proc)
                meter.end_below(lambda: meter.children(os.getpid()), 2.0)
            os._exit(0)

    # --- walls ----------------------------------------------------------------------------------------------------

    def _wall_in(self) -> list[int]:
        """Returns open descriptors of the session's folders and of our namespaces, for the supervisor."""
        if self._plan.level >= 2:
            bounds, unasked = self._bounds, self._plan.shared.keys() - set(self._bounds.shared)
            namespaces.session_folders(bounds.disk_mb, bounds.inodes, self._user, self._plan.readable, unasked)
            namespaces.loopback_up()
            socket.sethostname("sandbox")
            folders = namespaces.open_folders()
        else:
            kernel.subreaper()
            os.chdir(self._folder)
            folders = [os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        if self._user is not None:
            namespaces.become(self._user)
        if self._plan.level >= 2:
            namespaces.become_mapped(self._proc)
        kernel.dumpable(False)
        return [*folders, *(namespaces.descriptors(self._proc, *SPACES) if self._plan.level >= 2 else [])]

    def _spawn(self, fds: list[int]) -> None:
        """What the supervisor asks for, unless there is a nursery, which does it."""
        if not kernel.fork():
            try:
                self._become_resident(*fds)
            finally:
                os._exit(1)
        for fd in fds:
            os.close(fd)

    def _become_resident(self, out: int, err: int, claim: int, *spaces: int) -> NoReturn:
        """`spaces`: mount and user namespace, if they are a fork's."""
        assert self._worker is not None
        signal.set_wakeup_fd(-1)
        kernel.dumpable(True)  # or the next file belongs to root
        first_to_go(self._proc)
        kernel.dumpable(False)
        namespaces.enter(*reversed(spaces))
        os.chdir(self._folder)
        confinement = Confinement(self._plan, self._bounds, self._folder, alone=self._plan.level >= 2 or self._user is not None)
        resident.settle(out, err, claim, self._folder, confinement.enter, self._worker, self._bounds)


def _news_of_children() -> int:
    """A pipe in which each end of a child leaves a byte: what a handler of Python's own would miss, if it came in the moment
    before we wait, is read after it. Nobody else waits for them, and a session goes on only when they are gone."""
    news, bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _ring)
    return news


def _ring(*_: object) -> None:
    """That there is a handler makes Python ring the bell."""


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
