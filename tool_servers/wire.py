"""The records of the sandbox protocol as JSON, and the refusals that a tool server answers with: one vocabulary for both ends.

    200  result, session          400  bad_request            401  token                  404  unknown_session, no_file
    409  other_spec, wrong_seq, fork_refused                  410  closed                 413  too_large
    429  busy (Retry-After)       502  sandbox_failure        503  stopping

The body of a refusal is {"error": {"kind", "detail", "failure", "retriable"}}; `failure` is SandboxFailure's own kind.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import StrEnum
from typing import Any, NoReturn, cast

from turnwise.errors import ConfigError, SandboxFailure, TurnwiseError, UnknownName
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import ForkRefused, SessionSpec, Status, ToolResult, Usage

__all__ = [
    "CLIENT_HEADER",
    "MAX_BODY",
    "RUN_HEADER",
    "STATUS",
    "Kind",
    "Refusal",
    "decoded",
    "encoded",
    "error_of",
    "raised_by",
    "result_from",
    "result_to",
    "spec_from",
    "spec_to",
]

CLIENT_HEADER = "Turnwise-Client"
"""Whose connection the session hangs on: its sessions are closed when that connection is gone."""
RUN_HEADER = "Turnwise-Run"
"""The training run that asks; runs take turns where there is a queue."""
MAX_BODY = 4 * 1024 * 1024
"""Bytes of one request."""


class Kind(StrEnum):
    """Why a request was refused."""

    BAD_REQUEST = "bad_request"
    TOKEN = "token"
    UNKNOWN_SESSION = "unknown_session"
    NO_FILE = "no_file"
    OTHER_SPEC = "other_spec"
    WRONG_SEQ = "wrong_seq"
    FORK_REFUSED = "fork_refused"
    CLOSED = "closed"
    TOO_LARGE = "too_large"
    BUSY = "busy"
    SANDBOX_FAILURE = "sandbox_failure"
    STOPPING = "stopping"


STATUS: Mapping[Kind, int] = {
    Kind.BAD_REQUEST: 400,
    Kind.TOKEN: 401,
    Kind.UNKNOWN_SESSION: 404,
    Kind.NO_FILE: 404,
    Kind.OTHER_SPEC: 409,
    Kind.WRONG_SEQ: 409,
    Kind.FORK_REFUSED: 409,
    Kind.CLOSED: 410,
    Kind.TOO_LARGE: 413,
    Kind.BUSY: 429,
    Kind.SANDBOX_FAILURE: 502,
    Kind.STOPPING: 503,
}
_LOST = (Kind.UNKNOWN_SESSION, Kind.CLOSED)
_MISTAKES = (Kind.BAD_REQUEST, Kind.TOKEN, Kind.OTHER_SPEC, Kind.WRONG_SEQ, Kind.TOO_LARGE)


class Refusal(TurnwiseError):
    """A request that a tool server does not fulfil."""

    def __init__(self, kind: Kind, detail: str, *, failure: str = "", retriable: bool = False) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail, self.failure, self.retriable = kind, detail, failure, retriable

    def body(self) -> dict[str, Any]:
        """As it goes over the wire."""
        error = {"kind": self.kind, "detail": self.detail, "failure": self.failure, "retriable": self.retriable}
        return {"error": error}


def error_of(error: Exception) -> Refusal | None:
    """The refusal that tells a client of this error; None for one that nobody foresaw."""
    match error:
        case Refusal():
            return error
        case ForkRefused():
            return Refusal(Kind.FORK_REFUSED, str(error))
        case FileNotFoundError():
            return Refusal(Kind.NO_FILE, str(error))
        case ConfigError():
            return Refusal(Kind.BAD_REQUEST, str(error))
        case SandboxFailure():
            return Refusal(Kind.SANDBOX_FAILURE, error.detail, failure=error.kind, retriable=error.retriable)
        case _:
            return None


def raised_by(status: int, body: object) -> Exception:
    """What a client raises for a refusal: the error that the server met, as if the session were here."""
    error = cast(Mapping[str, Any], body).get("error") if isinstance(body, Mapping) else None
    known = cast(Mapping[str, Any], error) if isinstance(error, Mapping) else {}
    kind, detail = known.get("kind"), str(known.get("detail", ""))
    if kind in _LOST:
        return SandboxFailure("lost", detail)
    if kind in _MISTAKES:
        return ConfigError(f"tool server: {detail}")
    if kind == Kind.FORK_REFUSED:
        return ForkRefused(detail)
    if kind == Kind.NO_FILE:
        return FileNotFoundError(detail)
    if kind == Kind.SANDBOX_FAILURE:
        return SandboxFailure(str(known.get("failure") or "server"), detail, bool(known.get("retriable")))
    return SandboxFailure("server", f"status {status} {detail}".rstrip())


# --- JSON -----------------------------------------------------------------------------------------------------------------


def encoded(value: Any) -> bytes:
    """JSON in ASCII (a lone surrogate in a tool's output has no UTF-8). NaN and infinities, which JSON lacks, become null."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(k): _finite(v) for k, v in cast(dict[Any, Any], value).items()}
        case list() | tuple():
            return [_finite(v) for v in cast(list[Any], value)]
        case _:
            return value


def decoded(body: bytes | str, what: str = "body") -> dict[str, Any]:
    """A JSON object; ConfigError for anything else."""
    try:
        value: object = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what}: expected JSON, got something else ({error}).") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{what}: expected a JSON object, got {type(value).__name__}.")
    return cast(dict[str, Any], value)


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


# --- records --------------------------------------------------------------------------------------------------------------


def spec_to(spec: SessionSpec) -> dict[str, Any]:
    """A spec as JSON; files in base64."""
    return {
        "id": spec.id,
        "profile": spec.profile,
        "limits": asdict(spec.limits),
        "files": {path: base64.b64encode(data).decode() for path, data in spec.files.items()},
        "seed": spec.seed,
        "lease_s": spec.lease_s,
        "settings": dict(spec.settings),
        "shared": list(spec.shared),
    }


def spec_from(data: Mapping[str, Any]) -> SessionSpec:
    """The spec that somebody sent; what was left out has the default. Raises ConfigError."""
    _known("session", data, [f.name for f in fields(SessionSpec)])
    limits = _of(dict, data, "limits", {})
    _known("limit", limits, [f.name for f in fields(Limits)])
    lease_s = _of((int, float), data, "lease_s", 300.0)
    if not 0 < lease_s < math.inf:
        raise ConfigError(f"session: lease_s must be a number of seconds above 0, got {lease_s!r}.")
    return SessionSpec(
        id=_of(str, data, "id", ""),
        profile=_of(str, data, "profile", "python"),
        limits=Limits(**limits),
        files={str(path): _bytes(path, text) for path, text in _of(dict, data, "files", {}).items()},
        seed=_of(int, data, "seed", 0),
        lease_s=float(lease_s),
        settings=_of(dict, data, "settings", {}),
        shared=tuple(map(str, _of(list, data, "shared", []))),
    )


def _known(what: str, data: Mapping[str, Any], names: list[str]) -> None:
    for key in data:
        if key not in names:
            raise UnknownName(f"{what} key", key, names)


def _of(kind: type | tuple[type, ...], data: Mapping[str, Any], key: str, default: Any) -> Any:
    value = data.get(key, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"session: {key} has the wrong type, {type(value).__name__}.")
    return value


def _bytes(path: str, text: object) -> bytes:
    try:
        return base64.b64decode(cast(str, text), validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise ConfigError(f"session: files[{path!r}] must be base64 text.") from None


def result_to(result: ToolResult) -> dict[str, Any]:
    """A result as JSON."""
    usage = result.usage
    return {
        "status": result.status,
        "out": result.out,
        "err": result.err,
        "value": result.value,
        "truncated": result.truncated,
        "usage": {"wall_ms": usage.wall_ms, "cpu_ms": usage.cpu_ms, "peak_mb": usage.peak_mb},
        "seq": result.seq,
        "restarted": result.restarted,
    }


def result_from(data: Mapping[str, Any]) -> ToolResult:
    """The result that a server sent; ValueError, KeyError or TypeError if it is none."""
    known: dict[str, Any] = {**data, "status": Status(data["status"]), "usage": Usage(**data["usage"])}
    return ToolResult(**known)
