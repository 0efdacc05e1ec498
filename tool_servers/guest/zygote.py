"""The process that sessions are forked from: a profile's imports are done in it, and nothing else ever runs in it.

    argument: number of a socket to the server, where the plan comes first and then, for each session, a connection (a descriptor)

It ends when the server closes the socket, after the last of its sessions, and removes what they could not remove themselves.
"""

import contextlib
import gc
import importlib
import importlib.util
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Generator
from functools import partial
from types import ModuleType
from typing import Any, NoReturn

from turnwise.tool_servers.guest import files, kernel, namespaces, resident
from turnwise.tool_servers.guest.brancher import Spare, make_walls
from turnwise.tool_servers.guest.cgroups import Group, Groups, find_groups
from turnwise.tool_servers.guest.channel import receive, send
from turnwise.tool_servers.guest.confinement import filter_of
from turnwise.tool_servers.guest.family import Builders, Family
from turnwise.tool_servers.guest.frames import Frames, packed
from turnwise.tool_servers.guest.init import Init
from turnwise.tool_servers.guest.meter import Meter
from turnwise.tool_servers.guest.nursery import Nursery
from turnwise.tool_servers.guest.plan import WORK, Bounds, Plan
from turnwise.tool_servers.guest.supervisor import Supervisor

__all__ = ["main"]

_WALLS = kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWNS
_IMPORT_TIME = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "LANG": "C.UTF-8"}
"""Numeric libraries start their threads at import; a fork would not have them."""


def main(arguments: list[str]) -> None:
    """Serve until the server is gone. What stops it from starting is said on the socket."""
    control = socket.socket(fileno=int(arguments[0]))
    _close_all_but(control.fileno())
    os.environ.clear()
    os.environ.update(_IMPORT_TIME)
    kernel.name_process("tw-zygote")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        plan = Plan(**_first(control))
        serve = _apart(plan, control) if plan.level >= 2 and plan.apart else _in_one(plan, control)
    except Exception as error:
        control.sendall(packed({"broken": f"{type(error).__name__}: {error}"}))
        return
    serve()


def _in_one(plan: Plan, control: socket.socket) -> Callable[[], None]:
    """One process for all. Raises what stops it from starting."""
    zygote = Zygote(plan, control)
    worker = _imported(plan)
    if plan.level >= 2:
        namespaces.enter_root(plan.readable, plan.shared, ordinary=not zygote.root)
    else:
        kernel.subreaper()
        if zygote.root:
            namespaces.reveal(plan.readable)
    _settle(plan, zygote.proc)
    _ready(control, zygote.groups)
    return partial(zygote.serve, worker, None)


def _apart(plan: Plan, control: socket.socket) -> Callable[[], None]:
    """This process becomes the nursery; a child, which imports nothing, forks supervisors and inits."""
    zygote = Zygote(plan, control)
    news, says = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    orders, order = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    builder = os.fork()
    if not builder:
        _build(zygote, says, order, (news, orders))
    for ours in (says, order):
        ours.close()
    worker = _imported(plan)
    with news:
        said, spaces = receive(news)
    if "broken" in said:
        raise OSError(said["broken"])
    namespaces.enter(*spaces)
    _settle(plan, zygote.proc)
    if zygote.groups:
        zygote.groups.rear()
    _ready(control, zygote.groups)
    control.close()
    return Nursery(plan, worker, zygote.proc, zygote.groups, orders, builder).serve


def _build(zygote: "Zygote", says: socket.socket, order: socket.socket, parents: tuple[socket.socket, ...]) -> NoReturn:
    """The builder's life; it ends with its parent, at the latest."""
    with _last_act():
        kernel.name_process("tw-builder")
        for theirs in parents:
            theirs.close()
        plan = zygote.plan
        try:
            namespaces.enter_root(plan.readable, plan.shared, ordinary=not zygote.root)
            spaces = namespaces.descriptors(zygote.proc, *([] if zygote.root else ["user"]), "mnt")
        except OSError as error:
            send(says, {"broken": str(error)})
            os._exit(1)
        kernel.dumpable(False)
        kernel.die_with_parent(signal.SIGKILL)
        send(says, {"up": True}, spaces)
        for fd in (says.detach(), *spaces):
            os.close(fd)
        gc.collect()
        gc.freeze()
        gc.disable()
        zygote.serve(None, order)
    os._exit(0)


@contextlib.contextmanager
def _last_act() -> Generator[None]:
    """Of a child, which never comes back; what went wrong is printed where the server prints."""
    try:
        yield
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _imported(plan: Plan) -> ModuleType:
    """What sessions find imported, and their worker."""
    sys.path += plan.sites
    for name in ("random", *plan.imports):
        importlib.import_module(name)
    return _worker(plan.worker)


def _settle(plan: Plan, proc: int) -> None:
    """What every session would do alike is done once."""
    kernel.dumpable(False)
    filter_of(plan)
    resident.rehearse()
    gc.collect()
    gc.freeze()
    kernel.huge_pages(Meter(proc).read_all("self/maps").decode())
    gc.disable()  # the resident enables it; ours make no cycles, and looking for them copies pages


def _ready(control: socket.socket, groups: Groups | None) -> None:
    control.sendall(packed({"ready": True, "cgroups": groups.version if groups else 0}))


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
    """Forks a supervisor for each connection it is given, and inits when these ask."""

    def __init__(self, plan: Plan, control: socket.socket) -> None:
        """Raises OSError."""
        self.plan, self._control = plan, control
        self.root = os.geteuid() == 0 and (plan.level < 2 or kernel.may_mount())
        """Whether sessions run as a user that nobody else is."""
        self.proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.groups: Groups | None = find_groups(plan.group) if plan.group else None
        self._alive, self._janitor = _janitor(self.groups)
        if self.groups:
            self.groups.watch()
        self._meter = Meter(self.proc)
        self._worker: ModuleType | None = None
        self._nursery: socket.socket | None = None
        self._orders, self._order = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) if plan.level >= 2 else (None, None)
        """Our end, and that of all supervisors."""
        self._supervisors: dict[int, Group | None] = {}
        self._inits: dict[int, int] = {}
        """Supervisor -> the init it has."""
        self._leaving: set[int] = set()
        """Inits whose supervisor is gone, and branchers, which go when it lets them."""
        self._spare = Spare(self._brancher)
        self._links: list[int] = []
        self._number = 0
        self._parent = os.getpid()
        """Whose children sessions' processes are, where there is a nursery."""

    def serve(self, worker: ModuleType | None, nursery: socket.socket | None) -> None:
        """Until the server is gone. `worker`: what inits start, or `nursery`: where supervisors have it started."""
        self._worker, self._nursery = worker, nursery
        news, bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ring)
        self._ours = [self._control.fileno(), news, bell]
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(news, select.POLLIN)
        if self._orders:
            self._ours.append(self._orders.fileno())
            poll.register(self._orders, select.POLLIN)
        frames = Frames()
        while True:
            ready = {fd for fd, _ in poll.poll(self._spare.patience_ms)}
            self._spare.tend(at_rest=not ready)
            if self._orders and self._orders.fileno() in ready:
                self._obey(*receive(self._orders))
            if news in ready:
                os.read(news, 4096)
                self._reap()
            if self._control.fileno() not in ready:
                continue
            data, fds, _, _ = socket.recv_fds(self._control, 1 << 16, 64)
            if not data:
                break
            self._links += fds
            for _ in frames.feed(data):
                self._fork(self._links.pop(0))
        self._leave()

    def _obey(self, order: dict[str, Any], fds: list[int]) -> None:
        """What a supervisor wants: that its init is waited for, or a new one, or a brancher. The pages that they share with us
        make them cheap."""
        if "ended" in order:
            self._inits.pop(order["supervisor"], None)
            self._spare.ended(order["supervisor"])
            with contextlib.suppress(ChildProcessError):
                os.waitpid(order["ended"], 0)
            return
        if len(fds) > 1:
            self._spare.branch(order, fds)
            return
        with socket.socket(fileno=fds[0]) as channel, contextlib.suppress(OSError):  # the supervisor may be gone
            try:
                child = kernel.fork(_WALLS)
            except OSError as error:
                send(channel, {"broken": str(error)})
                return
            if not child:
                os.setsid()  # so that it is not waited for among the supervisors
                self._become_child()
                Init(self.plan, Bounds(**order["bounds"]), self._worker, self.proc, order["user"], WORK).run(channel)
            self._inits[order["supervisor"]] = child
            send(channel, {"init": child})

    def _brancher(self) -> socket.socket:
        """To a fresh one. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            child = kernel.fork()
            if not child:
                with _last_act():
                    os.setsid()  # so that it is not waited for among the supervisors
                    self._become_child()
                    ours.close()
                    make_walls(theirs, self.plan, self.proc, self.groups)
        self._leaving.add(child)
        return ours

    def _become_child(self) -> None:
        """What is the zygote's alone, and links of sessions that come next."""
        signal.set_wakeup_fd(-1)
        for fd in (*self._ours, *self._links):
            os.close(fd)
        self._spare.close()

    def _fork(self, link: int) -> None:
        self._number += 1
        group = self.groups.group(f"s{os.getpid()}-{self._number}") if self.groups else None
        child = os.fork()
        if not child:
            with _last_act():
                self._become_child()
                builders = Builders(self._order, self._nursery, self._parent) if self._order else None
                family = partial(Family, self.plan, self._worker, self.proc, group, self.root, builders)
                Supervisor(socket.socket(fileno=link), group, family).run()
        self._supervisors[child] = group
        os.close(link)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(0 if self._orders else -1, os.WNOHANG)[0]) != 0:
                if init := self._inits.pop(pid, 0):
                    self._leaving.add(init)
                self._spare.ended(pid)
                group = self._supervisors.pop(pid, None)
                if self.plan.level < 2:
                    self._end_orphans(pid)
                if group is not None:
                    group.remove_soon()
        with contextlib.suppress(ChildProcessError):
            self._leaving -= {init for init in self._leaving if os.waitpid(init, os.WNOHANG)[0]}

    def _end_orphans(self, supervisor: int) -> None:
        """What a killed supervisor left: without a pid namespace its processes come to us."""
        files.remove_temporary(f"turnwise-{os.getpid()}-{supervisor}-", 0.5)  # our janitor removes the rest
        end, none = time.monotonic() + 1.0, 0
        while none < 2 and time.monotonic() < end:  # see Meter.end_below
            children = [self._meter.process(pid) for pid in self._meter.children(os.getpid())]
            strays = [p.pid for p in children if p and not p.gone and p.pid not in (*self._supervisors, self._janitor)]
            none = 0 if strays else none + 1
            for pid in strays:
                self._meter.end_below(partial(self._meter.children, pid), 0.5)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _leave(self) -> None:
        """Supervisors see the same end of the server and finish by themselves."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if self._orders:
            self._orders.close()  # who waits for an init waits no longer
        self._spare.close()
        for pid, group in list(self._supervisors.items()):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            if self.plan.level < 2:
                self._end_orphans(pid)
            if group is not None:
                group.remove_soon()
        for init in (*self._inits.values(), *self._leaving):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(init, 0)
        if self.groups:
            self.groups.remove()


def _ring(*_: object) -> None:
    """That there is a handler makes Python ring the bell; what is to do is never done inside one, where locks may be held."""


def _janitor(groups: Groups | None) -> tuple[int, int]:
    """A process that outlives us and all our supervisors, however they end, and clears up behind them. Each of us holds the
    descriptor that is returned, with its process id; when nobody does, its turn has come."""
    turn, alive = os.pipe2(os.O_CLOEXEC)
    if janitor := os.fork():
        os.close(turn)
        return alive, janitor
    try:
        kernel.name_process("tw-janitor")
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
        files.remove_temporary(f"turnwise-{zygote}-")
    finally:
        os._exit(0)
