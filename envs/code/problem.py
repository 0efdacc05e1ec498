"""A programming problem: what is asked for, and the tests that decide; a plain record that a Task carries as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Case", "Problem"]

Kind = Literal["calls", "programs", "checks"]


@dataclass(frozen=True, slots=True)
class Case:
    """One test."""

    given: Any
    """"calls": the encoded arguments; "programs": the text of the standard input."""
    expected: Any
    """The encoded result, or the text of the standard output."""
    label: str = "hidden"
    """What kind of input it is, in words that may be shown."""


@dataclass(frozen=True, slots=True)
class Problem:
    """How a submission is tried. `examples` are shown to the agent, `tests` never are."""

    kind: Kind
    """"calls": call a function, compare results; "programs": run with an input, compare outputs; "checks": somebody's asserts."""
    name: str
    """The function asked for; "" for a program."""
    examples: tuple[Case, ...] = ()
    tests: tuple[Case, ...] = ()
    floor: float = 0.0
    """The share of `tests` that can be passed without any understanding."""
    solution: str = ""
    """Source that passes; "" where it is not known."""
    given: str = ""
    """Code that stands before the submission (imports, functions that may be used)."""
    setup: str = ""
    """"checks": what stands before the asserts (imports, given functions)."""
    check: str = ""
    """"checks": the asserts."""
    entry: bool = False
    """"checks": whether the asserts stand in a function `check(candidate)`."""
    names: tuple[str, ...] = ()
    """"checks": the functions of the submission that the asserts call."""
    calls: tuple[Any, ...] = ()
    """"checks": calls [name, arguments, keywords] that the asserts make, as far as they are known beforehand."""
    tuples: bool = True
    """Whether a tuple is something else than a list."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Problem:
        return self  # frozen: forks share it

    def as_json(self) -> dict[str, Any]:
        """For a Task's metadata."""
        record = {name: getattr(self, name) for name in self.__slots__}
        for key in ("examples", "tests"):
            record[key] = [[case.given, case.expected, case.label] for case in record[key]]
        return record | {"names": list(self.names), "calls": list(self.calls)}

    @classmethod
    def of_json(cls, record: Mapping[str, Any]) -> Problem:
        fields: dict[str, Any] = dict(record)
        for key in ("examples", "tests"):
            fields[key] = tuple(Case(*case) for case in record[key])
        for key in ("names", "calls"):
            fields[key] = tuple(record[key])
        return cls(**fields)
