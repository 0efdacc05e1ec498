"""The process that sessions are forked from: a profile's imports are done in it, and nothing else ever runs in it.

    argument: number of a socket to the server, where the plan comes first and then, for each session, a connection (a descriptor)

It ends when the server closes the socket, after the last of its sessions, and removes what they could not remove themselves.
"""

import contextlib
import gc
import glob
import importlib
import importlib.util
import os
import shutil
import signal
import socket
import sys
import tempfile
from types import ModuleType
from typing import Any

from turnwise.tool_servers.guest import kernel, namespaces
from turnwise.tool_servers.guest.cgroups import Group, Groups, find_groups
from turnwise.tool_servers.guest.frames import Frames, packed
from turnwise.tool_servers.guest.init import filter_of
from turnwise.tool_servers.guest.meter import Meter
from turnwise.tool_servers.guest.plan import Plan
from turnwise.tool_servers.guest.supervisor import Supervisor

__all__ = ["main"]

_IMPORT_TIME = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LANG": "C.UTF-8"}
"""Numeric libraries start their threads at import; a fork would not have them."""


def main(arguments: list[str]) -> None:
    """Serve until the server is gone. What stops it from starting is said on the socket."""
    control = socket.socket(fileno=int(arguments[0]))
    _close_all_but(control.fileno())
    try:
        plan = Plan(**_first(control))
        zygote = Zygote(plan, control)
    except Exception as error:
        control.sendall(packed({"broken": f"{type(error).__name__}: {error}"}))
        return
    control.sendall(packed({"ready": True, "cgroups": zygote.groups.version if zygote.groups else 0}))
    zygote.serve()


def _close_all_but(kept: int) -> None:
    nothing = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _first(control: socket.socket) -> dict[str, Any]:
    frames = Frames()
    while data := control.recv(1 << 16):
        for message, _ in frames.feed(data):
            return message
    raise EOFError("no plan")


def _worker(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("session_worker", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Zygote:
    """Holds the imports; forks a supervisor for each connection it is given."""

    def __init__(self, plan: Plan, control: socket.socket) -> None:
        self._plan, self._control = plan, control
        os.environ.clear()
        os.environ.update(_IMPORT_TIME)
        sys.path += plan.sites
        for name in ("random", *plan.imports):
            importlib.import_module(name)
        self._worker = _worker(plan.worker)
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.groups: Groups | None = find_groups(plan.group) if plan.group else None
        self._root = os.geteuid() == 0
        self._alive, self._janitor = _janitor(self.groups)
        if plan.level >= 2:
            namespaces.enter_root(plan.readable, ordinary=not self._root)
        else:
            kernel.subreaper()
            if self._root:
                namespaces.reveal(plan.readable)
        kernel.dumpable(False)
        filter_of(plan)  # made once
        self._supervisors: dict[int, Group | None] = {}
        self._number = 0
        gc.collect()
        gc.freeze()
        gc.disable()  # the resident enables it; ours make no cycles, and looking for them copies pages

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, self._reap)
        frames, links = Frames(), list[int]()
        while True:
            data, fds, _, _ = socket.recv_fds(self._control, 1 << 16, 64)
            if not data:
                break
            links += fds
            for _ in frames.feed(data):
                self._fork(links.pop(0), links)
        self._leave()

    def _fork(self, link: int, others: list[int]) -> None:
        """`others`: links of sessions that come next, which this one must not hold open."""
        self._number += 1
        group = self.groups.group(f"s{os.getpid()}-{self._number}") if self.groups else None
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # or its end could be seen before it is known
        child = os.fork()
        if not child:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
                for fd in (self._control.detach(), *others):
                    os.close(fd)
                Supervisor(self._plan, self._worker, self._proc, socket.socket(fileno=link), group, self._root).run()
            finally:
                os._exit(0)
        self._supervisors[child] = group
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        os.close(link)

    def _reap(self, *_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                if (group := self._supervisors.pop(pid, None)) is not None:
                    group.remove_soon()
                if self._plan.level < 2:
                    self._end_orphans(pid)

    def _end_orphans(self, supervisor: int) -> None:
        """What a killed supervisor left: without a pid namespace its processes come to us."""
        for folder in glob.glob(f"{tempfile.gettempdir()}/turnwise-{os.getpid()}-{supervisor}-*"):
            shutil.rmtree(folder, ignore_errors=True)
        meter = Meter(self._proc)
        for pid in meter.children(os.getpid()):
            if pid not in self._supervisors and pid != self._janitor:
                meter.end_below(pid, 1.0)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _leave(self) -> None:
        """Supervisors see the same end of the server and finish by themselves."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for pid, group in list(self._supervisors.items()):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            if group is not None:
                group.remove_soon()
        if self.groups:
            self.groups.remove()


def _janitor(groups: Groups | None) -> tuple[int, int]:
    """A process that outlives us and all our supervisors, however they end, and clears up behind them. Each of us holds the
    descriptor that is returned, with its process id; when nobody does, its turn has come."""
    turn, alive = os.pipe2(os.O_CLOEXEC)
    if janitor := os.fork():
        os.close(turn)
        return alive, janitor
    try:
        zygote = os.getppid()
        kept = {turn, *(groups.folders.values() if groups else ())}
        for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
            with contextlib.suppress(OSError):
                if fd not in kept:
                    os.close(fd)
        os.setsid()
        os.read(turn, 1)
        if groups:
            groups.clear()
        for folder in glob.glob(f"{tempfile.gettempdir()}/turnwise-{zygote}-*"):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(0)
