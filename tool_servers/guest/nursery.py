"""Where the imports are: forks the process that a session's code lives in straight into the namespaces that init has built.

Such a fork copies the page tables of all that was imported, which takes longer than the rest of a session's opening together; so
nothing else is forked from here, and init and supervisors come from a process that imported nothing.
"""

import contextlib
import os
import select
import signal
import socket
from types import ModuleType
from typing import Any, NoReturn

from turnwise.tool_servers.guest import kernel, namespaces, resident
from turnwise.tool_servers.guest.cgroups import Groups
from turnwise.tool_servers.guest.channel import receive
from turnwise.tool_servers.guest.confinement import Confinement, first_to_go
from turnwise.tool_servers.guest.meter import Meter
from turnwise.tool_servers.guest.plan import WORK, Bounds, Plan

__all__ = ["Nursery"]


class Nursery:
    """Obeys supervisors, all of which hold the other end of `orders`. Its children die with their init."""

    def __init__(self, plan: Plan, worker: ModuleType, proc: int, groups: Groups | None, orders: socket.socket, builder: int):
        """`proc`: an open procfs of the host; `builder`: our child that forks supervisors and inits, without which we end."""
        self._plan, self._worker, self._proc, self._groups = plan, worker, proc, groups
        self._orders, self._builder = orders, builder
        ours = Meter(proc).process(os.getpid())
        self._clone = kernel.fork if ours and ours.threads == 1 else os.fork  # some libraries start threads when imported

    def serve(self) -> None:
        """Until the builder is gone."""
        news, bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ring)
        poll = select.poll()
        for fd in (news, self._orders.fileno()):
            poll.register(fd, select.POLLIN)
        with contextlib.suppress(EOFError):  # nobody is left to give orders
            while self._reaped() != self._builder:
                for fd, _ in poll.poll():
                    if fd == news:
                        os.read(news, 4096)
                    else:
                        self._fork(*receive(self._orders))
            return
        os.waitpid(self._builder, 0)

    def _reaped(self) -> int:
        """The builder, or 0 when there is nobody to wait for."""
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) not in (0, self._builder):
                pass
            return pid
        return self._builder

    def _fork(self, order: dict[str, Any], fds: list[int]) -> None:
        """The process of a session, which then says hello to its supervisor; if that fails, its pipes close."""
        child = -1
        with contextlib.suppress(OSError):  # its init is gone
            kernel.setns(fds[-1], kernel.CLONE_NEWPID)
            child = self._clone()
        if not child:
            self._become_resident(order, *fds)
        for fd in fds:
            os.close(fd)

    def _become_resident(self, order: dict[str, Any], out: int, err: int, claim: int, *spaces: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            if self._groups:
                self._groups.known(order["group"]).add(0)
            kernel.dumpable(True)  # or the next file belongs to root
            first_to_go(self._proc)
            kernel.dumpable(False)
            mounts, users, *others, _ = spaces
            namespaces.enter(*others, mounts)
            if order["user"] is not None:
                namespaces.become(order["user"])
            namespaces.enter(users)
            os.chdir(WORK)
            bounds = Bounds(**order["bounds"])
            confinement = Confinement(self._plan, bounds, WORK, alone=True)
            resident.settle(out, err, claim, WORK, confinement.enter, self._worker, bounds)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(err, f"the session's process did not start: {type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(1)


def _ring(*_: object) -> None:
    """That there is a handler makes Python ring the bell."""
