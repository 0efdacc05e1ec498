"""Calls into environments that may break, hang or answer nonsense: every way they fail becomes a Failure."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from turnwise.errors import EngineFailure, EnvFailure
from turnwise.types import Failure

__all__ = ["Broken", "call_env", "checked_reset", "checked_step", "failure_of"]

T = TypeVar("T")


class Broken(Exception):
    """An episode that cannot go on; carries the Failure. Never leaves `agents/episode.py`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.detail}")
        self.failure = failure


def failure_of(error: Exception) -> Failure:
    """Classify where the information still exists."""
    match error:
        case Broken():
            return error.failure
        case EnvFailure() | EngineFailure():
            return Failure(error.kind, error.detail)
        case TimeoutError():
            return Failure("timeout", str(error))
        case _:
            return Failure("crash", f"{type(error).__name__}: {error}"[:500])


async def call_env(call: Callable[[], T], *, inline: bool, deadline_s: float) -> T:
    """Run one environment call: at once if it is known to be quick, else in a thread of its own with a deadline.

    A thread that hangs cannot be killed; it is left behind as a daemon, and the call raises Broken after `deadline_s`.
    """
    try:
        if inline:
            return call()
        return await asyncio.wait_for(_in_thread(call), deadline_s)
    except TimeoutError as error:
        raise Broken(Failure("timeout", f"the environment did not answer within {deadline_s:g} s")) from error
    except Exception as error:  # the boundary: whatever somebody's environment raises is data here
        raise Broken(failure_of(error)) from error


def _in_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: Exception | None) -> None:
        if not future.done():
            future.set_result(result) if error is None else future.set_exception(error)

    def run() -> None:
        try:
            result, error = call(), None
        except Exception as caught:  # handed over to the waiting side as it is
            result, error = None, caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    # Not an executor: its threads are joined at exit, and a hung environment would hang the program.
    threading.Thread(target=run, daemon=True, name="turnwise-env").start()
    return future


def checked_reset(result: Any) -> tuple[str, Mapping[str, Any]]:
    """(observation, info) of a reset, or Broken: an environment's nonsense is its failure, not the model's."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise Broken(Failure("nonsense", f"reset returned {type(result).__name__}, expected (observation, info)"))
    observation, info = result
    return _text(observation, "reset"), _mapping(info, "reset")


def checked_step(result: Any) -> tuple[str, float, bool, bool, Mapping[str, Any]]:
    """(observation, reward, terminated, truncated, info) of a step, or Broken."""
    if not (isinstance(result, tuple) and len(result) == 5):
        raise Broken(Failure("nonsense", f"step returned {type(result).__name__}, expected a 5-tuple"))
    observation, reward, terminated, truncated, info = result
    try:
        value = float(reward)
    except (TypeError, ValueError) as error:
        raise Broken(Failure("nonsense", f"step returned the reward {reward!r}, expected a number")) from error
    if not math.isfinite(value):
        raise Broken(Failure("nonsense", f"step returned the reward {value}, expected a finite number"))
    return _text(observation, "step"), value, bool(terminated), bool(truncated), _mapping(info, "step")


def _text(observation: Any, where: str) -> str:
    if isinstance(observation, Mapping):
        observation = observation.get("text")  # environments with pictures say {"text": ..., "image": ...}
    if not isinstance(observation, str):
        raise Broken(Failure("nonsense", f"{where} returned an observation of type {type(observation).__name__}, expected str"))
    return observation


def _mapping(info: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(info, Mapping):
        raise Broken(Failure("nonsense", f"{where} returned info of type {type(info).__name__}, expected a dict"))
    return info
