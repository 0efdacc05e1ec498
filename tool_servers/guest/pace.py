"""When the processes of a session get the processor: their pace, and where in the controller `cpu` they have it.

    <folder of our groups> / s1          one beside another
                           / rear / s2   those that owe much, all in time that nobody else wants

Who owes little is put last where it is. Who owes much is moved to the rear, for what shares the processor is paid for among
siblings: whoever leaves a core's queue, killed or bound for another core, leaves what it had beyond its share to those who stay,
and they wait for it, idle or not. Beside thirty sessions that were stopped again and again small calls waited for milliseconds
behind loops that should only have had what nobody wants. In the rear they owe that to each other.

Version 2 has one tree for memory and processor, and memory stays charged where it was taken: there nobody moves.
"""

import contextlib
import os
from enum import IntEnum

__all__ = ["NORMAL", "REAR", "Credit", "Pace", "Place", "read_at", "write_at"]

REAR = "rear"
_SHARES = {1: ("cpu.shares", ("2", "64", "1024", "262144")), 2: ("cpu.weight", ("1", "6", "100", "10000"))}
"""File, and for each pace the least it takes, a sixteenth of the kernel's default, that, and the most."""
_IDLE = "cpu.idle"
"""Linux 5.15: whatever is not idle runs at once in the place of what is."""
_BURST_MS, _SHARE, _DEBT_MS = 8.0, 0.025, 500.0
"""CPU for which a session is one among equals: so much at a time, growing again by this share of a core; beyond that it owes what
it used, at most so much."""
_MUCH_MS = 50.0
"""What one has to owe to be moved to the rear, which may take ten milliseconds."""
_ROUNDS = 20
"""Of moving: who is forked meanwhile by one that has not been moved yet comes with the next."""


class Pace(IntEnum):
    """When a session's processes get the processor."""

    LAST = 0
    LATE = 1
    USUAL = 2
    FIRST = 3


NORMAL = {version: (name, shares[Pace.USUAL]) for version, (name, shares) in _SHARES.items()}
"""The file, and the weight of one session among all."""


def write_at(folder: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def read_at(folder: int, name: str) -> str:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(fd, 4096).decode()
    finally:
        os.close(fd)


class Credit:
    """CPU that a session may use as one among equals."""

    def __init__(self) -> None:
        self._left_ms, self._used_ms, self._at = _BURST_MS, -1.0, 0.0

    def count(self, used_ms: float, now: float) -> None:
        """`used_ms`: by all of it until `now`, in seconds."""
        if self._used_ms >= 0:
            left = self._left_ms + (now - self._at) * 1000 * _SHARE - (used_ms - self._used_ms)
            self._left_ms = min(_BURST_MS, max(-_DEBT_MS, left))
        self._used_ms, self._at = used_ms, now

    @property
    def owes(self) -> bool:
        return self._left_ms <= 0

    @property
    def owes_much(self) -> bool:
        return self._left_ms < -_MUCH_MS


class Place:
    """Of one session's group in the controller `cpu`."""

    def __init__(self, folder: int | None, version: int, path: str, moves: bool) -> None:
        """`folder`: None where there is no such controller; `path`: below it, `rear/` before the name for who begins there;
        `moves`: whether the processes may be elsewhere here than in the other controllers."""
        self._folder, self._version, self.path, self._moves = folder, version, path, moves
        self._name = path.removeprefix(f"{REAR}/")
        self.now = Pace.USUAL

    @property
    def behind(self) -> bool:
        """Whether it is in the rear."""
        return self.path != self._name

    @property
    def paths(self) -> list[str]:
        """Where it may be or have been."""
        return [self._name, f"{REAR}/{self._name}"] if self._moves else [self._name]

    @property
    def late(self) -> bool:
        return self.now is Pace.LATE

    @property
    def faster(self) -> Pace:
        """Before more of the others than now; from the rear not at once."""
        return Pace(min(self.now + 1, Pace.FIRST)) if self.behind else max(Pace.USUAL, Pace(min(self.now + 1, Pace.FIRST)))

    @property
    def soon(self) -> Pace:
        """Before all who are kept waiting with it, where it is."""
        return Pace.LATE if self.behind else Pace.USUAL

    def pace(self, pace: Pace) -> None:
        """From now on, for all its processes. Who goes among equals again leaves the rear."""
        was, self.now = self.now, pace
        if pace is was or self._folder is None:
            return
        if self.behind and pace >= Pace.USUAL:
            self._set(self._name, Pace.LAST, pace)  # as which it may have left
            self._move(self._name)
        else:
            self._set(self.path, was, pace)

    def retire(self) -> None:
        """Into the rear, where it can be, until it goes among equals again."""
        if self._folder is None or not self._moves or self.behind:
            return
        with contextlib.suppress(OSError):
            self._make(REAR, Pace.LAST)
            path = f"{REAR}/{self._name}"
            self._make(path, self.now)
            self._move(path)

    def _move(self, path: str) -> None:
        assert self._folder is not None
        left, self.path = self.path, path
        for _ in range(_ROUNDS):
            pids = read_at(self._folder, f"{left}/cgroup.procs").split()
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(OSError):  # it has ended
                    write_at(self._folder, f"{path}/cgroup.procs", pid)

    def _make(self, path: str, pace: Pace) -> None:
        assert self._folder is not None
        try:
            os.mkdir(path, 0o755, dir_fd=self._folder)
        except FileExistsError:
            if path == REAR:
                return
        self._set(path, Pace.LAST, pace)

    def _set(self, path: str, was: Pace, pace: Pace) -> None:
        """The weight of who is idle cannot be changed."""
        assert self._folder is not None
        name, shares = _SHARES[self._version]
        steps = [(_IDLE, "0")] if was is Pace.LAST else []
        steps += [(name, shares[pace])]
        steps += [(_IDLE, "1")] if pace is Pace.LAST else []
        for file, text in steps:
            with contextlib.suppress(OSError):
                write_at(self._folder, f"{path}/{file}", text)
