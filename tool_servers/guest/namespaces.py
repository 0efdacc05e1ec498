"""A root of its own for a profile, and inside it a work folder of its own for each session.

The zygote moves once into a mount namespace that holds nothing but the interpreter, its libraries and a few device files,
read-only. A session copies those few mounts and adds one tmpfs, so that opening one is cheap.
"""

import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from turnwise.tool_servers.guest import kernel
from turnwise.tool_servers.guest.plan import FOLDERS, NOBODY, SHARED, WORK

__all__ = [
    "become",
    "become_mapped",
    "descriptors",
    "enter",
    "enter_root",
    "loopback_up",
    "map_self",
    "open_folders",
    "reveal",
    "session_folders",
]

_DEVICES = ("null", "zero", "full", "random", "urandom")
_TEXTS = {
    "etc/passwd": f"sandbox:x:{NOBODY}:{NOBODY}::{WORK}:/bin/sh\n",
    "etc/group": f"sandbox:x:{NOBODY}:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
_BOX = "/box"
_OLD = "/old"
_IFF_UP, _SIOCSIFFLAGS = 1, 0x8914


def enter_root(readable: Sequence[str], shared: Mapping[str, str], ordinary: bool) -> None:
    """Leave the host's files for a root with only `readable` in it, and the folders that sessions may ask for by name.
    `ordinary`: not root, so through a user namespace."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWNS | (kernel.CLONE_NEWUSER if ordinary else 0))
    if ordinary:
        map_self("/proc", 0, uid, 0, gid)
    kernel.private()
    # Mounted over /tmp, which pivot_root bares again: sources below the host's /tmp stay reachable.
    kernel.mount("tmpfs", "/tmp", "tmpfs", 0, "mode=755,size=1m,nr_inodes=4096")
    os.mkdir("/tmp" + _OLD)
    kernel.pivot_root("/tmp", "/tmp" + _OLD)
    os.chdir("/")
    for place in (_BOX, *FOLDERS, "/etc", "/dev", "/proc"):
        os.makedirs(place, exist_ok=True)
    for path, text in _TEXTS.items():
        with open(f"/{path}", "w") as file:
            file.write(text)
    for name in _DEVICES:
        _show(f"/dev/{name}", devices=True)
    for path in _outermost(tuple(readable)):
        _show(path)
    for name, path in shared.items():
        _place(f"{SHARED}/{name}", True)
        kernel.bind(_OLD + path, f"{SHARED}/{name}")
    for name in ("fd", "stdin", "stdout", "stderr"):
        os.symlink("/proc/self/fd" + {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}[name], f"/dev/{name}")
    kernel.unmount(_OLD)
    os.rmdir(_OLD)
    kernel.read_only("/", devices=True)


@cache
def _outermost(paths: tuple[str, ...]) -> list[str]:
    """Without what lies below another one."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(p) for p in paths}):
        if not kept or not path.startswith(kept[-1].rstrip("/") + "/"):
            kept.append(path)
    return kept


def _show(path: str, devices: bool = False) -> None:
    """Bind a path of the host; a link becomes the same link, and what it names is left to the caller."""
    source = _OLD + path
    if os.path.islink(source):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.lexists(path):
            os.symlink(os.readlink(source), path)
        return
    if not os.path.exists(source):
        return
    _place(path, os.path.isdir(source))
    kernel.bind(source, path)
    kernel.read_only(path, devices=devices)


def reveal(paths: Sequence[str]) -> None:
    """Let every user reach these paths, in a mount namespace of our own: a folder above them that others may not enter, such as
    root's home, is covered by an empty one with just the paths in it. OSError where that is not allowed."""
    hidden: dict[str, list[str]] = {}
    for path in (p for p in _outermost(tuple(paths)) if os.path.exists(p)):
        if closed := next((p for p in _above(path) if not os.stat(p).st_mode & 1), None):
            hidden.setdefault(closed, []).append(path)
    if hidden:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.private()
    for closed, inner in hidden.items():
        held = [(path, os.path.isdir(path), os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in inner]
        kernel.mount("tmpfs", closed, "tmpfs", 0, "mode=755")
        for path, folder, fd in held:
            _place(path, folder)
            kernel.bind(f"/proc/self/fd/{fd}", path)
            os.close(fd)


def _above(path: str) -> list[str]:
    """The folders above an absolute path, outermost first."""
    parts = path.split("/")
    return ["/", *("/".join(parts[:n]) for n in range(2, len(parts)))]


def _place(path: str, folder: bool) -> None:
    """Something to mount on."""
    os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
    if not folder:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))


def _show_below(target: str, folder: str, readable: Sequence[str]) -> None:
    """What lies below `target`, such as an interpreter in /tmp, also below the `folder` that is going to cover it."""
    for path in _outermost(tuple(readable)):
        if path.startswith(f"{target}/") and os.path.exists(path):
            place = folder + path.removeprefix(target)
            _place(place, os.path.isdir(path))
            kernel.bind(path, place)


def session_folders(disk_mb: int, inodes: int, owner: int | None, readable: Sequence[str], unasked: Iterable[str] = ()) -> None:
    """In a fresh mount namespace: a session's folders, empty, which share one size. `owner`: outer user, if root;
    `unasked`: shared folders to take away."""
    for name in unasked:
        kernel.unmount(f"{SHARED}/{name}")
    kernel.mount("tmpfs", _BOX, "tmpfs", 6, f"mode=755,size={disk_mb}m,nr_inodes={inodes + 4}")  # nosuid, nodev
    for target in FOLDERS:
        path = f"{_BOX}/{os.path.basename(target)}"
        os.mkdir(path, 0o700)
        if owner is not None:
            os.chown(path, owner, owner)
        _show_below(target, path, readable)
        kernel.bind(path, target)
    kernel.unmount(_BOX)
    os.chdir(WORK)


def become(user: int) -> None:
    """As root: that user and group, and no other."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def open_folders() -> list[int]:
    """`FOLDERS` as they are here, for the caller to close."""
    return [os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for path in FOLDERS]


def descriptors(proc: int, *names: str) -> list[int]:
    """Of this process's namespaces, "user" and "mnt" and so on, the caller's to close. `proc`: an open procfs."""
    return [os.open(f"self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc) for name in names]


def enter(*spaces: int) -> None:
    """Namespaces of any kind, by their descriptors, one after the other."""
    for fd in spaces:
        kernel.setns(fd, 0)


def map_self(proc: str | int, inside: int, uid: int, inside_gid: int, gid: int) -> None:
    """After unshare(CLONE_NEWUSER): one user and one group. `proc`: path or fd of a procfs."""
    where = {"dir_fd": proc} if isinstance(proc, int) else {}
    prefix = "" if isinstance(proc, int) else f"{proc}/"
    for name, text in (("setgroups", "deny"), ("uid_map", f"{inside} {uid} 1"), ("gid_map", f"{inside_gid} {gid} 1")):
        fd = os.open(f"{prefix}self/{name}", os.O_WRONLY | os.O_CLOEXEC, **where)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def become_mapped(proc: int, flags: int = 0) -> None:
    """Into a new user namespace (and others by `flags`) in which we are nobody, and have every right over what is made there."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.dumpable(True)  # or /proc/self belongs to root
    kernel.unshare(kernel.CLONE_NEWUSER | flags)
    map_self(proc, NOBODY, uid, NOBODY, gid)
    kernel.dumpable(False)


def loopback_up() -> None:
    """127.0.0.1 answers within the session."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
