"""Process 1 of a session: builds its walls, starts and reaps what lives in it, and takes all of it along when it ends.

It never runs the model's code. It obeys its supervisor through a socket that nobody else holds; when that closes, it ends, and
the kernel ends every process of its pid namespace with it.
"""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

from turnwise.tool_servers.guest import kernel, landlock, namespaces, resident, seccomp
from turnwise.tool_servers.guest.meter import Meter
from turnwise.tool_servers.guest.plan import WORK, Bounds, Plan
from turnwise.tool_servers.guest.rlimits import raise_process_limit, set_limits

__all__ = ["Init", "filter_of", "receive", "send"]

_NICE = 10
"""Of the model's code: those who watch it come first."""


def filter_of(plan: Plan) -> bytes:
    """The filter of system calls at a plan's level."""
    if plan.level >= 2:
        return seccomp.program(seccomp.Policy(join=True))
    return seccomp.program(seccomp.Policy(families=(), signals=landlock.abi() >= 6))


def send(channel: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    socket.send_fds(channel, [json.dumps(message).encode()], fds or [])


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Raises EOFError when the other side is gone."""
    data, fds, _, _ = socket.recv_fds(channel, 1 << 16, 8)
    if not data:
        raise EOFError
    for fd in fds:
        os.set_inheritable(fd, False)
    return json.loads(data), list(fds)


class Init:
    """One session, and its forks."""

    def __init__(self, plan: Plan, bounds: Bounds, worker: ModuleType, proc: int, user: int | None, folder: str) -> None:
        """`proc`: an open procfs of the host; `user`: whom to become, None for who we are; `folder`: the work folder."""
        self._plan, self._bounds, self._worker, self._proc, self._user, self._folder = plan, bounds, worker, proc, user, folder

    def run(self, channel: socket.socket) -> NoReturn:
        """In a fresh process. Never returns."""
        try:
            signal.signal(signal.SIGCHLD, _reap)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a handler is all that lets the code inside reach process 1
            try:
                fds = self._wall_in()
            except OSError as error:
                send(channel, {"broken": str(error)})
                raise
            send(channel, {"up": True}, fds)
            while True:
                message, fds = receive(channel)
                if message["do"] == "spawn":
                    self._child(fds, self._spawn)
                else:
                    raise_process_limit(message["pids"], message["processes"])
                    self._child(fds, self._branch)
        finally:
            if self._plan.level < 2:  # no pid namespace ends them for us
                Meter(self._proc).end_below(os.getpid(), 2.0)
            os._exit(0)

    def _child(self, fds: list[int], work: Callable[[list[int]], None]) -> None:
        if not os.fork():
            try:
                work(fds)
            finally:
                os._exit(1)
        for fd in fds:
            os.close(fd)

    # --- walls ----------------------------------------------------------------------------------------------------

    def _wall_in(self) -> list[int]:
        """Returns an open descriptor of the work folder, for the supervisor."""
        if self._plan.level >= 2:
            bounds, unasked = self._bounds, self._plan.shared.keys() - set(self._bounds.shared)
            namespaces.session_folders(bounds.disk_mb, bounds.inodes, self._user, self._plan.readable, unasked)
            namespaces.loopback_up()
            socket.sethostname("sandbox")
        else:
            kernel.subreaper()
            os.chdir(self._folder)
        work = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._become_user()
        if self._plan.level >= 2:
            namespaces.become_mapped(self._proc)
        kernel.dumpable(False)
        return [work, *self._namespace_fds()]

    def _become_user(self) -> None:
        if self._user is not None:
            os.setgroups([])
            os.setresgid(self._user, self._user, self._user)
            os.setresuid(self._user, self._user, self._user)

    def _namespace_fds(self) -> list[int]:
        """Our user and mount namespace."""
        if self._plan.level < 2:
            return []
        return [os.open(f"self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc) for name in ("user", "mnt")]

    def _confine(self) -> None:
        """The last step before code that is not ours."""
        if self._plan.level < 2:
            kernel.die_with_parent(signal.SIGKILL)
        os.nice(_NICE)
        set_limits(self._bounds, count_processes=self._plan.level >= 2 or self._user is not None)
        kernel.no_new_privileges()
        kernel.drop_capabilities()
        kernel.dumpable(True)  # to its supervisor, which may be of the same user and no more
        if self._plan.level == 1:
            readable = [(p, landlock.READ) for p in self._plan.readable if os.path.exists(p)]
            devices = [(f"/dev/{n}", landlock.WRITE) for n in ("null", "zero", "full", "random", "urandom")]
            landlock.restrict([*readable, *devices, (self._folder, landlock.WRITE)])
        if self._plan.level >= 1:
            seccomp.apply(filter_of(self._plan))

    # --- what the supervisor asks for -------------------------------------------------------------------------------

    def _spawn(self, fds: list[int]) -> None:
        out, err, claim, *joined = fds
        self._first_to_go()
        self._join(joined)
        resident.settle(out, err, claim, self._folder, self._confine, self._worker, self._bounds)

    def _first_to_go(self) -> None:
        """When memory runs out the kernel ends the model's code, not those who watch it."""
        kernel.dumpable(True)  # or the file belongs to root
        with contextlib.suppress(OSError):
            fd = os.open("self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._proc)
            os.write(fd, b"1000")
            os.close(fd)
        kernel.dumpable(False)

    def _join(self, joined: list[int]) -> None:
        """Move to a fork's namespaces, which we own by having made them."""
        if joined:
            user, mounts = joined
            kernel.setns(user, kernel.CLONE_NEWUSER)
            kernel.setns(mounts, kernel.CLONE_NEWNS)
            os.chdir(WORK)

    def _branch(self, fds: list[int]) -> None:
        """A helper that makes namespaces with a copy of the folders, hands them over and ends."""
        reply, *joined = fds
        channel = socket.socket(fileno=reply)
        try:
            self._join(joined)
            namespaces.become_mapped(self._proc, kernel.CLONE_NEWNS)
            namespaces.copy_folders(self._bounds.disk_mb, self._bounds.inodes, self._plan.readable)
            work = os.open(WORK, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            send(channel, {"up": True}, [work, *self._namespace_fds()])
        except OSError as error:
            send(channel, {"broken": str(error)})


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
