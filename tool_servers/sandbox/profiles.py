"""What runs in a session: a worker file, and the imports that are done before a session is forked.

A worker is one stand-alone Python file (standard library and the profile's imports only, for it also runs where turnwise is not
installed) with

    class Worker:
        def __init__(self, settings: dict, seed: int) -> None: ...      # in the session, in the work folder, isolated
        def handle(self, tool: str, arguments: dict) -> Any: ...        # JSON-able; prints are captured; raising is "error"
        tools: ClassVar[tuple[dict, ...]]                               # JSON-schema specs: name, description, parameters
"""

from dataclasses import dataclass
from pathlib import Path

from turnwise.errors import UnknownName

__all__ = ["PROFILES", "Profile", "profile_of"]

_SERVERS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a zygote prepares once, so that a fresh session has it at once."""

    name: str
    worker: Path
    """The stand-alone file with the class `Worker`."""
    imports: tuple[str, ...] = ()
    """Modules imported before the fork."""
    extra: str = ""
    """The pip extra that brings the imports."""
    ready: int = 0
    """Blank sessions that stand ready if nobody says how many: where so much is imported that to build one takes long."""


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("python", _SERVERS / "python" / "worker.py"),
        Profile("math", _SERVERS / "python" / "worker.py", imports=("numpy", "sympy"), ready=2),
        Profile(
            "science",
            _SERVERS / "python" / "worker.py",
            imports=("numpy", "sympy", "pandas", "scipy", "scipy.stats", "scipy.optimize", "scipy.linalg"),
            extra="science",
            ready=2,
        ),
        Profile("sql", _SERVERS / "sql" / "worker.py", imports=("sqlite3",)),
        Profile("duckdb", _SERVERS / "sql" / "duck.py", imports=("sqlite3", "duckdb"), extra="duckdb"),
    )
}


def profile_of(name: str) -> Profile:
    """The profile of that name; UnknownName otherwise."""
    if name not in PROFILES:
        raise UnknownName("sandbox profile", name, PROFILES)
    return PROFILES[name]
