"""Stands between the owner and bubblewrap: prepares the work folder, drops root, starts bwrap, watches it, ends it.

`main(PLAN, ARGUMENTS)`: PLAN is the JSON of `bubblewrap`'s plan, or `fd:N` with that JSON in it; the arguments are appended to
the program's. It runs alone, for programs that somebody else starts (Playwright) need it as well. Descriptors 0 to 4 go to the
program (3 and 4 are Chromium's pipe).

Memory and CPU of the whole process tree are measured every `tick_s`, outside the code they bound. The report is one line of
JSON on the descriptor `report`; without one, the reason of a kill goes to standard error.
"""

import base64
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from turnwise.tool_servers.guest.kernel import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    bind,
    die_with_parent,
    dumpable,
    mount,
    private,
    unshare,
)
from turnwise.tool_servers.guest.meter import Meter

__all__ = ["main", "tree", "usage"]

STAGE = "/mnt"
"""Where the sized tmpfs is prepared, in a mount namespace of this process alone."""
_MS_NOSUID_NODEV = 2 | 4
_PASSED = (0, 1, 2, 3, 4)
_TICKS = os.sysconf("SC_CLK_TCK")


def tied() -> None:
    """The kernel kills this process when the thread that started it ends."""
    parent = os.getppid()
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def own_namespaces(root: bool) -> None:
    """Mount and pid namespaces of our own; an ordinary user gets them through a user namespace in which it is itself.

    The next process that is forked is pid 1 there, and when it ends the kernel ends all below it. bwrap alone would leave its
    child behind if it is killed while it still prepares.
    """
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWNS | CLONE_NEWPID if root else CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER)
    if not root:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    private()


def stage(plan: dict[str, Any], uid: int, gid: int) -> None:
    """The sized tmpfs with /work, /tmp, /dev/shm and the files, and the folders that the dropped uid could not reach itself."""
    mount("tmpfs", STAGE, "tmpfs", _MS_NOSUID_NODEV, "size={size},nr_inodes={inodes},mode=755".format(**plan))
    for name, mode in (("work", 0o700), ("tmp", 0o1777), ("shm", 0o1777)):
        os.mkdir(f"{STAGE}/{name}")
        os.chmod(f"{STAGE}/{name}", mode)
    for path, data in plan["files"].items():
        target = Path(STAGE, "work", path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(data))
        target.chmod(0o755)
    for number, source in enumerate(plan["carried"]):
        os.mkdir(f"{STAGE}/carried{number}")
        bind(source, f"{STAGE}/carried{number}")
    for folder, folders, names in os.walk(f"{STAGE}/work"):
        for name in (".", *folders, *names):
            os.chown(f"{folder}/{name}", uid, gid, follow_symlinks=False)
    for name in ("tmp", "shm"):
        os.chown(f"{STAGE}/{name}", uid, gid)


def drop(uid: int, gid: int) -> None:
    """Root becomes an ordinary user for good."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    dumpable(True)  # or /proc/self would stay root's, and bwrap could not write its uid_map


def _memory(data: bytes) -> int:
    fd = os.memfd_create("seccomp", 0)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def become_bwrap(plan: dict[str, Any], extra: list[str], keep: set[int]) -> None:
    """In the child: limits, filter, exec. Nothing of ours stays open in it."""
    for name, value in plan["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    options = list(plan["options"])
    if plan["seccomp"]:
        fd = _memory(base64.b64decode(plan["seccomp"]))
        options += ["--seccomp", str(fd)]
        keep = keep | {fd}
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                continue  # the descriptor of this very listing
    for fd in keep:
        os.set_inheritable(fd, True)
    os.execve(plan["bwrap"], ["bwrap", *options, "--", *plan["argv"], *extra], {})


def tree(root: int) -> list[int]:
    """The process and all below it. Orphans in the sandbox go to its pid 1, which is below it too."""
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return [root, *(process.pid for process in Meter(proc).below(root))]
    finally:
        os.close(proc)


def usage(pids: list[int]) -> tuple[float, float]:
    """(MB of memory that is nobody else's file: anonymous and shared, CPU seconds) of them together."""
    kilobytes, ticks = 0, 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as file:
                fields = dict(line.split(":", 1) for line in file)
            with open(f"/proc/{pid}/stat") as file:
                ticks += sum(int(part) for part in file.read().rpartition(")")[2].split()[11:15])
        except OSError:
            continue
        kilobytes += sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem") if name in fields)
    return kilobytes / 1024, ticks / _TICKS


def watch(pid: int, plan: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of it and all below it, or bring it about.

    {"end": "exit", "memory", "cpu" or "wall"; "code", "wall_ms", "cpu_ms", "peak_mb"}
    """
    started, peak, cpu, end = time.monotonic(), 0.0, 0.0, "exit"
    fd = os.pidfd_open(pid)
    while not select.select([fd], [], [], plan["tick_s"])[0]:
        used, now = usage(tree(pid))
        peak, cpu = max(peak, used), max(cpu, now)  # who is gone may have taken its seconds along
        late = plan["wall_s"] and time.monotonic() - started > plan["wall_s"]
        end = "memory" if used > plan["memory_mb"] else "cpu" if cpu > plan["cpu_s"] else "wall" if late else "exit"
        if end != "exit":
            os.kill(pid, signal.SIGKILL)
            break
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "end": end,
        "code": code,
        "wall_ms": (time.monotonic() - started) * 1e3,
        "cpu_ms": max(cpu, spent.ru_utime + spent.ru_stime) * 1e3,
        "peak_mb": max(peak, spent.ru_maxrss / 1024),
    }


def tell(fd: int | None, report: dict[str, Any]) -> None:
    line = json.dumps(report) + "\n"
    if fd is not None:
        os.write(fd, line.encode())
    elif report.get("end") != "exit":
        sys.stderr.write(f"turnwise: {line}")


def main(given: str, extra: list[str]) -> int:
    if given.startswith("fd:"):
        with open(int(given[3:]), "rb") as file:
            plan = json.load(file)
    else:
        plan = json.loads(given)
    report, status = plan["report"], plan["status"]
    try:
        tied()
        root = os.getuid() == 0
        uid, gid = (plan["uid"], plan["uid"]) if root else (os.getuid(), os.getgid())
        own_namespaces(root)
        stage(plan, uid, gid)
        if root:
            drop(uid, gid)
            tied()  # a change of user clears it
    except OSError as error:
        tell(report, {"refused": str(error)})
        return 125
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    alive, here = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(here)
            die_with_parent(signal.SIGKILL)
            if select.select([alive], [], [], 0)[0]:
                os._exit(1)  # the parent ended before it could be told
            become_bwrap(plan, extra, {*_PASSED[: plan["passed"]], *([] if status is None else [status])})
        finally:
            os._exit(126)
    for fd in (*_PASSED[3 : plan["passed"]], 0, 1):
        os.close(fd)  # or the pipes would never end
    if status is not None:
        os.close(status)
    final = watch(pid, plan)
    tell(report, final)
    return final["code"] if final["code"] >= 0 else 128 - final["code"]
