"""Functions as tools: a model calls them by name, with JSON arguments that are checked before the function runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pydantic_core import PydanticSerializationError, to_json

from turnwise.envs.tool_schema import arguments_of, read_docstring
from turnwise.errors import ConfigError
from turnwise.tool_servers.sandbox.blocking import wait_for

__all__ = ["ArgumentReader", "Tool", "ToolSet", "as_text", "tool"]


class ArgumentReader(Protocol):
    """Knows a tool's arguments; `turnwise.envs.tool_schema.Arguments` for functions."""

    @property
    def schema(self) -> Mapping[str, Any]: ...
    def read(self, given: Mapping[str, Any]) -> Mapping[str, Any] | str: ...


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call by name with JSON arguments."""

    name: str
    description: str
    function: Callable[..., Any]
    arguments: ArgumentReader
    method: bool = False
    """Whether the function takes its owner, the environment or the ToolSet, as its first argument, `self`."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """JSON-schema spec: name, description, parameters. The parameters are shared; not to be changed."""
        return {"name": self.name, "description": self.description, "parameters": self.arguments.schema}

    @property
    def waits(self) -> bool:
        """Whether it is an async function, so that a call may take a while."""
        return inspect.iscoroutinefunction(self.function)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tool:
        return self  # frozen: forks share it

    def __call__(self, arguments: Mapping[str, Any], *bound: Any) -> tuple[str, bool]:
        """Run with arguments as a model gave them: (text for the model, whether they were right). `bound` goes first (self)."""
        values = self.arguments.read(arguments)
        if isinstance(values, str):
            return f"Error: {self.name}: {values}", False
        result = self.function(*bound, **values)
        if isinstance(result, str):
            return result, True
        return as_text(wait_for(result) if inspect.iscoroutine(result) else result), True


class ToolSet:
    """Tools with a state of their own, for any ToolEnv: `@tool` methods whose `self` is the set.

    The environment restarts its sets when an episode begins, closes them when it closes, and deep-copies them when it forks.
    """

    toolset: ClassVar[Sequence[Tool]] = ()
    waits: ClassVar[bool] = False
    """Whether a call may wait for something outside the process; the environment is then not stepped on an event loop."""

    @property
    def tools(self) -> Sequence[Tool]:
        """What may be called; always the same."""
        return self.toolset

    def restart(self) -> None:
        """A new episode begins: nothing of the last one is left."""

    def close(self) -> None:
        """Give back what it holds. May be called again, and a restart may follow."""


def tool(function: Callable[..., Any], *, name: str = "", description: str = "") -> Tool:
    """Make a tool of a documented, annotated function, sync or async: `@tool def price(drink: str) -> str`.

    The docstring is the description; what it says about parameters (Args:, NumPy's Parameters, :param x:) goes into the schema.
    `self` is not in it. Results that are no text are shown as JSON. Raises ConfigError for what cannot be a schema.
    """
    called = name or getattr(function, "__name__", "") or type(function).__name__
    said = description or _docstring(function)
    if not said:
        raise ConfigError(f"tool {called}: needs a docstring, which the model reads as the tool's description.")
    words, about = read_docstring(said)
    arguments = arguments_of(function, called, about)
    return Tool(called, words, function, arguments, method="self" in inspect.signature(function).parameters)


def _docstring(function: Callable[..., Any]) -> str:
    if inspect.isroutine(function):
        return function.__doc__ or ""
    return type(function).__call__.__doc__ or type(function).__doc__ or ""


def as_text(result: Any) -> str:
    """A tool's result for a model: text as it is, nothing for None, Python's spelling of numbers, JSON for the rest."""
    if isinstance(result, str):
        return result
    if result is None or isinstance(result, int | float):
        return "" if result is None else str(result)
    try:
        return to_json(result).decode()
    except PydanticSerializationError:
        return str(result)
