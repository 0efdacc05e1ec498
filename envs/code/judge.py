"""Tries a submission and says which tests it passes. The right answers stay here, outside the sandbox.

Each attempt gets a session of its own. The submission gets inputs and hands out plain data (`turnwise.envs.code.guest`), which is
compared here. So leaving early, printing what was expected, patching json, builtins or the runner, an `__eq__` that always agrees
or a walk through the caller's frames can change what is claimed, never what is right; there is nothing to find in that process
but the inputs. The examples run in a call before the hidden tests, so nothing that is shown of them can hold a hidden input.

The asserts of a data set (HumanEval, MBPP) hold the right answers. They run in a second session, which the submission never
enters: the functions it should define are stand-ins there that know the results of calls made in the first session. A call that
was not foreseen is made there, and the asserts run again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from turnwise.envs.code.plain import is_shallow, same, same_output
from turnwise.envs.code.problem import Case, Problem
from turnwise.envs.sandboxes import level_named, shared_sandbox
from turnwise.errors import ConfigError, EnvFailure, SandboxFailure
from turnwise.tool_servers.sandbox.blocking import BlockingSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.profiles import profile_of
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status

__all__ = ["Judge", "Result", "Tried", "Verdict"]

ANSWER = "answer.json"
MAX_ANSWER = 8_000_000
"""Bytes of what one batch may hand out."""
BATCH, BATCH_SIZE = 40, 1_000_000
"""Tests of one call, and characters of their inputs and right answers."""
ROUNDS = 200
"""Calls that asserts may make beyond those foreseen."""
_STOPPED = {
    Status.TIMEOUT: "it took too long",
    Status.MEMORY: "it used more than {memory_mb} MB of memory",
    Status.OUTPUT: "it printed more than {output_stop_mb} MB",
    Status.DIED: "it ended its own process, or more processes ran than are allowed",
}

_NOTHING = "its process handed out nothing that could be read"


@dataclass(frozen=True, slots=True)
class Result:
    """What is claimed to have come of one test."""

    value: Any = None
    error: str = ""
    """Name of the exception, "" where there was none."""
    message: str = ""
    line: int = 0
    """Of the submission, where it is known."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One test and what came of it."""

    case: Case
    result: Result
    passed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of an attempt."""

    examples: tuple[Tried, ...] = ()
    tests: tuple[Tried, ...] = ()
    broken: Result | None = None
    """The error with which the code could not even be defined."""
    stopped: str = ""
    """Why it was stopped, as the end of a sentence; then nothing was passed."""
    printed: str = ""
    """Standard output while the examples ran."""

    @property
    def share(self) -> float:
        """Of the hidden tests, passed."""
        return sum(tried.passed for tried in self.tests) / len(self.tests) if self.tests else 0.0

    @property
    def solved(self) -> bool:
        return bool(self.tests) and all(tried.passed for tried in (*self.examples, *self.tests))


class _Stopped(Exception):
    """The submission met a limit or handed out nothing that could be read."""


class Judge:
    """Knows how to try submissions; holds nothing between attempts, so forks share it."""

    def __init__(self, *, profile: str, needs: str, wall_s: float, test_s: float) -> None:
        """`wall_s`: seconds of a batch of tests; `test_s`: CPU seconds of one test."""
        self.profile, self.needs = profile_of(profile).name, level_named(needs)
        if not test_s > 0:
            raise ConfigError(f"Judge: test_s must be above 0, got {test_s!r}.")
        self.test_s = float(test_s)
        self.limits = Limits(
            wall_s=wall_s, cpu_s=600, memory_mb=512, processes=16, disk_mb=32, output_kb=8, output_stop_mb=16, calls=1000
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Judge:
        return self

    def attempt(self, problem: Problem, source: str) -> Verdict:
        """Try a submission. Raises EnvFailure if the sandbox broke; whatever the submission does is in the verdict."""
        source = source.encode("utf-8", "replace").decode()
        try:
            with self._session() as session:
                if problem.kind == "checks":
                    return self._checked(session, problem, source)
                return self._compared(session, problem, source)
        except _Stopped as stop:
            return Verdict(stopped=str(stop), tests=tuple(Tried(case, Result(), False) for case in problem.tests))
        except SandboxFailure as failure:
            raise EnvFailure(failure.kind, failure.detail) from failure

    # --- results compared here ------------------------------------------------------------------------------------

    def _compared(self, session: BlockingSession, problem: Problem, source: str) -> Verdict:
        found, printed = list[Result](), ""
        batches = [problem.examples, *_batches(problem.tests)]
        for index, cases in enumerate(batches):
            if problem.kind == "programs":
                call = f"programs({source!r}, {[c.given for c in cases]!r}, {self.test_s!r}, {MAX_ANSWER // (2 * BATCH)})"
            else:
                calls = [[problem.name, case.given, {"dict": []}] for case in cases]
                call = f"functions({source if index == 0 else None!r}, {calls!r}, {self.test_s!r}, {problem.given!r})"
            report, out = self._reported(session, call, first=index == 0)
            printed = out if index == 0 else printed
            broken = report.get("broken")
            if isinstance(broken, dict):
                return Verdict(broken=_result(broken), tests=tuple(Tried(case, Result(), False) for case in problem.tests))
            found += _results(report, len(cases))
        shown = len(problem.examples)
        tried = [_tried(problem, case, r) for case, r in zip((*problem.examples, *problem.tests), found, strict=True)]
        return Verdict(tuple(tried[:shown]), tuple(tried[shown:]), printed=printed)

    # --- asserts that run beside -----------------------------------------------------------------------------------

    def _checked(self, session: BlockingSession, problem: Problem, source: str) -> Verdict:
        calls = [list(call) for call in problem.calls]
        report, _ = self._reported(
            session, f"functions({source!r}, {calls!r}, {self.test_s!r}, {problem.given!r}, True)", first=True
        )
        broken = report.get("broken")
        if isinstance(broken, dict):
            return Verdict(broken=_result(broken))
        known = {json.dumps(call): claim for call, claim in zip(calls, _claims(report, len(calls)), strict=True)}
        with self._session() as checker:
            for round in range(ROUNDS + 1):
                entry = problem.names[0] if problem.entry else ""
                call = f"check({problem.setup!r}, {problem.check!r}, {list(problem.names)!r}, {known!r}, {entry!r})"
                try:
                    answer, _ = self._reported(checker, call, first=round == 0)
                except _Stopped:
                    break  # on what the submission returned: an endless string, say
                if "need" not in answer:
                    return Verdict(tests=tuple(_noted(index, bool(ok)) for index, ok in enumerate(answer["verdicts"])))
                need = json.loads(answer["need"])
                report, _ = self._reported(session, f"functions(None, {[need]!r}, {self.test_s!r}, changes=True)", first=False)
                (known[answer["need"]],) = _claims(report, 1)
        raise _Stopped("the checks of its results did not come to an end")

    # --- the session -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _session(self) -> Generator[BlockingSession]:
        spec = SessionSpec(f"code-{os.urandom(12).hex()}", profile=self.profile, limits=self.limits)
        session = shared_sandbox(self.needs).open(spec)
        try:
            yield session
        finally:
            with contextlib.suppress(SandboxFailure):  # it is gone, which is what was wanted
                session.close()

    def _reported(self, session: BlockingSession, call: str, *, first: bool) -> tuple[Mapping[str, Any], str]:
        """(what the guest wrote, what was printed) of one call; raises _Stopped where there is nothing to read."""
        result = session.call("python", {"code": f"{_guest()}\n{call}" if first else call})
        if result.status is not Status.OK:
            reason = _STOPPED.get(result.status, _NOTHING)
            raise _Stopped(reason.format(**{name: getattr(self.limits, name) for name in Limits.__slots__}))
        try:
            report = json.loads(session.get(ANSWER, max_bytes=MAX_ANSWER), parse_constant=_no_constant)
        except (ConfigError, FileNotFoundError, ValueError, RecursionError):
            report = None
        if not isinstance(report, dict) or not is_shallow(report):
            raise _Stopped(_NOTHING)
        if "slow" in cast("dict[str, Any]", report):
            raise _Stopped(_STOPPED[Status.TIMEOUT])  # by its CPU time: the same verdict as by the clock on the wall
        return cast("dict[str, Any]", report), result.out


@cache
def _guest() -> str:
    return (Path(__file__).parent / "guest.py").read_text(encoding="utf-8")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _batches(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    batch, size = list[Case](), 0
    for case in cases:
        cost = len(str(case.given)) + len(str(case.expected))
        if batch and (len(batch) >= BATCH or size + cost > BATCH_SIZE):
            yield batch
            batch, size = [], 0
        batch.append(case)
        size += cost
    yield batch


def _claims(report: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    claims = report.get("results")
    if not isinstance(claims, list) or len(cast("list[Any]", claims)) != count:
        raise _Stopped(_NOTHING)
    return [claim if isinstance(claim, dict) else {"e": "Nothing"} for claim in cast("list[Any]", claims)]


def _results(report: Mapping[str, Any], count: int) -> list[Result]:
    return [_result(claim) for claim in _claims(report, count)]


def _result(claim: Mapping[str, Any]) -> Result:
    if "v" in claim and "e" not in claim:
        return Result(claim["v"])
    line = claim.get("l")
    return Result(None, str(claim.get("e"))[:60], str(claim.get("m", ""))[:300], line if isinstance(line, int) else 0)


def _tried(problem: Problem, case: Case, result: Result) -> Tried:
    if result.error:
        return Tried(case, result, False)
    if problem.kind == "programs":
        return Tried(case, result, isinstance(result.value, str) and same_output(result.value, case.expected))
    return Tried(case, result, same(result.value, case.expected, tuples=problem.tuples))


def _noted(index: int, passed: bool) -> Tried:
    return Tried(Case(None, None, f"check {index + 1}"), Result(), passed)
