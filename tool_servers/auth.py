"""The token of a tool server: made once per user, in a file that only this user reads, compared in constant time."""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path

from turnwise.errors import ConfigError

__all__ = ["TOKEN_VARIABLE", "allows", "default_token_file", "find_token", "make_token", "read_token"]

TOKEN_VARIABLE = "TURNWISE_TOKEN"
"""Environment variable that gives the token, to servers and clients."""
_BYTES = 32


def default_token_file() -> Path:
    """Where servers and clients of this user look for the token."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "turnwise" / "token"


def read_token(file: Path) -> str:
    """The token in a file; ConfigError if there is none, or if others can read it."""
    try:
        with file.open() as f:
            mode = os.fstat(f.fileno()).st_mode
            text = f.read().strip()
    except OSError as error:
        raise ConfigError(
            f"token file {file}: cannot be read ({error.strerror}); start a server on this machine to make it."
        ) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"token file {file}: others may read it; chmod 600 it, or remove it to get a new one.")
    if len(text) < 16 or not text.isascii():
        raise ConfigError(f"token file {file}: expected at least 16 ASCII characters; remove it to get a new token.")
    return text


def make_token(file: Path) -> str:
    """The token in `file`, which is made (mode 0600) if it is not there."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return read_token(file)
    with os.fdopen(handle, "w") as f:
        f.write(os.urandom(_BYTES).hex() + "\n")
    return read_token(file)


def find_token() -> str:
    """The token that a client of this user's servers sends: the variable, else the file, else none."""
    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    file = default_token_file()
    return given or (read_token(file) if file.exists() else "")


def allows(authorization: str, token: str) -> bool:
    """Whether an Authorization header carries the token."""
    return hmac.compare_digest(authorization.encode("utf-8", "surrogateescape"), f"Bearer {token}".encode())
