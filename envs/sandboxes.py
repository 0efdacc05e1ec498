"""The sandboxes that the environments of one process share."""

from __future__ import annotations

import os
import threading

from turnwise.errors import UnknownName
from turnwise.tool_servers.sandbox.blocking import BlockingSandbox
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.protocol import Level

__all__ = ["level_named", "shared_sandbox"]

_shared: dict[tuple[int, Level, str], BlockingSandbox] = {}
_lock = threading.Lock()


def level_named(name: str) -> Level:
    """The level of the embedded sandbox that an option names, such as "namespaces"; raises UnknownName."""
    levels = {level.name.lower(): level for level in Level if level <= Level.NAMESPACES}
    if name not in levels:
        raise UnknownName("sandbox level", name, levels)
    return levels[name]


def shared_sandbox(needs: Level, data: str = "") -> BlockingSandbox:
    """The embedded sandbox of this process that is at least that strong, started at first use; a child process gets its own.

    `data`: a folder that its sessions may ask for (`SessionSpec(shared=("data",))`); each folder has a sandbox of its own.
    It is never closed: its zygotes and sessions end with the process, in whatever way that ends. Raises SandboxFailure, or
    Unsupported where this machine cannot give what is needed.
    """
    key = (os.getpid(), needs, data)
    with _lock:
        if key not in _shared:
            _shared[key] = BlockingSandbox(
                lambda: EmbeddedSandbox(needs=needs, profiles=(), shared={"data": data} if data else None)
            )
        return _shared[key]
