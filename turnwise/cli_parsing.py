"""What the command line's words mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import gymnasium

from turnwise.envs.registration import ADAPTERS, ids
from turnwise.errors import ConfigError, UnknownName, Unsupported

__all__ = ["env_id", "levels", "made", "needs_torch", "settings"]


def env_id(word: str) -> str:
    """An id, or the bare name of one of ours ("Lookup", "sokoban"). Raises UnknownName."""
    known = [*ids(), *ADAPTERS]
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


def settings(words: Sequence[str]) -> dict[str, Any]:
    """Options of an environment from `key=value`; a value is JSON where it is that, else text. Raises ConfigError."""
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"expected an option of the environment as key=value, got {word!r}.")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def made(name: str, options: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """The environment with these options; one that it does not take, or lacks, is a ConfigError."""
    try:
        return gymnasium.make(name, disable_env_checker=True, **options)
    except TypeError as error:
        raise ConfigError(f"{name}: {str(error).partition(' was raised from the environment creator')[0]}.") from error


def needs_torch(what: str) -> None:
    """Raises Unsupported with the mend where torch or transformers are not installed."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if missing:
        raise Unsupported(f"{what}: needs {' and '.join(missing)}; pip install 'turnwise[train]'.")
