"""Temporary folders that do not outlive their process for long, however it ends.

A process that is killed removes nothing. So each folder is locked by the process that made it, and whoever makes one of the kind
first removes those that nobody locks any more: the kernel takes a lock away with the process that holds it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["OwnFolder"]


class OwnFolder:
    """A new folder `path`, for this process alone; `remove` it at the end."""

    def __init__(self, prefix: str, parent: Path | str | None = None, *, sweep: bool = True) -> None:
        """
        Args:
            prefix: of its name; it says of which kind the folder is.
            parent: where it lies; None is the folder for temporary files.
            sweep: whether those that dead processes left there are removed. Not where other machines have theirs: their locks
                may be unknown here.
        """
        where = Path(parent or tempfile.gettempdir())
        if sweep:
            for old in where.glob(f"{prefix}*"):
                _remove_abandoned(old)
        while True:  # somebody who sweeps may have found it before it was locked
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            _locked(self._lock)
            if self.path.is_dir():
                break
            os.close(self._lock)

    def remove(self) -> None:
        """With all that is in it. Twice is fine."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _remove_abandoned(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # gone, no folder, or somebody else's
        return
    try:
        if os.fstat(lock).st_uid == os.getuid() and _locked(lock):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _locked(folder: int) -> bool:
    """Whether it is ours now; False also where the file system knows no locks."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
