"""Bounds of a method's parameters: what lies outside, and nan, is refused where the method is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from turnwise.errors import ConfigError

__all__ = ["numbers", "within"]


def within(name: str, value: float, low: float = 0.0, high: float = math.inf) -> None:
    """Raises ConfigError unless low <= value <= high. `name` is method.parameter, as in a recipe."""
    if not low <= value <= high:
        expected = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
        raise ConfigError(f"{name}: expected {expected}, got {value:g}.")


def numbers(value: Any, where: str = "") -> None:
    """Raises ConfigError for a nan anywhere in a table; `where` is its place so far. (inf switches a bound off.)"""
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{where}: expected a number, got nan.")
    inner = (
        cast("dict[Any, Any]", value) if isinstance(value, Mapping) else dict(enumerate(value)) if isinstance(value, list) else {}
    )
    for key, item in inner.items():
        numbers(item, f"{where}.{key}" if where else str(key))
