"""One session as its supervisor sees it, and the one line a model reads when it met a limit."""

import os
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.tool_servers.guest.frames import Frames
from turnwise.tool_servers.guest.output import Capture
from turnwise.tool_servers.guest.plan import Bounds

__all__ = ["Call", "Member", "Pipes", "verdict_text"]

_LOST = "Variables are lost, files are kept."
_TEXTS = {
    "wall": "Stopped after {wall_s:g} s, the time for one call.",
    "cpu": "Stopped: the {cpu_s:g} s of CPU time of this session are used up.",
    "memory": "Stopped: the session used more than its {memory_mb} MB of memory.",
    "processes": "Stopped: the session had more than its {processes} processes and threads.",
    "disk": "Stopped: the session wrote more than its {disk_mb} MB of files.",
    "output": "Stopped: one call wrote more than {output_stop_mb} MB of output.",
    "value": "Stopped: the result is larger than {value_kb} kB, or not JSON.",
    "died": "The session's process ended ({how}).",
}


def verdict_text(cause: str, bounds: Bounds, **more: Any) -> str:
    """For a cause that ended the process."""
    known = {name: getattr(bounds, name) for name in Bounds.__slots__} | more
    return f"{_TEXTS[cause].format_map(known)} {_LOST}"


@dataclass(slots=True)
class Call:
    """One call that runs."""

    n: int
    started: float
    deadline: float
    wall_s: float
    clock_ms: float = 0.0
    """CPU of the session's process and of all of them at the start."""
    total_ms: float = 0.0


@dataclass(slots=True)
class Pipes:
    """Our ends and theirs of what connects to a process."""

    out: int
    err: int
    claim: socket.socket
    theirs: list[int]

    @classmethod
    def make(cls) -> "Pipes":
        out, out_w = os.pipe2(os.O_CLOEXEC)
        err, err_w = os.pipe2(os.O_CLOEXEC)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        for fd in (out, err):
            os.set_blocking(fd, False)
        ours.setblocking(False)
        return cls(out, err, ours, [out_w, err_w, theirs.detach()])

    def close_theirs(self) -> None:
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def close(self) -> None:
        self.close_theirs()
        for fd in (self.out, self.err):
            os.close(fd)
        self.claim.close()


@dataclass(slots=True, eq=False)
class Member:
    """A session of a family: the first one, or a fork."""

    id: int
    work: int
    """Open work folder."""
    spaces: list[int]
    """Open user and mount namespace; [] where there are none."""
    bounds: Bounds
    pipes: Pipes
    mounts: str = ""
    """Name of its mount namespace, by which its processes are told from those of its family."""
    state: str = "starting"
    """starting, idle, running"""
    since: float = field(default_factory=time.monotonic)
    pid: int = 0
    pidfd: int = -1
    frames: Frames = field(default_factory=Frames)
    unsent: bytearray = field(default_factory=bytearray)
    held: dict[str, Any] | None = None
    """A call that waits for the process to be ready."""
    call: Call | None = None
    out: Capture = field(default_factory=lambda: Capture(0))
    err: Capture = field(default_factory=lambda: Capture(0))
    busy: bool = False
    """Whether something of it runs between calls: children or threads."""
    restarted: bool = False
    spent_ms: float = 0.0
    """CPU of processes that are gone."""
    peak: int = 0
    kills: int = 0
    last_words: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def fresh_output(self) -> None:
        keep = self.bounds.output_kb * 1024
        self.out, self.err = Capture(keep), Capture(keep)

    def drain(self, most: int) -> None:
        """Take what is in the pipes, until one of them has given more than `most` bytes."""
        for fd, capture in ((self.pipes.out, self.out), (self.pipes.err, self.err)):
            while capture.total <= most:
                try:
                    data = os.read(fd, 1 << 16)
                except BlockingIOError:
                    break
                if not data:
                    break
                capture.feed(data)

    def fds(self) -> list[tuple[int, int]]:
        """(descriptor, events) to be watched."""
        watched = [(fd, select.EPOLLIN) for fd in (self.pipes.out, self.pipes.err, self.pipes.claim.fileno())]
        return [*watched, (self.pidfd, select.EPOLLIN)] if self.pidfd >= 0 else watched
