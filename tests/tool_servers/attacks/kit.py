# ruff: noqa: E501 (tables of numbers)
"""The attacker's tools: this text stands before the code of every attack, inside the sandbox. `T` holds the targets."""

import ctypes
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
if X86:
    NR = {
        "add_key": 248, "adjtimex": 159, "bpf": 321, "capset": 126, "chroot": 161, "clock_settime": 227, "clone": 56, "clone3": 435,
        "delete_module": 176, "fanotify_init": 300, "finit_module": 313, "fsopen": 430, "init_module": 175, "io_setup": 206,
        "io_uring_setup": 425, "ioperm": 173, "iopl": 172, "kcmp": 312, "kexec_load": 246, "keyctl": 250, "memfd_create": 319,
        "memfd_secret": 447, "mount": 165, "mount_setattr": 442, "move_mount": 429, "move_pages": 279, "msgget": 68,
        "name_to_handle_at": 303, "open_by_handle_at": 304, "open_tree": 428, "perf_event_open": 298, "personality": 135,
        "pidfd_getfd": 438, "pidfd_open": 434, "pidfd_send_signal": 424, "pivot_root": 155, "process_madvise": 440,
        "process_vm_readv": 310, "process_vm_writev": 311, "ptrace": 101, "quotactl": 179, "reboot": 169, "request_key": 249,
        "semget": 64, "setdomainname": 171, "sethostname": 170, "setns": 308, "settimeofday": 164, "shmget": 29, "swapon": 167,
        "syslog": 103, "umount2": 166, "unshare": 272, "userfaultfd": 323, "vhangup": 153, "vmsplice": 278, "acct": 163,
        "lookup_dcookie": 212, "modify_ldt": 154, "sync": 162, "syncfs": 306,
    }  # fmt: skip
else:
    NR = {
        "add_key": 217, "adjtimex": 171, "bpf": 280, "capset": 91, "chroot": 51, "clock_settime": 112, "clone": 220, "clone3": 435,
        "delete_module": 106, "fanotify_init": 262, "finit_module": 273, "fsopen": 430, "init_module": 105, "io_setup": 0,
        "io_uring_setup": 425, "kcmp": 272, "kexec_load": 104, "keyctl": 219, "memfd_create": 279, "memfd_secret": 447,
        "mount": 40, "mount_setattr": 442, "move_mount": 429, "move_pages": 239, "msgget": 186, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "open_tree": 428, "perf_event_open": 241, "personality": 92, "pidfd_getfd": 438,
        "pidfd_open": 434, "pidfd_send_signal": 424, "pivot_root": 41, "process_madvise": 440, "process_vm_readv": 270,
        "process_vm_writev": 271, "ptrace": 117, "quotactl": 60, "reboot": 142, "request_key": 218, "semget": 190,
        "setdomainname": 162, "sethostname": 161, "setns": 268, "settimeofday": 170, "shmget": 194, "swapon": 224, "syslog": 116,
        "umount2": 39, "unshare": 97, "userfaultfd": 282, "vhangup": 58, "vmsplice": 75, "acct": 89, "lookup_dcookie": 18,
        "sync": 81, "syncfs": 267,
    }  # fmt: skip


def call(name, *arguments):
    """A raw system call by name or number; OSError as the kernel answers."""
    number = NR[name] if isinstance(name, str) else name
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    got = libc.syscall(ctypes.c_long(number), *words)
    if got < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return got


def attempt(what, action):
    """Confess if it worked; say why if not."""
    try:
        value = action()
    except BaseException as error:
        print("refused", what, type(error).__name__, getattr(error, "errno", ""))
        return None
    print("REACHED", what, repr(value)[:100])
    return value


def quietly(action):
    """The value, or None where it was refused: for steps that are no crime in themselves."""
    try:
        return action()
    except BaseException:
        return None


def child(action):
    """Run in a forked child; its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def sleepers(count):
    """Fork so many that only sleep; as many as were let."""
    pids = []
    for _ in range(count):
        try:
            pid = os.fork()
        except OSError:
            break
        if pid == 0:
            time.sleep(20)
            os._exit(0)
        pids.append(pid)
    return pids


def end(pids):
    for pid in pids:
        quietly(lambda pid=pid: os.kill(pid, signal.SIGKILL))
        quietly(lambda pid=pid: os.waitpid(pid, 0))


def alive(pids):
    return sum(quietly(lambda pid=pid: os.waitpid(pid, os.WNOHANG)) == (0, 0) for pid in pids)


USED = (socket, subprocess, sys, threading)
