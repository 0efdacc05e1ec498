"""A bound on work that is counted, not timed: the same input ends the same way on a slow machine. Any thread, no signals."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["TooMuchWork", "work_limit"]

_SURELY = 1000
"""Calls beyond the bound at which a generator is at work and not on its way out: no plain function has been called since."""


class TooMuchWork(BaseException):
    """The calls are used up. No Exception, because what it ends may well hold an `except Exception`."""


@contextmanager
def work_limit(calls: int) -> Generator[None]:
    """Raise TooMuchWork in the block once it has made that many calls of Python functions (a million take about a second).

    Work inside one C function is not seen: bound the size of numbers beforehand. Uses the thread's `sys.settrace`, and puts back
    what was there, so a debugger or a coverage tool only misses the block.
    """
    left = calls

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        left -= 1
        if left < 0 and _heard(frame, left < -_SURELY):
            raise TooMuchWork(f"more than {calls} calls")

    before = sys.gettrace()
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)


def _heard(frame: FrameType, surely: bool) -> bool:
    """Whether what is raised here reaches the block. Python clears up with nobody to hear it: it would report the exception, go
    on with the work, and count no further. A generator may be on its way out: the next plain function will do, if one comes."""
    if frame.f_code.co_flags & inspect.CO_GENERATOR and not surely:
        return False
    above: FrameType | None = frame
    while above is not None:
        if above.f_code.co_name == "__del__" or above.f_globals.get("__name__") in ("weakref", "_weakrefset"):
            return False
        above = above.f_back
    return True
