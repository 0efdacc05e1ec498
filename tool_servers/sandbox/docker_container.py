"""What a container of ours may do: one pure function from limits to the engine's settings, everything closed that can be closed.

Inside, a trusted guest runs as root with six capabilities and no others: it becomes another user for the model's code (SETUID,
SETGID), ends what that user started (KILL), reads and writes that user's files (CHOWN, DAC_OVERRIDE, FOWNER). Two users, because
code that could signal its own supervisor could turn every failure of the model into a failure of the sandbox, which is no reward
of 0. The model's code has no capability at all.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from turnwise.tool_servers.guest.plan import SHARED
from turnwise.tool_servers.sandbox.limits import Limits

__all__ = ["CAPABILITIES", "container_settings"]

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
_PROFILE = Path(__file__).resolve().parents[1] / "images/seccomp.json"
_MB = 1 << 20
_GUEST_PROCESSES = 16
_KERNEL_THREADS = 512
"""Another runtime may need threads of its own in the container: gVisor's kernel has some for each process, and dies without."""


@cache
def _seccomp() -> str:
    """Our system calls, without blanks and comments: the engine keeps this text with every container."""
    profile = json.loads(_PROFILE.read_text())
    for rule in profile["syscalls"]:
        rule.pop("comment", None)
    return json.dumps(profile, separators=(",", ":"))


def _tmpfs(limits: Limits, podman: bool) -> str:
    return f"rw,nosuid,nodev,mode=0755,size={limits.disk_mb}m" + ("" if podman else f",nr_inodes={limits.inodes}")


def _ulimits(limits: Limits, podman: bool) -> list[dict[str, Any]]:
    bounds = {"nofile": max(limits.open_files, 1024), "core": 0}
    if podman:
        bounds["nproc"] = 30_000  # its own default of a million is refused where the engine has not every capability
    return [{"Name": name, "Soft": bound, "Hard": bound} for name, bound in bounds.items()]


def _mount(name: str, path: str) -> dict[str, Any]:
    options = {"Propagation": "rprivate", "NonRecursive": True}
    return {"Type": "bind", "Source": path, "Target": f"{SHARED}/{name}", "ReadOnly": True, "BindOptions": options}


def container_settings(
    image: str,
    command: Sequence[str],
    limits: Limits,
    *,
    labels: Mapping[str, str],
    overhead_mb: int,
    shared: Mapping[str, str] | None = None,
    cpus: float = 1.0,
    runtime: str = "",
    podman: bool = False,
) -> dict[str, Any]:
    """The body of `POST /containers/create`.

    `overhead_mb` is what the guest and the imports of the profile need beside the session. The tmpfs count as memory of the
    container, so the container's own bound is the last line: the guest stops a session at `Limits.memory_mb` before.
    `shared`: name -> folder of the engine's machine, read-only at /shared/name, without what is mounted below it.
    Podman wants a system call profile as a path (of its machine), and knows no bound of inodes.
    """
    memory = (limits.memory_mb + limits.disk_mb + overhead_mb) * _MB
    return {
        "Image": image,
        "Cmd": list(command),
        "User": "0:0",
        "WorkingDir": "/",
        "Env": ["LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"],
        "Labels": dict(labels),
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "NetworkDisabled": True,
        "HostConfig": {
            "AutoRemove": True,
            "Init": True,
            "NetworkMode": "none",
            "IpcMode": "private",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CapAdd": list(CAPABILITIES),
            "SecurityOpt": ["no-new-privileges", f"seccomp={_PROFILE if podman else _seccomp()}"],
            "PidsLimit": limits.processes + (_GUEST_PROCESSES if not runtime else _KERNEL_THREADS),
            "Memory": memory,
            "MemorySwap": memory,
            "NanoCpus": int(cpus * 1e9),
            "ShmSize": _MB,
            "Tmpfs": {"/tmp": _tmpfs(limits, podman)},
            "Ulimits": _ulimits(limits, podman),
            "LogConfig": {"Type": "none", "Config": {}},
            **({"Mounts": [_mount(name, path) for name, path in shared.items()]} if shared else {}),
            **({"Runtime": runtime} if runtime else {}),
        },
    }
