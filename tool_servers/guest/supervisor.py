"""The trusted process above a session: it alone says what came of a call.

One thread, one loop over: the link to the server, the claim channel and the output pipes of each session of the family, the end
of its processes, and the clock. What the session's process says is a claim of bounded size about its own result; the status,
the output, the time and the memory are seen from here. When the link closes, everything ends.
"""

import contextlib
import errno
import os
import select
import shutil
import signal
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from turnwise.tool_servers.guest import files, kernel
from turnwise.tool_servers.guest.cgroups import Group
from turnwise.tool_servers.guest.frames import FrameError, Frames, packed
from turnwise.tool_servers.guest.init import Init, receive, send
from turnwise.tool_servers.guest.member import Call, Member, Pipes, verdict_text
from turnwise.tool_servers.guest.meter import Meter, Process
from turnwise.tool_servers.guest.plan import WORK, Bounds, Plan

__all__ = ["Supervisor"]

_START_S, _FORK_S, _KILL_S = 30.0, 10.0, 2.0
_TICK_S, _IDLE_TICK_S = 0.02, 0.25
_CREDENTIALS = struct.Struct("3i")


class Broken(Exception):
    """The sandbox, not the code in it."""


class Supervisor:
    """A family: a session and its forks, which share a pid namespace, a control group and this process."""

    def __init__(self, plan: Plan, worker: ModuleType, proc: int, link: socket.socket, group: Group | None, root: bool) -> None:
        self._plan, self._worker, self._proc, self._link, self._group = plan, worker, proc, link, group
        self._meter = Meter(proc)
        self._user = plan.first_user + os.getpid() if root else None
        self._members: dict[int, Member] = {}
        self._watched: dict[int, Member] = {}
        self._epoll = select.epoll()
        self._folder = WORK
        self._init = 0
        self._next_member = 0
        self._zygote = os.getppid()

    def run(self) -> None:
        """Until the link closes, or the last session is closed."""
        kernel.dumpable(False)
        frames = Frames()
        try:
            self._epoll.register(self._link.fileno(), select.EPOLLIN)
            while True:
                for fd, _ in self._epoll.poll(self._patience()):
                    if fd == self._link.fileno():
                        data = self._link.recv(1 << 18)
                        if not data:
                            return
                        for message, raw in frames.feed(data):
                            self._request(message, raw)
                            if message["op"] == "close" and not self._members:
                                return
                    elif fd in self._watched:
                        self._event(self._watched[fd], fd)
                self._look_at_clock()
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            self._leave()

    # --- requests ---------------------------------------------------------------------------------------------------

    def _request(self, message: dict[str, Any], raw: bytes) -> None:
        n = message["n"]
        try:
            if message["op"] == "open":
                self._open(message, raw)
                return
            member = self._members[message["m"]]
            if message["op"] == "call":
                self._call(member, message)
            elif message["op"] == "put":
                files.put(member.work, message["path"], raw, self._user)
                self._answer(n, {})
            elif message["op"] == "get":
                self._answer(n, {}, files.get(member.work, message["path"], message["max_bytes"]))
            elif message["op"] == "fork":
                self._fork(member, message)
            elif message["op"] == "close":
                self._close(member)
                self._answer(n, {})
        except files.BadPath as error:
            self._answer(n, {"bad": str(error)})
        except FileNotFoundError:
            self._answer(n, {"missing": message.get("path", "")})
        except (Broken, OSError) as error:
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            self._answer(
                n, {"bad" if full else "broken": f"{message.get('path', '')}: the work folder is full" if full else str(error)}
            )

    def _answer(self, n: int, message: dict[str, Any], raw: bytes = b"") -> None:
        self._link.sendall(packed({"n": n, **message}, raw))

    def _open(self, message: dict[str, Any], raw: bytes) -> None:
        bounds = Bounds(**message["bounds"])
        if self._group:
            self._group.limit(bounds.memory_mb + bounds.disk_mb, bounds.processes + 2)
        fds = self._start_init(bounds)
        member = self._add(fds[0], fds[1:], bounds)
        at = 0
        for path, size in message["files"]:
            files.put(member.work, path, raw[at : at + size], self._user)
            at += size
        self._spawn(member)
        self._wait_ready(member, _START_S)
        self._answer(message["n"], {"m": member.id})

    def _start_init(self, bounds: Bounds) -> list[int]:
        if self._plan.level >= 2:
            kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
        else:
            self._folder = tempfile.mkdtemp(prefix=f"turnwise-{os.getpid()}-")
            if self._user is not None:
                os.chown(self._folder, self._user, self._user)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._init = os.fork()
        if not self._init:
            for fd in (self._link, ours):
                fd.close()
            self._epoll.close()
            Init(self._plan, bounds, self._worker, self._proc, self._user, self._folder).run(theirs)
        theirs.close()
        if self._group:
            self._group.add(self._init)
        self._control = ours
        ours.settimeout(_START_S)
        try:
            message, fds = receive(ours)
        except (EOFError, TimeoutError):
            raise Broken("the session's init did not start") from None
        if "broken" in message:
            raise Broken(message["broken"])
        return fds

    def _add(self, work: int, spaces: list[int], bounds: Bounds) -> Member:
        member = Member(self._next_member, work, spaces, bounds, Pipes.make())
        if spaces:
            member.mounts = os.readlink(f"self/fd/{spaces[1]}", dir_fd=self._proc)
        member.fresh_output()
        self._next_member += 1
        self._members[member.id] = member
        return member

    def _spawn(self, member: Member) -> None:
        """A fresh process for a session; its pipes are new."""
        joined = member.spaces if member.id else []
        send(self._control, {"do": "spawn"}, [*member.pipes.theirs, *joined])
        member.pipes.close_theirs()
        member.state, member.since = "starting", time.monotonic()
        member.frames = Frames(member.bounds.value_kb * 1024 + 65536)
        self._watch(member)

    def _wait_ready(self, member: Member, seconds: float) -> None:
        """Only this session's start, nothing else; raises Broken."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(member.pipes.claim.fileno(), select.POLLIN)
        while member.state == "starting":
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise Broken("the session's process did not start in time")
            self._claims(member)
            if member.state == "gone":
                member.drain(1 << 16)
                reason = member.last_words.get("error") or member.err.text().strip() or "the session's process did not start"
                raise Broken(reason) if not member.last_words else files.BadPath(str(reason))

    # --- events -------------------------------------------------------------------------------------------------------

    def _watch(self, member: Member) -> None:
        for fd, events in member.fds():
            if fd not in self._watched:
                self._epoll.register(fd, events)
                self._watched[fd] = member

    def _unwatch(self, member: Member) -> None:
        for fd in [fd for fd, m in self._watched.items() if m is member]:
            self._epoll.unregister(fd)
            del self._watched[fd]

    def _event(self, member: Member, fd: int) -> None:
        if fd == member.pipes.claim.fileno():
            self._push(member)
            self._claims(member)
        elif fd == member.pidfd:
            self._claims(member)  # what it said before its end counts
            if member.pidfd == fd and member.state != "gone":
                self._died(member)
        else:
            member.drain(member.bounds.output_stop_mb << 20)
            if max(member.out.total, member.err.total) > member.bounds.output_stop_mb << 20:
                self._stop(member, "output", "output")

    def _claims(self, member: Member) -> None:
        """Read the claim channel. Anything that is no claim ends the process that sent it."""
        channel = member.pipes.claim
        try:
            data, ancillary, _, _ = channel.recvmsg(1 << 18, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BlockingIOError:
            return
        except ConnectionResetError:
            data, ancillary = b"", []
        if not data:
            if fd_watched(self._watched, channel.fileno()):
                self._epoll.unregister(channel.fileno())
                del self._watched[channel.fileno()]
            if member.state == "starting":
                member.state = "gone"
            elif not member.pid:
                self._died(member)
            return
        try:
            for message, _ in member.frames.feed(data):
                self._claim(member, message, ancillary)
        except (FrameError, KeyError, TypeError):
            if member.state == "starting":
                member.state = "gone"
            else:
                self._stop(member, "value", "error")

    def _claim(self, member: Member, message: dict[str, Any], ancillary: list[tuple[int, int, bytes]]) -> None:
        if member.state == "starting":
            if "hello" in message and not member.pid:
                member.pid = next(_CREDENTIALS.unpack(d)[0] for _, kind, d in ancillary if kind == socket.SCM_CREDENTIALS)
                member.pidfd = os.pidfd_open(member.pid)
                self._watch(member)
            elif message.get("ready") is True:
                member.state = "idle"
                if member.held is not None:
                    held, member.held = member.held, None
                    self._call(member, held)
            elif "ready" in message:
                member.state, member.last_words = "gone", message
        elif member.call is not None and message.get("call") == member.call.n:
            self._finish(member, message)

    # --- calls --------------------------------------------------------------------------------------------------------

    def _call(self, member: Member, message: dict[str, Any]) -> None:
        if member.state == "starting":
            member.held = message
            return
        if member.state != "idle":
            raise Broken("the session's process could not be replaced")
        now = time.monotonic()
        wall = min(member.bounds.wall_s, message["wall_s"] or member.bounds.wall_s)
        member.call = Call(
            message["n"], now, now + wall, wall, self._clock(member), self._total_ms(member) if member.busy else 0.0
        )
        member.state = "running"
        member.unsent += packed({"call": message["n"], "tool": message["tool"], "arguments": message["arguments"]})
        self._push(member)

    def _push(self, member: Member) -> None:
        """Send what the process takes; it may choose not to read."""
        if not member.unsent:
            return
        fd = member.pipes.claim.fileno()
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while member.unsent:
                del member.unsent[: member.pipes.claim.send(member.unsent)]
        if fd in self._watched:
            self._epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if member.unsent else 0))

    def _finish(self, member: Member, claim: dict[str, Any]) -> None:
        """The process says that it is done; now see what is true."""
        stop = member.bounds.output_stop_mb << 20
        member.drain(stop)
        if max(member.out.total, member.err.total) > stop:
            self._stop(member, "output", "output")
            return
        cause = self._over(member)
        if cause:
            self._stop(member, *cause)
            return
        ok = claim.get("ok") is True
        error = "" if ok else str(claim.get("error") or "")
        self._conclude(member, "ok" if ok else "error", error, claim.get("value") if ok else None)

    def _conclude(self, member: Member, status: str, error: str, value: Any = None) -> None:
        call = member.call
        assert call is not None
        written = member.err.text()
        text = f"{written}{'' if not written or written.endswith(chr(10)) else chr(10)}{error}" if error else written
        result = {
            "status": status,
            "out": member.out.text(),
            "err": text,
            "value": value,
            "truncated": bool(member.out.cut or member.err.cut),
            "wall_ms": (time.monotonic() - call.started) * 1000,
            "cpu_ms": max(self._clock(member) - call.clock_ms, self._total_ms(member) - call.total_ms if member.busy else 0.0),
            "peak_mb": member.peak / (1 << 20),
            "restarted": member.restarted,
        }
        member.call, member.restarted = None, False
        if member.state == "running":
            member.state = "idle"
        member.fresh_output()
        self._answer(call.n, result)

    def _died(self, member: Member) -> None:
        process = self._meter.process(member.pid) if member.pid else None
        how = "it called exit, or was killed" if process is None else f"state {process.state}"
        if self._group and self._group.kills() > member.kills:
            self._stop(member, "memory", "memory")
        else:
            self._stop(member, "died", "died", how=how)

    def _stop(self, member: Member, cause: str, status: str, **more: Any) -> None:
        """End every process of a session, tell why, and start a fresh one over the same files."""
        member.state = "gone"
        call_cpu = self._total_ms(member) if member.call else 0.0
        self._kill(member)
        member.drain(member.bounds.output_stop_mb << 20)
        member.spent_ms = max(member.spent_ms, call_cpu)
        member.restarted = True
        if member.call:
            wall = member.call.wall_s
            self._conclude(member, status, verdict_text(cause, member.bounds, **({"wall_s": wall} | more)))
        self._renew(member)

    def _renew(self, member: Member) -> None:
        self._unwatch(member)
        member.pipes.close()
        if member.pidfd >= 0:
            os.close(member.pidfd)
        member.pid, member.pidfd, member.busy = 0, -1, False
        member.unsent.clear()
        member.pipes = Pipes.make()
        if self._group:
            member.kills = self._group.kills()
        self._spawn(member)

    # --- bounds -------------------------------------------------------------------------------------------------------

    def _patience(self) -> float:
        """Seconds until the clock has to be looked at; -1 for never."""
        now, least = time.monotonic(), 3600.0
        for member in self._members.values():
            if member.call:
                least = min(least, member.call.deadline - now, _TICK_S)
            elif member.state == "starting":
                least = min(least, member.since + _START_S - now)
            elif member.busy:
                least = min(least, _IDLE_TICK_S)
        return -1 if least == 3600.0 else max(0.0, least)

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        for member in list(self._members.values()):
            if member.state == "starting" and now > member.since + _START_S:
                self._lost(member)
            elif member.state in ("running", "idle") and (member.call or member.busy):
                if member.call and now >= member.call.deadline:
                    self._stop(member, "wall", "timeout")
                elif cause := self._over(member):
                    self._stop(member, *cause)

    def _lost(self, member: Member) -> None:
        member.state = "gone"
        self._kill(member)
        if member.held is not None:
            held, member.held = member.held, None
            self._answer(held["n"], {"broken": "the session's process could not be replaced"})

    def _over(self, member: Member) -> tuple[str, str] | None:
        """(cause, status) if a limit is passed."""
        bounds = member.bounds
        main = self._meter.process(member.pid)
        if main is None or main.gone:
            return None
        member.busy = main.threads > 1 or bool(self._meter.children(member.pid)) or len(self._pids(member)) > 1
        processes = list(self._processes(member)) if member.busy else [main]
        rss = sum(p.rss for p in processes)
        member.peak = max(member.peak, rss)
        if self._group and self._group.kills() > member.kills:
            return "memory", "memory"
        if rss > bounds.memory_mb << 20 and self._shared_rss(processes) > bounds.memory_mb << 20:
            return "memory", "memory"
        if sum(p.threads for p in processes) > bounds.processes:
            return "processes", "error"
        if member.spent_ms + self._cpu_of(member, processes) > bounds.cpu_s * 1000:
            return "cpu", "timeout"
        if self._plan.level < 2 and self._disk_used() > bounds.disk_mb << 20:
            return "disk", "error"
        return None

    def _shared_rss(self, processes: list[Process]) -> int:
        """Resident memory with shared pages counted once, where the kernel tells; else the plain sum."""
        return sum(p.rss if (share := self._meter.fair_share(p.pid)) is None else share for p in processes)

    def _disk_used(self) -> int:
        total = 0
        for folder, _, names in os.walk(self._folder):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
        return total

    def _clock(self, member: Member) -> float:
        """CPU milliseconds of the session's process, to the nanosecond."""
        try:
            return time.clock_gettime_ns((~member.pid << 3) | 2) / 1e6
        except OSError:
            return 0.0

    def _cpu_of(self, member: Member, processes: list[Process]) -> float:
        live = sum(p.cpu_ms for p in processes)
        if len(self._members) > 1:
            return live
        init = self._meter.process(self._init)
        return live + (init.cpu_ms if init else 0.0)

    def _total_ms(self, member: Member) -> float:
        return self._cpu_of(member, list(self._processes(member)))

    def _pids(self, member: Member) -> list[int]:
        """All processes of a session, its own children and the orphans."""
        pids = list(self._meter.below(self._init))
        if len(self._members) == 1:
            return pids
        return [p for p in pids if self._meter.link(f"{p}/ns/mnt") == member.mounts]

    def _processes(self, member: Member) -> Iterator[Process]:
        for pid in self._pids(member):
            if (process := self._meter.process(pid)) is not None and not process.gone:
                yield process

    def _kill(self, member: Member) -> None:
        """Until none is left: one that forks while we look is found in the next round."""
        end = time.monotonic() + _KILL_S
        while alive := [p.pid for p in self._processes(member)]:
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > end:
                os.kill(self._init, signal.SIGKILL)
                raise Broken("processes of the session could not be ended one by one")
            time.sleep(0.0005)

    # --- fork and end -------------------------------------------------------------------------------------------------

    def _fork(self, member: Member, message: dict[str, Any]) -> None:
        self._answer(message["n"], {"refused": "not here"})

    def _close(self, member: Member) -> None:
        del self._members[member.id]
        if self._members:
            self._kill(member)
        self._unwatch(member)
        member.pipes.close()
        for fd in (member.work, *member.spaces, *([member.pidfd] if member.pidfd >= 0 else [])):
            os.close(fd)

    def _leave(self) -> None:
        """End the family; the end of a pid namespace's init is the end of all in it."""
        if self._init:
            if self._plan.level < 2:
                self._end_without_namespace()
            with contextlib.suppress(OSError):
                os.kill(self._init, signal.SIGKILL)
                os.waitpid(self._init, 0)
        if self._plan.level < 2 and self._folder != WORK:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._group:
            for _ in range(200):
                if self._group.remove():
                    break
                time.sleep(0.005)
            if os.getppid() != self._zygote:
                self._group.groups.remove()

    def _end_without_namespace(self) -> None:
        end = time.monotonic() + _KILL_S
        while time.monotonic() < end:
            alive = [p for pid in self._meter.below(self._init) if (p := self._meter.process(pid)) and not p.gone]
            if not alive:
                return
            for process in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.0005)


def fd_watched(watched: dict[int, Member], fd: int) -> bool:
    return fd in watched
