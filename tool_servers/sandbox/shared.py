"""Folders of this machine that sessions may read: large data that is not worth a copy for each of them.

The operator gives them a name when the sandbox is made (`shared={"shop": "/data/shop"}`), a session asks for them by name
(`SessionSpec(shared=("shop",))`) and finds them at /shared/NAME, read-only. Links in them lead to what the session sees itself,
and to nothing of this machine.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from turnwise.errors import ConfigError, UnknownName
from turnwise.tool_servers.guest.plan import SHARED
from turnwise.tool_servers.sandbox.protocol import Level, SessionSpec

__all__ = ["SHARED", "check_asked", "checked_folders"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def checked_folders(shared: Mapping[str, str | Path]) -> dict[str, str]:
    """Name -> real path. ConfigError for a name that is no name, and for what is no folder that a session's user could read."""
    found: dict[str, str] = {}
    for name, path in shared.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(f"shared: a name must be 1 to 64 of letters, digits, '-' and '_', got {name!r}.")
        real = os.path.realpath(path)
        if not os.path.isdir(real):
            raise ConfigError(f"shared folder {name}: {str(path)!r} is no folder.")
        if closed := next(_closed(real), ""):
            raise ConfigError(f"shared folder {name}: sessions, which are another user, cannot read {closed}; chmod o+rX it.")
        found[name] = real
    return found


def _closed(folder: str) -> Iterator[str]:
    """The folder and what lies directly in it, where others may not read it; only root's sessions are others."""
    if os.geteuid() == 0:
        for path in (folder, *(entry.path for entry in os.scandir(folder) if not entry.is_symlink())):
            mode = os.stat(path).st_mode
            if (mode & 0o5) != 0o5 if stat.S_ISDIR(mode) else not mode & 0o4:
                yield path


def check_asked(spec: SessionSpec, known: Mapping[str, str], level: Level) -> None:
    """UnknownName for a folder that nobody gave, ConfigError where there are no mounts to show it with."""
    for name in spec.shared:
        if name not in known:
            raise UnknownName("shared folder", name, known)
    if spec.shared and level < Level.NAMESPACES:
        raise ConfigError(
            f"Session {spec.id}: shared folders need level namespaces or stronger, here it is {level.name.lower()}; put files."
        )
