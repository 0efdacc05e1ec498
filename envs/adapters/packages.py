"""Packages that only an adapter needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from turnwise.errors import Unsupported

__all__ = ["needed"]


def needed(module: str, extra: str) -> Any:
    """The module, imported now. Raises Unsupported, with the mend, where its package is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # it is there, and misses something itself
        top = module.partition(".")[0]
        raise Unsupported(f"{top} is not installed; pip install 'turnwise[{extra}]'.") from error
