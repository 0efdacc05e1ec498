"""What a session may use, and the one line a model reads when it asked for more."""

from dataclasses import dataclass, fields

from turnwise.errors import ConfigError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one session; those of one call say so. All of them are enforced outside the code they bound."""

    wall_s: float = 10.0
    """Seconds of one call."""
    cpu_s: float = 60.0
    """CPU seconds of the whole session, all its processes."""
    memory_mb: int = 512
    """Resident memory of all the session's processes together."""
    processes: int = 32
    """Processes and threads at one time."""
    open_files: int = 256
    disk_mb: int = 64
    """Work folder and /tmp together."""
    inodes: int = 4096
    """Files and folders in them."""
    output_kb: int = 64
    """Kept of each of out and err in one call; beyond it the middle is cut out."""
    output_stop_mb: int = 64
    """A call that writes more is stopped."""
    value_kb: int = 1024
    """JSON result of one call."""
    calls: int = 1000
    """Calls of the session."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigError(f"Limits: {f.name} must be a number above 0, got {value!r}.")
