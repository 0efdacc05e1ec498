"""Calls into environments that may break, hang or answer nonsense: every way they fail becomes a Failure."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

from turnwise.errors import EngineFailure, InfraError, SandboxFailure
from turnwise.types import Failure, Family

__all__ = ["Broken", "call_env", "checked_reset", "checked_step", "failure_of"]

T = TypeVar("T")
_Outcome = tuple[T | None, BaseException | None]


class Broken(Exception):
    """An episode that cannot go on; carries the Failure. Never leaves `agents/episode.py`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.detail}")
        self.failure = failure


def failure_of(error: BaseException) -> Failure:
    """Classify where the information still exists."""
    match error:
        case Broken():
            return error.failure
        case EngineFailure():
            return Failure(error.kind, error.detail, Family.PROVIDER)
        case SandboxFailure():
            return Failure(error.kind, error.detail, Family.SANDBOX)
        case InfraError():
            return Failure(error.kind, error.detail, Family.ENVIRONMENT)
        case TimeoutError():
            return Failure("timeout", _words(error) or "TimeoutError", Family.TIMEOUT)
        case _:
            return Failure("crash", f"{type(error).__name__}: {_words(error)}"[:500], Family.TASK)


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # the boundary: how an exception speaks is somebody's code too
        return "(it cannot say what)"


async def call_env(
    call: Callable[[], T],
    *,
    inline: bool,
    deadline_s: float,
    what: str = "the environment",
    late: Callable[[T], object] = lambda _: None,
) -> T:
    """Run one environment call: at once if it is known to be quick, else in a thread of its own with a deadline.

    A thread that hangs cannot be killed; it is left behind as a daemon, and the call raises Broken after `deadline_s`, which says
    that `what` did not answer. A result that comes when nobody waits any more goes to `late`, in a thread: an environment that
    was made too late still has to be closed.
    """
    if inline:
        try:
            return call()
        except KeyboardInterrupt:
            raise  # a person's: it strikes whatever runs on the main thread
        except BaseException as error:  # the boundary: whatever else somebody's environment raises is data here
            raise Broken(failure_of(error)) from error
    handed_over = _in_thread(call, late)
    try:
        await asyncio.wait([handed_over], timeout=deadline_s)
    except asyncio.CancelledError:
        if not handed_over.cancel():  # it came in the same tick
            _discard(handed_over.result(), late)
        raise
    if handed_over.cancel():
        raise Broken(Failure("timeout", f"{what} did not answer within {deadline_s:g} s", Family.TIMEOUT))
    result, error = handed_over.result()
    if error is not None:
        raise Broken(failure_of(error)) from error
    return cast(T, result)


def _in_thread(call: Callable[[], T], late: Callable[[T], object]) -> asyncio.Future[_Outcome[T]]:
    loop = asyncio.get_running_loop()
    # Errors are handed over as values: a future refuses some of them (StopIteration).
    future: asyncio.Future[_Outcome[T]] = loop.create_future()

    def settle(outcome: _Outcome[T]) -> None:
        if future.done():
            _discard(outcome, late)
        else:
            future.set_result(outcome)

    def run() -> None:
        try:
            outcome = call(), None
        except BaseException as caught:  # sys.exit() in somebody's environment ends an episode, not a thread
            outcome = None, caught
        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits any more
            _discard(outcome, late)

    _thread(run)
    return future


def _discard(outcome: _Outcome[T], late: Callable[[T], object]) -> None:
    """What came when nobody waited any more."""
    result, error = outcome

    def rid() -> None:
        with suppress(BaseException):  # the boundary: it is gone either way
            late(cast(T, result))

    if error is None:
        _thread(rid)


def _thread(work: Callable[[], None]) -> None:
    """Not an executor's: those are joined at exit, and a hung environment would hang the program."""
    threading.Thread(target=work, daemon=True, name="turnwise-env").start()


def checked_reset(result: Any) -> tuple[str, Mapping[str, Any]]:
    """(observation, info) of a reset, or Broken: an environment's nonsense is its failure, not the model's."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise _nonsense(f"reset returned {type(result).__name__}, expected (observation, info)")
    observation, info = result
    return _text(observation, "reset"), _mapping(info, "reset")


def checked_step(result: Any) -> tuple[str, float, bool, bool, Mapping[str, Any]]:
    """(observation, reward, terminated, truncated, info) of a step, or Broken."""
    if not (isinstance(result, tuple) and len(result) == 5):
        raise _nonsense(f"step returned {type(result).__name__}, expected a 5-tuple")
    observation, reward, terminated, truncated, info = result
    ended, cut = _flag(terminated, "terminated"), _flag(truncated, "truncated")
    return _text(observation, "step"), _number(reward, "the reward"), ended, cut, _mapping(info, "step")


def _nonsense(detail: str) -> Broken:
    return Broken(Failure("nonsense", detail, Family.TASK))


def _text(observation: Any, where: str) -> str:
    if isinstance(observation, Mapping):
        observation = observation.get("text")  # environments with pictures say {"text": ..., "image": ...}
    if not isinstance(observation, str):
        raise _nonsense(f"{where} returned an observation of type {type(observation).__name__}, expected str")
    return observation


def _mapping(info: Any, where: str) -> Mapping[str, Any]:
    """`info` with the keys that are read checked: `role`, `outcome`, `valid_action`, `reward_terms`."""
    if not isinstance(info, Mapping):
        raise _nonsense(f"{where} returned info of type {type(info).__name__}, expected a dict")
    known: dict[str, Any] = dict(cast("Mapping[str, Any]", info))
    if known.setdefault("role", "user") not in ("user", "tool"):
        raise _nonsense(f"{where} returned info['role'] = {known['role']!r}, expected 'user' or 'tool'")
    if "outcome" in known:
        known["outcome"] = _number(known["outcome"], "info['outcome']")
    known["valid_action"] = _flag(known.get("valid_action", True), "info['valid_action']")
    terms = known.get("reward_terms") or {}
    if not isinstance(terms, Mapping):
        raise _nonsense(f"{where} returned info['reward_terms'] of type {type(terms).__name__}, expected a dict")
    items = cast("Mapping[Any, Any]", terms).items()
    known["reward_terms"] = {str(name): _number(value, f"the reward term {name!r}") for name, value in items}
    return known


def _flag(value: Any, what: str) -> bool:
    try:
        return bool(value)
    except (TypeError, ValueError) as error:  # an array, say
        raise _nonsense(f"{what} is neither true nor false ({error})") from error


def _number(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise _nonsense(f"{what} is {value!r}, expected a number"[:500]) from error
    if not math.isfinite(number):
        raise _nonsense(f"{what} is {number}, expected a finite number")
    return number
