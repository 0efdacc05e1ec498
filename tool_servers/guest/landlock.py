"""Landlock: a process gives up files, TCP, and signals and abstract sockets to the outside, without any right of its own.

Linux 5.13 and newer; what a kernel lacks is left out of the rules, and `abi()` tells which they are.
https://docs.kernel.org/userspace-api/landlock.html
"""

import errno
import os
import struct
from collections.abc import Iterable

from turnwise.tool_servers.guest.kernel import syscall

__all__ = ["READ", "WRITE", "abi", "restrict"]

_VERSION = 1
_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_FIRST = (1 << 13) - 1
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_TCP = 3
_SCOPES = 3
READ = _EXECUTE | _READ_FILE | _READ_DIR
WRITE = READ | (_FIRST | _REFER | _TRUNCATE) & ~(_MAKE_CHAR | _MAKE_BLOCK)


def abi() -> int:
    """The kernel's Landlock version, 0 for none: 2 renames across folders, 3 truncation, 4 TCP, 5 devices, 6 signals."""
    try:
        return syscall("landlock_create_ruleset", None, 0, _VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def _handled(version: int) -> int:
    extra = (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0) | (_IOCTL_DEV if version >= 5 else 0)
    return _FIRST | extra


def restrict(rules: Iterable[tuple[str, int]]) -> None:
    """From here on only these paths, each with what is below it, as READ or WRITE; no TCP. Needs no_new_privs."""
    version = abi()
    files = _handled(version)
    settings = struct.pack("QQQ", files, _TCP, _SCOPES)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = syscall("landlock_create_ruleset", settings, len(settings), 0)
    try:
        for path, rights in rules:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                allowed = rights & files & (-1 if os.path.isdir(path) else _FILE_ONLY)
                syscall("landlock_add_rule", ruleset, _BENEATH, struct.pack("=Qi", allowed, fd), 0)
            finally:
                os.close(fd)
        syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
