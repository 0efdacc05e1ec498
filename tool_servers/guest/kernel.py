"""System calls that Python's standard library does not offer. Each raises OSError as `os` would."""

import ctypes
import os
import signal
import struct
import threading
from collections.abc import Sequence
from functools import cache

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "CLONE_PARENT",
    "MACHINE",
    "bind",
    "die_with_parent",
    "drop_capabilities",
    "dumpable",
    "fork",
    "huge_pages",
    "may_mount",
    "mount",
    "name_process",
    "no_new_privileges",
    "open_beneath",
    "pivot_root",
    "prctl",
    "private",
    "read_only",
    "setns",
    "subreaper",
    "syscall",
    "unmount",
    "unshare",
]

MACHINE = os.uname().machine
_LIBC = ctypes.CDLL(None, use_errno=True)
_HOLDING = ctypes.PyDLL(None, use_errno=True)
"""The same, called without letting go of the interpreter's lock."""
for _name in ("madvise", "mount", "prctl", "setns", "syscall", "umount2", "unshare"):
    getattr(_LIBC, _name)  # found now, not in every session
_LIBC.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capset": 126, "seccomp": 317},
    "aarch64": {"clone": 220, "pivot_root": 41, "capset": 91, "seccomp": 277},
}.get(MACHINE, {}) | {
    "openat2": 437,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_PARENT = 0x8000
_CHILD_CLEARTID, _CHILD_SETTID = 0x200000, 0x1000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_NO_SYMLINKS, _NO_MAGICLINKS, _BENEATH, _NO_XDEV = 0x04, 0x02, 0x08, 0x01
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SUBREAPER = 1, 4, 24, 38, 36
_PR_GET_TID_ADDRESS = 40
_PR_SET_NAME = 15
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_HUGE = 2 << 20
_MADV_COLLAPSE = 25
_CAP_SYS_ADMIN = 21


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A call by its number on this machine; OSError with ENOSYS where that is not known."""
    if name not in _NUMBERS:
        raise OSError(38, f"{name}: not known on {MACHINE}")
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(_NUMBERS[name]), *words), name)


def prctl(option: int, *arguments: int) -> int:
    result = _LIBC.prctl(option, *arguments, *(0,) * (4 - len(arguments)))
    return result if result >= 0 else _checked(result, f"prctl {option}")


def unshare(flags: int) -> None:
    _checked(_LIBC.unshare(ctypes.c_int(flags)), "unshare")


def fork(flags: int = 0) -> int:
    """Of a process with one thread: the child is the same to the bit, and no hook is called, for there are no locks to mend; by
    `flags` it starts in new namespaces, or is its parent's sibling."""
    place = _thread_id_place()
    if place:
        flags |= _CHILD_SETTID | _CHILD_CLEARTID
    last = (place, 0) if MACHINE == "x86_64" else (0, place)
    words = [ctypes.c_long(word) for word in (_NUMBERS["clone"], flags | signal.SIGCHLD, 0, 0, *last)]
    return _checked(_HOLDING.syscall(*words), "clone")


def huge_pages(maps: str) -> None:
    """Memory of this process that belongs to no file, in pages of 2 MB where it fills them: a fork copies one entry, not 512,
    and its end undoes one; a page that is written to afterwards is split. Linux 6.1; what an older kernel refuses stays as it
    is. `maps`: our own /proc/self/maps."""
    for line in maps.splitlines():
        area, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights.startswith("rw-p") and (not name or name == ["[heap]"]):
            start, end = (int(address, 16) for address in area.split("-"))
            for at in range(-(-start // _HUGE) * _HUGE, end - _HUGE + 1, _HUGE):
                _LIBC.madvise(ctypes.c_void_p(at), ctypes.c_size_t(_HUGE), _MADV_COLLAPSE)


@cache
def _thread_id_place() -> int:
    """Where the C library keeps the id of its first thread, which in a child is another, at the same place; 0 if this kernel does
    not tell."""
    place = ctypes.c_ulong()
    try:
        prctl(_PR_GET_TID_ADDRESS, ctypes.addressof(place))
    except OSError:
        return 0
    known = place.value and ctypes.c_int.from_address(place.value).value == threading.get_native_id()
    return place.value if known else 0


def setns(fd: int, kind: int) -> None:
    _checked(_LIBC.setns(fd, ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    _checked(
        _LIBC.mount(
            source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), options.encode() or None
        ),
        f"mount {source} on {target}",
    )


def bind(source: str, target: str) -> None:
    """`source`, with what is mounted below it, also at `target`."""
    mount(source, target, None, _MS_BIND | _MS_REC)


def private(target: str = "/") -> None:
    """Mounts made from here on are not seen elsewhere."""
    mount("none", target, None, _MS_REC | _MS_PRIVATE)


def read_only(target: str, *, devices: bool = False) -> None:
    """A mount and all below it: no writing, no set-user-id, no devices unless asked for. Needs Linux 5.12."""
    attributes = _ATTR_RDONLY | _ATTR_NOSUID | (0 if devices else _ATTR_NODEV)
    settings = struct.pack("QQQQ", attributes, 0, 0, 0)
    syscall("mount_setattr", _AT_FDCWD, target.encode(), _AT_RECURSIVE, settings, len(settings))


def unmount(target: str) -> None:
    """Out of sight at once, gone with its last user."""
    _checked(_LIBC.umount2(target.encode(), _MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    syscall("pivot_root", new.encode(), old.encode())


def open_beneath(folder: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` below the folder fd: no step outside, through a link, or into another mount. Needs Linux 5.6."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS | _NO_XDEV)
    return syscall("openat2", folder, os.fsencode(path), how, len(how))


def no_new_privileges() -> None:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def dumpable(yes: bool) -> None:
    """Whether others of the same user may look into this process."""
    prctl(_PR_SET_DUMPABLE, int(yes))


def die_with_parent(signal: int) -> None:
    """Get the signal when the thread that forked this process ends. A change of user undoes it: call this after."""
    prctl(_PR_SET_PDEATHSIG, signal)


def name_process(name: str) -> None:
    """What lists of processes call this one: at most 15 letters."""
    text = ctypes.create_string_buffer(name.encode())
    prctl(_PR_SET_NAME, ctypes.addressof(text))


def may_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN, without which root is an ordinary user here."""
    with open("/proc/self/status") as file:
        effective = next(line.split()[1] for line in file if line.startswith("CapEff:"))
    return bool(int(effective, 16) & 1 << _CAP_SYS_ADMIN)


def subreaper() -> None:
    """Orphans below this process become its children."""
    prctl(_PR_SET_SUBREAPER, 1)


def drop_capabilities(keep: Sequence[int] = ()) -> None:
    """From every set; `keep` stays in the permitted and effective ones."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    call, capability = _LIBC.prctl, 0
    while not call(_PR_CAPBSET_DROP, capability, 0, 0, 0):  # some 40 of them, in every session
        capability += 1
    code = ctypes.get_errno()
    if code not in (1, 22):  # past the last one; without CAP_SETPCAP there is nothing to gain from them: no_new_privs holds
        raise OSError(code, f"prctl {_PR_CAPBSET_DROP}: {os.strerror(code)}")
    word = sum(1 << c for c in keep)
    low, high = word & 0xFFFFFFFF, word >> 32
    syscall("capset", struct.pack("Ii", 0x20080522, 0), struct.pack("6I", low, low, 0, high, high, 0))
