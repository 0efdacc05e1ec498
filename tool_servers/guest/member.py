"""One session as its supervisor sees it: its process, what connects to it, its call, what it has used."""

import contextlib
import os
import socket
import struct
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from turnwise.tool_servers.guest.frames import FrameError, Frames
from turnwise.tool_servers.guest.output import Capture
from turnwise.tool_servers.guest.plan import Bounds

__all__ = ["Call", "Member", "Pipes", "State"]

_MOST_CLAIMS = 256
_FRAME_ROOM = 65536
"""Of a claim, beside its value."""
_CREDENTIALS = struct.Struct("3i")


class State(Enum):
    """Of a session's process."""

    BLANK = auto()
    """It is there, and waits to be told its seed and settings."""
    STARTING = auto()
    IDLE = auto()
    RUNNING = auto()
    LOST = auto()
    """It did not start, or its supervisor ended it."""


@dataclass(slots=True)
class Call:
    """One call that runs."""

    n: int
    started: float
    wall_s: float
    clock_ms: float
    """CPU at the start: of the session's first process, and of all of them as far as they were seen."""
    total_ms: float
    own_ms: float = 0.0
    """CPU of the first process in this call."""
    rested: bool = False
    """Whether its first process was seen when it did not want the processor."""
    grace_s: float = 0.0
    """Time in which it was kept waiting, and which does not count."""
    word: str = field(default_factory=lambda: os.urandom(8).hex())
    """What a claim must name: no code can know it before the call has been sent."""

    @property
    def deadline(self) -> float:
        return self.started + self.wall_s + self.grace_s


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

    def fds(self) -> tuple[int, int, int]:
        return self.out, self.err, self.claim.fileno()

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
    folders: list[int]
    """Open: the work folder, and where it has a file system of its own the others of `FOLDERS`."""
    spaces: list[int]
    """Open mount and user namespace; [] where there are none."""
    mounts: str
    """Name of its mount namespace, by which its processes are told from those of its family."""
    bounds: Bounds
    pipes: Pipes = field(default_factory=Pipes.make)
    generation: int = 0
    """How many forks it is away from the family's first."""
    state: State = State.STARTING
    since: float = field(default_factory=time.monotonic)
    pid: int = 0
    pidfd: int = -1
    refusal: str = ""
    """Why its worker refused to start."""
    unsent: bytearray = field(default_factory=bytearray)
    stuck: bool = False
    """Whether it did not take all, so that we wait until it does."""
    held: dict[str, Any] | None = None
    """A call that waits for the process to be ready."""
    said: int = 0
    """Bytes of claims, and how many, since something was asked of it."""
    claims: int = 0
    call: Call | None = None
    out: Capture = field(init=False)
    err: Capture = field(init=False)
    files: list[int] = field(default_factory=list[int])
    """Descriptors of its open files, when it was last asked to fork."""
    busy: bool = False
    """Whether something of it may run between calls: children or threads."""
    looked: float = 0.0
    """When its use was last looked at, and how long that will do."""
    look_s: float = 0.02
    restarted: bool = False
    kills: int = 0
    """Kills for memory in its control group that are dealt with."""
    peak: int = 0
    """Most resident bytes seen."""
    spent_ms: float = 0.0
    """CPU of processes that are gone, where init does not count it."""
    main_ms: float = 0.0
    """CPU of its process when it was last looked at."""
    total_ms: float = 0.0
    """CPU of the session when it was last looked at."""
    _frames: Frames = field(init=False)

    def __post_init__(self) -> None:
        self.fresh_output()
        self._frames = Frames(self.bounds.value_kb * 1024 + _FRAME_ROOM)

    def fresh_output(self) -> None:
        keep = self.bounds.output_kb * 1024
        self.out, self.err = Capture(keep), Capture(keep)

    @property
    def work(self) -> int:
        return self.folders[0]

    @property
    def too_loud(self) -> bool:
        return max(self.out.total, self.err.total) > self.bounds.output_stop_mb << 20

    def drain(self) -> None:
        """Take what is in the pipes, until there is more than is allowed."""
        for fd, capture in ((self.pipes.out, self.out), (self.pipes.err, self.err)):
            with contextlib.suppress(BlockingIOError):
                while not self.too_loud and (data := os.read(fd, 1 << 16)):
                    capture.feed(data)

    def push(self) -> None:
        """Send what the process takes; it may choose not to read."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self.unsent:
                del self.unsent[: self.pipes.claim.send(self.unsent)]

    def asked(self) -> None:
        """From here on it may answer."""
        self.said = self.claims = 0

    def listen(self) -> list[dict[str, Any]]:
        """Claims that have arrived; who starts gets ready on the way. Raises EOFError, and FrameError for what is no claim."""
        try:
            data, ancillary, _, _ = self.pipes.claim.recvmsg(1 << 16, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BlockingIOError:
            return []
        except ConnectionResetError:
            raise EOFError from None
        if not data:
            raise EOFError
        claims = [message for message, _ in self._frames.feed(data)]
        self.said, self.claims = self.said + len(data), self.claims + len(claims)
        if self.said > 2 * (self.bounds.value_kb * 1024 + _FRAME_ROOM) or self.claims > _MOST_CLAIMS:
            raise FrameError("it says more than an answer, and reading it costs us more than it costs the code")
        if self.state is State.STARTING:
            for claim in claims:
                self._greet(claim, ancillary)
        return claims

    def _greet(self, claim: dict[str, Any], ancillary: list[tuple[int, int, bytes]]) -> None:
        """The kernel says who sent it; the process only says that it is there."""
        if "hello" in claim and not self.pid:
            self.pid = next(_CREDENTIALS.unpack(d)[0] for _, kind, d in ancillary if kind == socket.SCM_CREDENTIALS)
            try:
                self.pidfd = os.pidfd_open(self.pid)
            except OSError:
                raise FrameError("its process is gone") from None
        if claim.get("ready") is True and self.pid:
            self.state = State.IDLE
        elif "ready" in claim:
            self.state, self.refusal = State.LOST, str(claim.get("error"))

    def renew(self) -> None:
        """Forget the process that is gone; new pipes for the next one."""
        self.close_process()
        self.pipes = Pipes.make()
        self._frames = Frames(self.bounds.value_kb * 1024 + _FRAME_ROOM)
        self.pid, self.pidfd, self.busy, self.refusal, self.main_ms = 0, -1, False, "", 0.0
        self.unsent.clear()
        self.asked()
        self.stuck = False
        self.state, self.since = State.STARTING, time.monotonic()

    def close_process(self) -> None:
        self.pipes.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)

    def close(self) -> None:
        self.close_process()
        for fd in (*self.folders, *self.spaces):
            os.close(fd)
