"""The filter, run here by an interpreter of classic BPF: each call and argument gets the verdict that the policy says."""

import errno
import re
import struct
from pathlib import Path

import pytest

from turnwise.tool_servers.guest import seccomp
from turnwise.tool_servers.guest.seccomp import ARCHITECTURES, Policy, program

ALLOW, KILL = 0x7FFF0000, 0x80000000
LOOKED_INTO = {"clone", "clone3", "fadvise64", "socket", "socketpair", "ioctl", "prlimit64", "setns"}
NAMESPACES = Policy(join=True)
LANDLOCK = Policy(families=(), signals=False)
CALLS = {
    "x86_64": {"read": 0, "openat": 257, "execve": 59, "clone": 56, "clone3": 435, "socket": 41, "socketpair": 53, "ioctl": 16,
               "prlimit64": 302, "setns": 308, "unshare": 272, "ptrace": 101, "kill": 62, "mount": 165, "bpf": 321,
               "io_uring_setup": 425, "keyctl": 250, "userfaultfd": 323, "process_vm_readv": 310, "kexec_load": 246, "sync": 162,
               "syncfs": 306, "fadvise64": 221},
    "aarch64": {"read": 63, "openat": 56, "execve": 221, "clone": 220, "clone3": 435, "socket": 198, "socketpair": 199,
                "ioctl": 29, "prlimit64": 261, "setns": 268, "unshare": 97, "ptrace": 117, "kill": 129, "mount": 40, "bpf": 280,
                "io_uring_setup": 425, "keyctl": 219, "userfaultfd": 282, "process_vm_readv": 270, "kexec_load": 104, "sync": 81,
                "syncfs": 267, "fadvise64": 223},
}  # fmt: skip


def verdict(code: bytes, machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the kernel would do."""
    data = struct.pack("<IIQ6Q", number, ARCHITECTURES[machine] if arch is None else arch, 0, *(*arguments, *[0] * 6)[:6])
    instructions = list(struct.iter_unpack("HBBI", code))
    at = accumulator = 0
    while True:
        op, yes, no, k = instructions[at]
        at += 1
        if op == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif op == 0x06:
            return k
        else:
            test = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[op]
            at += yes if test else no


def refused(code: int) -> int:
    return 0x00050000 | code


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_verdicts(machine: str) -> None:
    calls, code = CALLS[machine], program(NAMESPACES, machine)

    def of(name: str, *arguments: int) -> int:
        return verdict(code, machine, calls[name], *arguments)

    for name in ("read", "openat", "execve", "kill"):
        assert of(name) == ALLOW
    for name in (
        "unshare",
        "ptrace",
        "mount",
        "bpf",
        "io_uring_setup",
        "keyctl",
        "userfaultfd",
        "process_vm_readv",
        "kexec_load",
        "sync",
        "syncfs",
    ):
        assert of(name) == refused(errno.EPERM), name
    assert of("clone", 0x01200011) == ALLOW and of("clone", 0x003D0F00) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert of("clone", flag | 17) == refused(errno.EPERM)
    assert of("clone3") == refused(errno.ENOSYS)
    for family in range(64):
        assert of("socket", family) == (ALLOW if family in (1, 2, 10) else refused(errno.EAFNOSUPPORT))
        assert of("socketpair", family) == (ALLOW if family == 1 else refused(errno.EAFNOSUPPORT))
    assert of("socket", (1 << 32) | 40) == refused(errno.EAFNOSUPPORT)
    assert of("ioctl", 0, 0x5412) == of("ioctl", 0, 0x541C) == refused(errno.EPERM) and of("ioctl", 0, 0x5401) == ALLOW
    assert [of("fadvise64", 3, 0, 0, advice) for advice in range(6)] == [ALLOW] * 4 + [refused(errno.EPERM), ALLOW]
    assert of("prlimit64", 0, 6, 0) == ALLOW
    assert of("prlimit64", 0, 6, 1) == of("prlimit64", 0, 6, 1 << 32) == refused(errno.EPERM)
    assert of("setns", 3, 0x10000000) == of("setns", 3, 0x20000) == ALLOW
    assert of("setns", 3, 0) == of("setns", 3, 0x40000000) == refused(errno.EPERM)
    assert verdict(code, machine, 463) == refused(errno.ENOSYS)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_a_foreign_instruction_set_is_the_end(machine: str) -> None:
    code = program(NAMESPACES, machine)
    for arch in (0x40000003, 0x40000028, *(a for m, a in ARCHITECTURES.items() if m != machine)):
        assert verdict(code, machine, 0, arch=arch) == KILL
    assert verdict(code, machine, 0x40000000 | 41) == (KILL if machine == "x86_64" else refused(errno.ENOSYS))


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_where_there_are_no_namespaces(machine: str) -> None:
    calls, code = CALLS[machine], program(LANDLOCK, machine)
    assert verdict(code, machine, calls["socketpair"], 1) == ALLOW
    assert {verdict(code, machine, calls["socket"], f) for f in range(64)} == {refused(errno.EAFNOSUPPORT)}
    assert verdict(code, machine, calls["setns"], 3, 0x10000000) == refused(errno.EPERM)
    assert verdict(code, machine, calls["kill"], 1) == refused(errno.EPERM)


HEADERS = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    header = Path("/usr/include", HEADERS[machine])
    if not header.exists():
        pytest.skip("no kernel headers here")
    known = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())}
    ours = seccomp._REFUSED[machine] | seccomp._LOOKED_INTO[machine]  # pyright: ignore[reportPrivateUsage]
    assert {n: v for n, v in ours.items() if n in known} == {n: known[n] for n in ours if n in known}
    assert sum(n in known for n in ours) > 70
