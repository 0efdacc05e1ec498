"""The one line a model reads when it met a limit."""

from typing import Any

from turnwise.tool_servers.guest.plan import Bounds

__all__ = ["verdict_text"]

_LOST = "Variables are lost, files are kept."
_TEXTS = {
    "wall": "Stopped after {wall_s:g} s, the time for one call.",
    "cpu": "Stopped: the {cpu_s:g} s of CPU time of this session are used up.",
    "memory": "Stopped: the session used more than its {memory_mb} MB of memory.",
    "processes": "Stopped: the session had more than its {processes} processes and threads.",
    "disk": "Stopped: the session wrote more than its {disk_mb} MB of files.",
    "inodes": "Stopped: the session made more than its {inodes} files and folders.",
    "output": "Stopped: one call wrote more than {output_stop_mb} MB of output.",
    "value": "Stopped: the result is larger than {value_kb} kB, or not JSON.",
    "died": "The session's process ended during the call: it left, or was killed.",
    "forged": "Stopped: the session's process wrote to its supervisor what is no answer.",
}


def verdict_text(cause: str, bounds: Bounds, **more: Any) -> str:
    """For a cause that ended the process; `more` replaces bounds of that name."""
    known = {name: getattr(bounds, name) for name in Bounds.__slots__} | more
    return f"{_TEXTS[cause].format_map(known)} {_LOST}"
