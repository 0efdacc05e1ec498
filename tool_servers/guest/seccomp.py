"""The filter of system calls that the model's code lives under: a small assembler for classic BPF, and our policy.

Refused are calls that code in a session has no honest use for and that attacks begin with: new namespaces, mounts, other
processes' memory, keys, BPF, io_uring, kernel modules, clocks, memory that no limit counts, news of who opens which file of the
system, orders to write out all that the machine holds or to forget what it has cached. A call that is newer than this list
answers "not implemented". Sockets only of the families given. A foreign instruction set (32 bit, x32) ends the process.
"""

import ctypes
import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from turnwise.tool_servers.guest.kernel import MACHINE, syscall

__all__ = ["ARCHITECTURES", "Policy", "apply", "program"]

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_NEWEST = 462
"""The last call that this list was checked against (mseal, Linux 6.10)."""
_NEW_NAMESPACES = 0x7E020080
"""CLONE_NEW* of clone: time, mount, cgroup, uts, ipc, user, pid, net."""
_NEWNS, _NEWUSER = 0x20000, 0x10000000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_DONTNEED = 4

_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442,
    "quotactl_fd": 443, "memfd_secret": 447, "process_mrelease": 448, "statmount": 457, "listmount": 458,
    "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461,
}  # fmt: skip
_REFUSED: Final = {
    "x86_64": _EVERYWHERE | {
        "_sysctl": 156, "acct": 163, "add_key": 248, "adjtimex": 159, "bpf": 321, "chroot": 161, "clock_adjtime": 305,
        "clock_settime": 227, "create_module": 174, "delete_module": 176, "fanotify_init": 300, "fanotify_mark": 301,
        "finit_module": 313, "get_kernel_syms": 177, "init_module": 175, "inotify_add_watch": 254,
        "inotify_init": 253, "inotify_init1": 294, "io_cancel": 210, "io_destroy": 207, "io_getevents": 208,
        "io_pgetevents": 333, "io_setup": 206, "io_submit": 209, "ioperm": 173, "iopl": 172, "kcmp": 312, "kexec_file_load": 320,
        "kexec_load": 246, "keyctl": 250, "lookup_dcookie": 212, "memfd_create": 319, "migrate_pages": 256, "modify_ldt": 154,
        "mount": 165, "move_pages": 279, "msgctl": 71, "msgget": 68, "msgrcv": 70, "msgsnd": 69, "name_to_handle_at": 303,
        "nfsservctl": 180, "open_by_handle_at": 304, "perf_event_open": 298, "personality": 135, "pivot_root": 155,
        "process_vm_readv": 310, "process_vm_writev": 311, "ptrace": 101, "query_module": 178, "quotactl": 179, "reboot": 169,
        "request_key": 249, "semctl": 66, "semget": 64, "semop": 65, "semtimedop": 220, "setdomainname": 171, "sethostname": 170,
        "setrlimit": 160, "settimeofday": 164, "shmat": 30, "shmctl": 31, "shmdt": 67, "shmget": 29, "swapoff": 168,
        "swapon": 167, "sync": 162, "syncfs": 306, "sysfs": 139, "syslog": 103, "umount2": 166, "unshare": 272, "uselib": 134,
        "userfaultfd": 323, "ustat": 136, "vhangup": 153, "vmsplice": 278,
    },
    "aarch64": _EVERYWHERE | {
        "acct": 89, "add_key": 217, "adjtimex": 171, "bpf": 280, "chroot": 51, "clock_adjtime": 266, "clock_settime": 112,
        "delete_module": 106, "fanotify_init": 262, "fanotify_mark": 263, "finit_module": 273, "init_module": 105,
        "inotify_add_watch": 27, "inotify_init1": 26,
        "io_cancel": 3, "io_destroy": 1, "io_getevents": 4, "io_pgetevents": 292, "io_setup": 0, "io_submit": 2, "kcmp": 272,
        "kexec_file_load": 294, "kexec_load": 104, "keyctl": 219, "lookup_dcookie": 18, "memfd_create": 279,
        "migrate_pages": 238, "mount": 40, "move_pages": 239, "msgctl": 187, "msgget": 186, "msgrcv": 188, "msgsnd": 189,
        "name_to_handle_at": 264, "nfsservctl": 42, "open_by_handle_at": 265, "perf_event_open": 241, "personality": 92,
        "pivot_root": 41, "process_vm_readv": 270, "process_vm_writev": 271, "ptrace": 117, "quotactl": 60, "reboot": 142,
        "request_key": 218, "semctl": 191, "semget": 190, "semop": 193, "semtimedop": 192, "setdomainname": 162,
        "sethostname": 161, "setrlimit": 164, "settimeofday": 170, "shmat": 196, "shmctl": 195, "shmdt": 197, "shmget": 194,
        "swapoff": 225, "swapon": 224, "sync": 81, "syncfs": 267, "syslog": 116, "umount2": 39, "unshare": 97,
        "userfaultfd": 282, "vhangup": 58, "vmsplice": 75,
    },
}  # fmt: skip
_LOOKED_INTO: Final = {
    "x86_64": {"clone": 56, "clone3": 435, "fadvise64": 221, "ioctl": 16,
               "prlimit64": 302, "setns": 308, "socket": 41, "socketpair": 53,
               "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297,
               "pidfd_send_signal": 424},
    "aarch64": {"clone": 220, "clone3": 435, "fadvise64": 223, "ioctl": 29,
                "prlimit64": 261, "setns": 268, "socket": 198, "socketpair": 199,
                "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240,
                "pidfd_send_signal": 424},
}  # fmt: skip

_LD, _AND, _JEQ, _JGT, _JGE, _JSET, _RET = 0x20, 0x54, 0x15, 0x25, 0x35, 0x45, 0x06
_NR, _ARCH, _ARGUMENTS = 0, 4, 16
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_SET_MODE_FILTER = 1

_Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, operand."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What differs between the levels."""

    families: tuple[int, ...] = (AF_UNIX, AF_INET, AF_INET6)
    """Socket families; () leaves socketpair alone."""
    join: bool = False
    """Whether setns with a user or mount namespace is let through: a fork moves so. It takes a namespace's fd, which nobody in a
    session can open, and rights over it, which nobody there has."""
    signals: bool = True
    """Whether other processes may be signalled at all: False where they are not out of reach by other means."""


def _refuse(code: int) -> _Instruction:
    return (_RET, 0, 0, _ERRNO | code)


def _argument(n: int) -> _Instruction:
    """The low half of argument n: all that the kernel looks at in flags, families and commands."""
    return (_LD, 0, 0, _ARGUMENTS + 8 * n)


def _on(number: int, *body: _Instruction) -> list[_Instruction]:
    """`body`, which returns, for that call only."""
    return [(_JEQ, 0, len(body), number), *body]


def _one_of(allowed: Sequence[int], otherwise: int) -> list[_Instruction]:
    """Allow if the loaded word is one of these."""
    tests: list[_Instruction] = [(_JEQ, len(allowed) - i, 0, word) for i, word in enumerate(allowed)]
    return [*tests, _refuse(otherwise), (_RET, 0, 0, _ALLOW)]


def _calls_with_arguments(machine: str, policy: Policy) -> list[_Instruction]:
    number = _LOOKED_INTO[machine]
    allow = (_RET, 0, 0, _ALLOW)
    high = (_LD, 0, 0, _ARGUMENTS + 8 * 2 + 4)
    code = [
        *_on(number["clone3"], _refuse(errno.ENOSYS)),  # its flags lie in memory; glibc goes on with clone
        *_on(number["clone"], _argument(0), (_JSET, 0, 1, _NEW_NAMESPACES & ~0xFF), _refuse(errno.EPERM), allow),
        *_on(number["socket"], _argument(0), *_one_of(policy.families, errno.EAFNOSUPPORT)),
        *_on(number["socketpair"], _argument(0), *_one_of((AF_UNIX,), errno.EAFNOSUPPORT)),
        *_on(number["fadvise64"], _argument(3), (_JEQ, 0, 1, _DONTNEED), _refuse(errno.EPERM), allow),
        *_on(number["ioctl"], _argument(1), (_JEQ, 1, 0, _TIOCSTI), (_JEQ, 0, 1, _TIOCLINUX), _refuse(errno.EPERM), allow),
        *_on(number["prlimit64"], _argument(2), (_JEQ, 0, 2, 0), high, (_JEQ, 1, 0, 0), _refuse(errno.EPERM), allow),
    ]
    joined = (_NEWUSER, _NEWNS) if policy.join else ()
    code += _on(number["setns"], _argument(1), *_one_of(joined, errno.EPERM))
    if not policy.signals:
        for name in ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"):
            code += _on(number[name], _refuse(errno.EPERM))
    return code


@cache
def program(policy: Policy, machine: str = MACHINE) -> bytes:
    """The filter as the kernel reads it (struct sock_filter[]). KeyError on a machine that is not in ARCHITECTURES."""
    code: list[_Instruction] = [
        (_LD, 0, 0, _ARCH),
        (_JEQ, 1, 0, ARCHITECTURES[machine]),
        (_RET, 0, 0, _KILL),
        (_LD, 0, 0, _NR),
        *([(_JGE, 0, 1, _X32), (_RET, 0, 0, _KILL)] if machine == "x86_64" else []),
        (_JGT, 0, 1, _NEWEST),
        _refuse(errno.ENOSYS),
    ]
    for number in sorted(_REFUSED[machine].values()):
        code += _on(number, _refuse(errno.EPERM))
    code += _calls_with_arguments(machine, policy)
    code.append((_RET, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def apply(filter_: bytes) -> None:
    """This thread, and all it starts, live under the filter. Needs no_new_privs. Raises OSError where the kernel has none."""
    held = ctypes.create_string_buffer(filter_, len(filter_))
    head = struct.pack("HxxxxxxP", len(filter_) // 8, ctypes.addressof(held))
    syscall("seccomp", _SET_MODE_FILTER, 0, ctypes.create_string_buffer(head, len(head)))
