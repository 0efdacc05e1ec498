"""What the command line's words mean."""

from __future__ import annotations

import re
from importlib.util import find_spec

from turnwise.envs.registration import ids
from turnwise.errors import ConfigError, UnknownName, Unsupported

__all__ = ["env_id", "levels", "needs_torch"]


def env_id(word: str) -> str:
    """An id, or the bare name of one of ours ("Lookup", "sokoban"). Raises UnknownName."""
    known = ids()
    if word in known:
        return word
    short = {re.sub(r"-v\d+$", "", name.rpartition("/")[2]).casefold(): name for name in known if name.startswith("turnwise/")}
    if word.casefold() not in short:
        raise UnknownName("environment id", word, known)
    return short[word.casefold()]


def levels(word: str) -> tuple[int, ...]:
    """ "2", "1,3" or "1-4" as levels. Raises ConfigError."""
    found: list[int] = []
    for part in word.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ConfigError(f"--difficulty: expected levels such as 2, 1,3 or 1-4, got {word!r}.")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(dict.fromkeys(found))


def needs_torch(what: str) -> None:
    """Raises Unsupported with the mend where torch or transformers are not installed."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise Unsupported(f"{what}: needs {' and '.join(missing)}; pip install 'turnwise[train]'.")
