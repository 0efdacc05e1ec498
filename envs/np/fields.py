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
    if {*map(type, values)} == {int} and least <= min(values) and max(values) <= most:
        return tuple(values)
    return tuple([number(value, least, most) for value in values])
