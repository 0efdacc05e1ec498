"""Reads numbers out of a task's metadata, which may be anybody's."""

from __future__ import annotations

from typing import Any

__all__ = ["LARGEST", "number", "numbers"]

LARGEST = 1_000_000
"""No size, weight, value or coordinate is larger."""


def number(value: Any, least: int = 1, most: int = LARGEST) -> int:
    """That int; ValueError if it is something else or out of bounds."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{str(value)[:40]} is no whole number from {least} to {most}")
    return value


def numbers(values: Any, least: int = 1, most: int = LARGEST) -> tuple[int, ...]:
    """Those ints; ValueError if there are none, or one is something else or out of bounds."""
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{str(values)[:40]} is no list of whole numbers")
    for value in values:
        if type(value) is not int or not least <= value <= most:  # a call for every number would cost most of a reset
            number(value, least, most)
    return tuple(values)
