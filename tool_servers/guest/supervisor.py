"""The trusted process above a session: it alone says what came of a call.

One thread, one loop over: the link to the server, the claim channel and the output pipes of each session of the family, the end
of its processes, and the clock. What the session's process says is a claim of bounded size about its own result; the status,
the output, the time and the memory are seen from here. When the link closes, everything ends.
"""

import errno
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from turnwise.tool_servers.guest import files, kernel
from turnwise.tool_servers.guest.cgroups import Group
from turnwise.tool_servers.guest.channel import Broken
from turnwise.tool_servers.guest.family import START_S, Family
from turnwise.tool_servers.guest.frames import FrameError, Frames, packed
from turnwise.tool_servers.guest.member import Call, Member, State
from turnwise.tool_servers.guest.plan import Bounds
from turnwise.tool_servers.guest.verdicts import verdict_text

__all__ = ["Supervisor"]

_IDLE_TICK_S = 0.25
_AGAIN_S, _MOST_AGAIN_S = 0.02, 0.25
"""Until a fresh process is tried again that was ended for memory: what those before it used in the kernel is not free yet, and
each that is tried in vain uses more."""
_BURIAL_S = 0.001
_NEVER = 3600.0
_GRACE_S, _MOST_GRACE_S = 0.1, 1.0
_CHUNK = 1 << 16


class Supervisor:
    """Serves one link: one family of sessions, and after its end the next one."""

    def __init__(self, link: socket.socket, group: Group | None, fresh_family: Callable[[], Family]) -> None:
        self._link, self._group, self._fresh_family = link, group, fresh_family
        self._family = self._fresh_family()
        self._watched: dict[int, Member] = {}
        self._epoll = select.epoll()

    def run(self) -> None:
        """Until the link closes, or init does."""
        kernel.name_process("tw-supervisor")
        kernel.dumpable(False)
        frames, link = Frames(), self._link.fileno()
        try:
            self._epoll.register(link, select.EPOLLIN)
            while True:
                for fd, _ in self._epoll.poll(self._patience()):
                    if self._family.orphaned(fd):
                        return
                    if fd == link:
                        data = self._link.recv(_CHUNK)
                        if not data:
                            return
                        for message, raw in frames.feed(data):
                            self._request(message, raw)
                    elif fd in self._watched:
                        self._event(self._watched[fd], fd)
                self._look_at_clock()
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            self._family.end()
            if self._group:
                self._group.remove_soon()

    # --- requests ---------------------------------------------------------------------------------------------------

    def _request(self, message: dict[str, Any], raw: bytes) -> None:
        n = message["n"]
        try:
            if message["op"] == "here":
                self._answer(n, {})
                return
            if message["op"] == "prepare":
                self._prepare(Bounds(**message["bounds"]))
                self._answer(n, {})
                return
            if message["op"] == "open":
                self._open(message, raw)
                return
            member = self._family.members[message["m"]]
            if message["op"] == "call":
                self._call(member, message)
            elif message["op"] == "put":
                self._family.accounts.check_room(member, len(raw))
                files.put(member.work, message["path"], raw, self._family.user)
                self._answer(n, {})
            elif message["op"] == "get":
                self._answer(n, {}, files.get(member.work, message["path"], message["max_bytes"]))
            elif message["op"] == "fork":
                self._fork(member, message)
            elif message["op"] == "close":
                self._unwatch(member)
                self._family.remove(member)
                if not self._family.members:
                    self._end_family()
                self._answer(n, {})
        except (BrokenPipeError, ConnectionResetError):  # who should do it is gone
            raise
        except files.BadPath as error:
            self._answer(n, {"bad": str(error)})
        except FileNotFoundError as error:
            named = "path" in message
            self._answer(n, {"missing": message["path"]} if named else {"broken": f"{message['op']}: {error}"})
        except Broken as error:
            self._answer(n, {"broken": str(error)})
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG)
            self._answer(n, {"bad" if full else "broken": f"{message['op']} {message.get('path', '')}: {error.strerror}."})

    def _answer(self, n: int, message: dict[str, Any], raw: bytes = b"") -> None:
        self._link.sendall(packed({"n": n, **message}, raw))

    def _open(self, message: dict[str, Any], raw: bytes) -> None:
        member = next(iter(self._family.members.values()), None) or self._start(Bounds(**message["bounds"]))
        member.bounds = Bounds(**message["bounds"])
        at = 0
        self._family.accounts.check_room(member, len(raw))
        for path, size in message["files"]:
            files.put(member.work, path, raw[at : at + size], self._family.user)
            at += size
        self._family.begin(member)
        self._family.wait_ready(member, START_S)
        self._watch(member)
        self._answer(message["n"], {"m": member.id})

    def _prepare(self, bounds: Bounds) -> None:
        """A session that lacks nothing but its seed, settings and files, which come with `open`."""
        member = self._start(bounds)
        self._family.wait_blank(member, START_S)
        self._watch(member)

    def _start(self, bounds: Bounds) -> Member:
        member = self._family.start(bounds, [self._link.fileno(), self._epoll.fileno()])
        self._epoll.register(self._family.control.fileno(), select.EPOLLIN)
        self._family.spawn(member)
        return member

    def _end_family(self) -> None:
        self._epoll.unregister(self._family.control.fileno())
        self._family.end()
        self._family = self._fresh_family()

    def _fork(self, member: Member, message: dict[str, Any]) -> None:
        why = "there are no namespaces to copy the files into" if not member.spaces else ""
        why = why or ("it is not at rest" if member.state is not State.IDLE else self._family.accounts.why_not_fork(member))
        twins: list[Member] = []
        try:
            while not why and len(twins) < message["count"]:
                member.asked()
                twins.append(self._family.twin(member))
        except (Broken, OSError, files.BadPath) as error:
            why = str(error)
        if why:
            for twin in twins:
                self._family.remove(twin)
            self._answer(message["n"], {"refused": why})
            return
        for twin in twins:
            self._watch(twin)
        self._answer(message["n"], {"members": [twin.id for twin in twins]})

    # --- events -------------------------------------------------------------------------------------------------------

    def _watch(self, member: Member) -> None:
        for fd in (*member.pipes.fds(), member.pidfd):
            if fd >= 0 and fd not in self._watched:
                self._epoll.register(fd, select.EPOLLIN)
                self._watched[fd] = member

    def _unwatch(self, member: Member, *fds: int) -> None:
        for fd in fds or [fd for fd, m in self._watched.items() if m is member]:
            if self._watched.pop(fd, None):
                self._epoll.unregister(fd)

    def _event(self, member: Member, fd: int) -> None:
        if member.state is State.BLANK:
            raise BrokenPipeError  # it should wait in silence, so it ended: let the server take another
        if fd == member.pipes.claim.fileno():
            self._push(member)
            self._listen(member)
        elif fd == member.pidfd:
            self._listen(member)  # what it said before its end counts
            if self._family.orphaned():
                raise BrokenPipeError
            if fd == member.pidfd and _alive(fd):
                time.sleep(_BURIAL_S)  # init has to wait for it, and gets the processor after us
            elif fd == member.pidfd:
                out_of_memory = self._family.accounts.killed_for_memory(member)
                self._stop(member, *(("memory", "memory") if out_of_memory else ("died", "died")))
        else:
            member.drain()
            if member.too_loud:
                self._stop(member, "output", "output")

    def _listen(self, member: Member) -> None:
        """Claims; anything else ends the process that sent it."""
        starting = member.state is State.STARTING
        try:
            claims = member.listen()
        except EOFError:
            self._unwatch(member, member.pipes.claim.fileno())
            if starting and self._family.accounts.killed_for_memory(member):
                time.sleep(min(max(_AGAIN_S, time.monotonic() - member.since), _MOST_AGAIN_S))
                self._spawn_anew(member, member.since)
            elif starting:
                self._lost(member, "it ended before it was ready")
            return
        except FrameError:
            if starting:
                self._lost(member, "what it said is no frame")
            else:
                self._stop(member, *(("value", "error") if member.call else ("forged", "died")))
            return
        if starting:
            self._watch(member)  # its pidfd is known by now
            self._family.accounts.over(member)  # what the last process used is not the next call's
            if member.state is State.LOST:
                self._lost(member, member.refusal)
            elif member.state is State.IDLE and member.held is not None:
                held, member.held = member.held, None
                self._call(member, held)
            return
        for claim in claims:
            if member.call is not None and claim.get("call") == member.call.word:
                self._finish(member, member.call, claim)

    # --- calls --------------------------------------------------------------------------------------------------------

    def _call(self, member: Member, message: dict[str, Any]) -> None:
        if member.state is State.STARTING:
            member.held = message
            return
        if member.state is not State.IDLE:
            raise Broken("the session's process could not be replaced")
        wall_s = min(member.bounds.wall_s, message["wall_s"] or member.bounds.wall_s)
        self._family.accounts.begin(member)
        member.asked()
        member.call = Call(message["n"], time.monotonic(), wall_s, self._family.accounts.clock_ms(member), member.total_ms)
        member.state = State.RUNNING
        member.unsent += packed({"call": member.call.word, "tool": message["tool"], "arguments": message["arguments"]})
        self._push(member)

    def _push(self, member: Member) -> None:
        if member.unsent:
            member.push()
            if member.unsent or member.stuck:
                member.stuck = bool(member.unsent)
                events = select.EPOLLIN | (select.EPOLLOUT if member.stuck else 0)
                if (fd := member.pipes.claim.fileno()) in self._watched:  # the code may have closed its end
                    self._epoll.modify(fd, events)

    def _finish(self, member: Member, call: Call, claim: dict[str, Any]) -> None:
        """The process says that it is done; now see what is true."""
        member.drain()
        call.own_ms = self._family.accounts.clock_ms(member) - call.clock_ms
        cause = ("output", "output") if member.too_loud else self._family.accounts.over(member)
        if cause:
            self._stop(member, *cause)
        elif claim.get("ok") is True:
            self._conclude(member, call, "ok", "", claim.get("value"))
        else:
            self._conclude(member, call, "error", str(claim.get("error") or ""))
        if member.state is State.RUNNING:
            member.state = State.IDLE

    def _conclude(self, member: Member, call: Call, status: str, error: str, value: Any = None) -> None:
        written = member.err.text()
        result = {
            "status": status,
            "out": member.out.text(),
            "err": f"{written}\n{error}" if error and written and not written.endswith("\n") else written + error,
            "value": value,
            "truncated": bool(member.out.cut or member.err.cut),
            "wall_ms": (time.monotonic() - call.started) * 1000,
            "cpu_ms": max(call.own_ms, member.total_ms - call.total_ms),
            "peak_mb": member.peak / (1 << 20),
            "restarted": member.restarted,
        }
        member.call, member.restarted = None, False
        member.fresh_output()
        self._answer(call.n, result)

    def _stop(self, member: Member, cause: str, status: str) -> None:
        """End every process of a session, tell why, and start a fresh one over the same files."""
        self._family.end_processes(member)
        member.drain()
        member.restarted = True
        call = member.call
        if call:
            self._conclude(member, call, status, verdict_text(cause, member.bounds, wall_s=call.wall_s))
        self._spawn_anew(member, time.monotonic())

    def _spawn_anew(self, member: Member, since: float) -> None:
        self._family.bury_processes()
        self._unwatch(member)
        member.renew()
        member.since = since
        self._family.accounts.forgive(member)
        self._family.spawn(member)
        self._family.begin(member)
        self._watch(member)
        self._push(member)

    def _lost(self, member: Member, why: str) -> None:
        """A fresh process did not come up: the sandbox is broken, not the code in it."""
        member.state = State.LOST
        if member.held is not None:
            held, member.held = member.held, None
            self._answer(held["n"], {"broken": f"the session's process could not be replaced: {why}"})

    # --- the clock ----------------------------------------------------------------------------------------------------

    def _patience(self) -> float:
        """Seconds until the clock has to be looked at; -1 for never."""
        now, least = time.monotonic(), _NEVER
        for member in self._family.members.values():
            if member.call:
                least = min(least, member.call.deadline - now, member.looked + member.look_s - now)
            elif member.state is State.STARTING:
                least = min(least, member.since + START_S - now, self._family.accounts.start_due(member) - now)
            elif member.busy:
                least = min(least, _IDLE_TICK_S)
        return -1 if least == _NEVER else max(0.0, least)

    def _more_time(self, member: Member, call: Call) -> bool:
        """A little, again and again up to a bound, for a call that others kept from doing anything at all."""
        accounts = self._family.accounts
        if call.grace_s >= _MOST_GRACE_S or not accounts.starves(member, call) or accounts.over(member) or call.rested:
            return False
        call.grace_s += _GRACE_S
        accounts.help(member)
        return True

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        for member in list(self._family.members.values()):
            if member.state is State.STARTING:
                if now > member.since + START_S:
                    self._lost(member, "it did not start in time")
                elif now >= self._family.accounts.start_due(member):
                    self._family.accounts.hurry()
            elif member.call and now >= member.call.deadline:
                if not self._more_time(member, member.call):
                    self._stop(member, "wall", "timeout")
            else:
                due = (member.call or member.busy) and now >= member.looked + member.look_s * 0.9
                if due and (cause := self._family.accounts.over(member)):
                    self._stop(member, *cause)
                elif due and member.call:
                    self._family.accounts.went_on(member)


def _alive(pidfd: int) -> bool:
    """False once it has been waited for."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
