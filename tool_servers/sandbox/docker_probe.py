"""How strong a container of ours is on this engine, found out by attacking one from inside as the model's code would."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiodocker import Docker

from turnwise.errors import SandboxFailure
from turnwise.tool_servers.sandbox.docker_container import container_settings
from turnwise.tool_servers.sandbox.docker_engine import GVISOR, Engine
from turnwise.tool_servers.sandbox.docker_link import Pipe
from turnwise.tool_servers.sandbox.docker_owner import LABEL, Owner
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Level

__all__ = ["CANARIES", "Found", "probe"]

CANARIES: Mapping[str, str] = {
    "it can write to the system's files": "open('/usr/canary', 'w')",
    "it can reach a network": "assert [n for n in os.listdir('/sys/class/net') if n != 'lo']",
    "it can signal its supervisor": "os.kill(os.getppid(), 0)",
    "it can open a vsock to the host": "socket.socket(40, socket.SOCK_STREAM)",
    "it can open a netlink socket": "socket.socket(16, socket.SOCK_RAW)",
    "it can use io_uring": "call(425, 8, bytes(120))",
    "it can trace processes": "call(101, 0, 0, 0, 0)",
    "it can make namespaces": "call({'x86_64': 272, 'aarch64': 97}[os.uname().machine], 0x10000000)",
    "it can become root": "os.setuid(0)",
    "it can use more memory than it may": "bytearray(400 << 20)",
}
"""What must fail, as Python that raises where the wall holds; numbers of system calls are those of x86_64 where they differ."""
_MACHINE_DEPENDENT = ("it can trace processes",)
_DEADLY = "it can use more memory than it may"
"""The last one: under gVisor the whole container ends of it."""
_LESSER = ("it can open a vsock to the host", "it can open a netlink socket", "it can use io_uring", "it can trace processes")
"""Without these walls the code still has no files, no network and no other processes."""
_GVISOR_OWN = ("it can use io_uring", "it can trace processes", "it can make namespaces", "it can open a netlink socket")
"""Calls that the application kernel answers itself: they reach no kernel of the host, so they are no hole there."""
_PROGRAM = """
import ctypes, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), 'refused')
print(json.dumps(['landlock', libc.syscall(444, None, 0, 1) > 0]), flush=True)
for name, code in json.loads(sys.argv[1]).items():
    sys.stdin.readline()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
            sys.stdout = open(os.devnull, 'w')
            exec(code)
        except (OSError, AssertionError, MemoryError):
            os._exit(1)
        os._exit(0)
    print(json.dumps([name, os.waitpid(child, 0)[1] != 0]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What the attacks came to."""

    level: Level
    lost: tuple[str, ...]
    """One line for each thing that is weaker than it should be."""
    landlock: bool
    """Whether the guest can take files away from the model's code with Landlock, on top of the container's walls."""


async def probe(docker: Docker, engine: Engine, image: str, runtime: str, owner: Owner, *, wall_s: float = 30.0) -> Found:
    """Raises SandboxFailure if nothing runs at all."""
    names = {name: code for name, code in CANARIES.items() if engine.machine == "x86_64" or name not in _MACHINE_DEPENDENT}
    command = ["python3", "-I", "-S", "-c", _PROGRAM, json.dumps(names)]
    limits = replace(Limits(), memory_mb=128, disk_mb=1)
    settings: dict[str, Any] = container_settings(
        image, command, limits, labels={LABEL: str(owner)}, overhead_mb=32, runtime=runtime, podman=engine.podman
    )
    pipe, reader = await Pipe.reading(docker, settings)
    try:
        async with asyncio.timeout(wall_s):
            lines = [await _next(pipe, reader) for _ in range(len(names) + 1)]
    except TimeoutError as broken:
        raise SandboxFailure("docker", f"the probe in a container of {image} gave no answer: {pipe.last_words}") from broken
    finally:
        await pipe.end()
    held: dict[str, bool] = dict(json.loads(line) for line in lines if line)
    if unknown := set(names) - {_DEADLY} - set(held):
        raise SandboxFailure("docker", f"the probe in a container of {image} ended before {unknown}: {pipe.last_words}")
    own = _GVISOR_OWN if runtime == GVISOR else ()
    landlock = held.pop("landlock")
    holes = [name for name, fine in held.items() if not fine and name not in own]
    return Found(_level(holes, runtime), (*engine.missing, *holes), landlock)


async def _next(pipe: Pipe, reader: asyncio.StreamReader) -> bytes:
    """One verdict, and the word to go on: engines drop what was said right before the end."""
    line = await reader.readline()
    pipe.write(b"\n")
    return line


def _level(holes: Sequence[str], runtime: str) -> Level:
    if not holes:
        return Level.GVISOR if runtime == GVISOR else Level.DOCKER
    return Level.LANDLOCK if set(holes) <= set(_LESSER) else Level.RLIMITS
