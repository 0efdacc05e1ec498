"""The process in which the model's code lives. What it says to its supervisor is a claim, whoever wrote the code that says it.

fd 0 nothing, 1 and 2 pipes to the supervisor, 3 the claim channel; no other
"""

import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

from turnwise.tool_servers.guest import kernel
from turnwise.tool_servers.guest.frames import Frames, packed
from turnwise.tool_servers.guest.plan import FOLDERS, WORK, Bounds

__all__ = ["rehearse", "settle"]

CLAIM = 3
_SPARE = {1: 4, 2: 5}
"""Where a second hold on the output pipes is, for code that closes its own."""
_THERE = packed({"hello": True, "ready": True})
_OURS = list[str]()
"""Names of our modules."""
_ENVIRONMENT = {
    "HOME": WORK,
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TMPDIR": "/tmp",
    "USER": "sandbox",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def rehearse() -> None:
    """Once in the zygote: what every session would do alike, and write to pages that it shares until then."""
    _OURS[:] = [name for name in sys.modules if name == "turnwise" or name.startswith("turnwise.")]
    os.environ.clear()
    os.environ.update(_ENVIRONMENT)
    kept, (read, write) = [os.dup(fd) for fd in range(3)], os.pipe()
    nothing = os.open("/dev/null", os.O_RDONLY)
    for number, fd in enumerate((nothing, write, write)):
        os.dup2(fd, number)
    _open_streams()  # which remember of what kind these are
    for number, fd in enumerate(kept):
        os.dup2(fd, number)
    for fd in (*kept, read, write, nothing):
        os.close(fd)


def settle(
    out: int, err: int, claim: int, folder: str, confine: Callable[[], None], worker: ModuleType, bounds: Bounds
) -> NoReturn:
    """Never returns. `confine` gives up all rights; from there on no line of ours is trusted."""
    status = 1
    try:
        kernel.name_process("tw-session")
        os.setsid()
        _take_fds(out, err, claim)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if folder != WORK:
            os.environ["HOME"] = folder
        gc.enable()
        os.umask(0o022)
        confine()
        for name in _OURS:
            sys.modules.pop(name, None)
        _Resident(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, CLAIM), worker, bounds).run()
        status = 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"the session's process did not start: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def _take_fds(out: int, err: int, claim: int) -> None:
    """Exactly the descriptors of the list above."""
    nothing = os.open("/dev/null", os.O_RDONLY)
    high = [os.dup2(fd, 64 + i, inheritable=False) for i, fd in enumerate((nothing, out, err, claim, out, err))]
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=number < CLAIM)
    os.closerange(len(high), os.sysconf("SC_OPEN_MAX"))


def _open_streams() -> None:
    text: dict[str, Any] = {"buffering": 1, "encoding": "utf-8", "errors": "backslashreplace", "closefd": False}
    streams = [os.fdopen(number, mode, **text) for number, mode in enumerate("rww")]
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = streams


class _Resident:
    """The loop: a request, the worker, a claim."""

    def __init__(self, channel: socket.socket, worker: ModuleType, bounds: Bounds) -> None:
        self._channel, self._module, self._bounds = channel, worker, bounds
        self._frames = Frames()
        self._streams = (sys.stdout, sys.stderr)

    def run(self) -> None:
        self._say({"hello": True})
        fds: list[int] = []
        while True:
            data, more, _, _ = socket.recv_fds(self._channel, 1 << 16, 8)
            if not data:
                return
            fds += more
            for message, _ in self._frames.feed(data):
                if "begin" in message:
                    self._begin(message["begin"])
                elif "fork" in message:
                    self._fork(message, fds)
                    fds = []
                else:
                    self._say(self._answer(message))

    def _begin(self, settings: dict[str, Any]) -> None:
        try:
            self._worker = self._module.Worker(settings["settings"], settings["seed"])
        except Exception as error:
            self._say({"ready": False, "error": f"{type(error).__name__}: {error}"})
            os._exit(0)
        self._flush()
        self._say({"ready": True})

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        for fd, spare in _SPARE.items():
            with contextlib.suppress(OSError):
                os.dup2(spare, fd)
        claim: dict[str, Any] = {"call": message["call"]}
        try:
            value = self._worker.handle(message["tool"], message["arguments"])
            size = len(json.dumps(value, allow_nan=False))
            if size > self._bounds.value_kb * 1024:
                raise ValueError(f"the result has {size} bytes as JSON, at most {self._bounds.value_kb} kB are allowed")
            claim |= {"ok": True, "value": value}
        except Exception as error:
            own = type(error).__module__ == self._module.__name__
            claim |= {"ok": False, "error": str(error) if own else f"{type(error).__name__}: {error}"}
        self._flush()
        return claim

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr, *self._streams):
            with contextlib.suppress(Exception):
                stream.flush()

    def _say(self, claim: dict[str, Any]) -> None:
        self._channel.sendall(packed(claim))

    def _fork(self, message: dict[str, Any], fds: list[int]) -> None:
        """A twin of this process, a child of its parent, on the pipes whose descriptors came along."""
        try:
            child = kernel.fork(kernel.CLONE_PARENT)
        except OSError:
            child = -1  # its supervisor sees that the pipes close
        if child:
            for fd in fds:
                os.close(fd)
            self._say({"forked": message["fork"]})
            return
        try:
            self._move(fds, message["files"])
            self._channel.sendall(_THERE)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(2, f"{type(error).__name__}: {error}".encode())
            os._exit(1)

    def _move(self, fds: list[int], opened: list[int]) -> None:
        """To new pipes, and behind new walls where a copy of the files is; open ones at the same place."""
        out, err, claim = fds
        for fd, number in ((out, 1), (err, 2), (claim, CLAIM), (out, _SPARE[1]), (err, _SPARE[2])):
            os.dup2(fd, number, inheritable=number in (1, 2))
        for fd in fds:
            os.close(fd)
        os.setsid()
        here, open_files = os.getcwd(), _open_files(opened)
        mounts, user = socket.recv_fds(self._channel, 1 << 10, 2)[1]
        kernel.setns(user, kernel.CLONE_NEWUSER)
        kernel.setns(mounts, kernel.CLONE_NEWNS)
        os.close(user)
        os.close(mounts)
        kernel.drop_capabilities()
        kernel.dumpable(True)
        os.chdir(here)
        for fd, (path, flags, at, inheritable) in open_files.items():
            new = os.open(path, flags)
            os.lseek(new, at, os.SEEK_SET)
            os.dup2(new, fd, inheritable)
            os.close(new)


def _open_files(fds: list[int]) -> dict[int, tuple[str, int, int, bool]]:
    """Descriptor -> path, flags, offset and inheritance of those that are in the session's folders."""
    if not fds:
        return {}
    found = {fd: os.fstat(fd) for fd in fds}
    paths: dict[tuple[int, int], str] = {}
    for folder in FOLDERS:
        for above, _, names in os.walk(folder):
            for path in (os.path.join(above, name) for name in names):
                about = os.lstat(path)
                paths[about.st_dev, about.st_ino] = path
    flags = os.O_ACCMODE | os.O_APPEND | os.O_CLOEXEC
    return {
        fd: (path, fcntl.fcntl(fd, fcntl.F_GETFL) & flags, os.lseek(fd, 0, os.SEEK_CUR), os.get_inheritable(fd))
        for fd, about in found.items()
        if (path := paths.get((about.st_dev, about.st_ino)))
    }
