"""What a server may leave behind that is no process."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["traces"]


def traces(pid: int, folder: Path) -> list[str]:
    """Control groups, mounts and temporary files of the server with that number, whose temporary folder it is."""
    mark = f"turnwise-{pid}-"
    found = [f"temporary file {p}" for p in folder.iterdir()]
    found += [
        f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if mark in line or str(folder) in line
    ]
    for root, folders, _ in os.walk("/sys/fs/cgroup"):  # which forgives what disappears meanwhile
        found += [f"control group {root}/{name}" for name in folders if name.startswith(mark)]
    return found
