"""What an agent is told about an attempt: enough to mend it, too little to copy the hidden tests."""

from __future__ import annotations

import builtins
from collections.abc import Iterable

from turnwise.envs.code.judge import Result, Tried, Verdict
from turnwise.envs.code.plain import show
from turnwise.envs.code.problem import Problem

__all__ = ["error_text", "feedback"]

_PRINTED = 400
_ERRORS = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
)


def feedback(problem: Problem, verdict: Verdict) -> str:
    """The text for an attempt that did not solve the problem.

    Of the examples everything is said. Of hidden tests only how many of which kind failed, and the names of built-in exceptions:
    neither their inputs nor the right answers, whatever the submission puts into its messages.
    """
    if verdict.stopped:
        return f"The code was stopped: {verdict.stopped}."
    if verdict.broken is not None:
        return f"The code could not be run: {error_text(verdict.broken)}."
    lines = list[str]()
    if verdict.examples:
        lines.append(f"Examples: {_count(verdict.examples)}.")
        lines += [f"  {_example(problem, tried)}" for tried in verdict.examples if not tried.passed]
        if lines[1:] and verdict.printed.strip():
            lines.append(f"  printed: {verdict.printed.strip()[:_PRINTED]}")
    lines.append(f"Hidden {'checks' if problem.kind == 'checks' else 'tests'}: {_count(verdict.tests)}.")
    failed = [tried for tried in verdict.tests if not tried.passed]
    labels = dict.fromkeys(tried.case.label for tried in failed)
    if problem.kind != "checks" and labels:
        lines.append("  failed: " + ", ".join(_kind(label, [t for t in failed if t.case.label == label]) for label in labels))
    return "\n".join(lines)


def _count(tried: Iterable[Tried]) -> str:
    results = [t.passed for t in tried]
    return f"{sum(results)} of {len(results)} passed"


def _example(problem: Problem, tried: Tried) -> str:
    if problem.kind == "programs":
        got = f"it printed {show(tried.result.value)}" if not tried.result.error else f"it raised {error_text(tried.result)}"
        return f"input {show(tried.case.given)}: {got}, expected {show(tried.case.expected)}"
    call = f"{problem.name}({', '.join(show(argument) for argument in tried.case.given)})"
    if tried.result.error:
        return f"{call} raised {error_text(tried.result)}; expected {show(tried.case.expected)}"
    return f"{call} returned {show(tried.result.value)}, expected {show(tried.case.expected)}"


def error_text(result: Result) -> str:
    """An exception in one line."""
    line = f" (line {result.line} of your code)" if result.line else ""
    return f"{result.error}{': ' if result.message else ''}{result.message}{line}"


def _kind(label: str, failed: list[Tried]) -> str:
    errors = sorted({tried.result.error for tried in failed if tried.result.error in _ERRORS})
    count = f" ({len(failed)} of them)" if len(failed) > 1 else ""
    raised = f" [{', '.join(errors)}]" if errors else ""
    return f"{label}{count}{raised}"
