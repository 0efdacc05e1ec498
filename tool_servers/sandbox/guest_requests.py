"""What a session asks of its guest's supervisor, wherever that runs: requests as the guest reads them, answers as callers do."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from turnwise.errors import ConfigError
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status, ToolResult, Usage

__all__ = ["checked_answer", "checked_wall", "opening", "result_of"]


def opening(spec: SessionSpec) -> tuple[bytes, dict[str, Any]]:
    """(raw, fields) of the request `open`."""
    bounds = asdict(spec.limits) | {"seed": spec.seed, "settings": dict(spec.settings), "shared": list(spec.shared)}
    files = [[path, len(data)] for path, data in spec.files.items()]
    return b"".join(spec.files.values()), {"bounds": bounds, "files": files}


def checked_wall(session: str, wall_s: float | None) -> None:
    """Raises ConfigError for a wall time that is none."""
    if wall_s is not None and not wall_s > 0:
        raise ConfigError(f"Session {session}: wall_s must be above 0, got {wall_s!r}.")


def checked_answer(session: str, answer: Mapping[str, Any]) -> None:
    """Raises ConfigError for what the caller did wrong, FileNotFoundError for a file that is not there."""
    if "bad" in answer:
        raise ConfigError(f"Session {session}: {answer['bad']}")
    if "missing" in answer:
        raise FileNotFoundError(f"Session {session}: no file {answer['missing']!r} in the work folder")


def result_of(answer: Mapping[str, Any]) -> ToolResult:
    """Of the request `call`."""
    return ToolResult(
        status=Status(answer["status"]),
        out=answer["out"],
        err=answer["err"],
        value=answer["value"],
        truncated=answer["truncated"],
        usage=Usage(answer["wall_ms"], answer["cpu_ms"], answer["peak_mb"]),
        restarted=answer["restarted"],
    )
