"""ToolEnv: an environment whose agent calls tools over several turns and then answers."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

from typing_extensions import override

from turnwise.envs.actions import Parsed, ToolCall, format_named
from turnwise.envs.core import Split, Transition, TurnEnv
from turnwise.envs.tools import Tool, ToolSet, tool
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["ToolEnv"]

MAX_RESULT = 20_000
"""Characters of a tool result that are shown."""


class ToolEnv(TurnEnv):
    """Replies hold tool calls or a final answer in a pluggable format; the answer ends the episode.

    An author gives `toolset`, `grade` and, as for every TurnEnv, `generate` and `expert_action`; `question` if the prompt is
    not enough, `rules` if tools and format are not what is to be explained after it.
    Tools are module-level `@tool` functions or `@tool` methods (their `self` is the environment). A tool that cannot do what was
    asked returns a text that says so; one whose world is broken raises EnvFailure.
    """

    toolset: ClassVar[Sequence[Tool]] = ()
    takes_answer: ClassVar[bool] = True
    """Whether there is a final answer; without one, the tools alone end the episode."""

    def __init__(
        self,
        *,
        split: Split = "train",
        difficulty: int | None = None,
        max_turns: int | None = None,
        render_mode: str | None = None,
        action_format: str = "hermes",
        instructions: bool = True,
        toolset: Sequence[Tool | ToolSet | Callable[..., Any]] = (),
    ) -> None:
        """`instructions=False` leaves tools and format out of the first observation (for models that know them).

        `toolset`: more tools, of this instance alone: tools, annotated functions, or sets such as an MCP server. Subclasses take
        all of this as `**options: Unpack[ToolOptions]` (`turnwise.envs.options`).
        """
        super().__init__(split=split, difficulty=difficulty, max_turns=max_turns, render_mode=render_mode)
        self.format = format_named(action_format)
        self.instructions = instructions
        self._sets = tuple(copy.deepcopy(given) for given in toolset if isinstance(given, ToolSet))  # one's own state
        self._added = tuple(
            given if isinstance(given, Tool) else tool(given) for given in toolset if not isinstance(given, ToolSet)
        )
        self._found: dict[str, tuple[Tool, int]] = {}
        self._rules = ""
        self._transcript: list[str] = []
        if any(given.waits for given in (*self.toolset, *self._added, *self._sets)):
            self.metadata = {**self.metadata, "inline": False}

    @abstractmethod
    def grade(self, answer: str) -> float:
        """How right a final answer is, in [0, 1]; 1 is solved."""

    def question(self, task: Task) -> str:
        """The task as the first observation puts it, before the instructions."""
        return task.prompt

    def rules(self) -> str:
        """How to reply, as the first observation puts it after the question; the same in every episode."""
        return self.format.describe(self.tools)

    @property
    @override
    def tools(self) -> Sequence[Mapping[str, Any]]:
        return [tool.spec for tool, _ in self._by_name().values()]

    def _by_name(self) -> Mapping[str, tuple[Tool, int]]:
        """Tool and the index of the set it belongs to, -1 for our own. Found at first use, which may start a server."""
        if not self._found:
            own = [(tool, -1) for tool in (*self.toolset, *self._added)]
            named: dict[str, tuple[Tool, int]] = {}
            for tool, owner in [*own, *((tool, at) for at, tools in enumerate(self._sets) for tool in tools.tools)]:
                if tool.name in named:
                    raise ConfigError(f"{type(self).__name__}: two tools are called {tool.name!r}; rename or leave out one.")
                named[tool.name] = (tool, owner)
            self._found = named
        return self._found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_found": {}}  # functions that became tools have no name of their own to be pickled by

    @override
    def fork(self) -> Self:
        twin = super().fork()
        twin._found = self._found
        return twin

    @override
    def begin(self, task: Task) -> str:
        for tools in self._sets:
            tools.restart()
        question = self.question(task)
        self._transcript = [question]
        if not self.instructions:
            return question
        self._rules = self._rules or self.rules()
        return f"{question}\n\n{self._rules}"

    @override
    def play(self, action: str) -> Transition:
        parsed = self.format.parse(action)
        transition = self._answer(parsed.answer) if parsed.answer is not None else self._use_tools(parsed)
        self._transcript += [f"> {action}", transition.observation]
        return transition

    def _answer(self, answer: str) -> Transition:
        score = self.grade(answer)
        text = "Correct." if score >= 1.0 else "That is not the right answer."
        return Transition(text, score, terminated=True, outcome=score, terms={"answer": score})

    def _use_tools(self, parsed: Parsed) -> Transition:
        if parsed.error:
            return self.refuse(parsed.error)
        results, valid = list[str](), True
        for call in parsed.calls:
            result, right = self._use(call)
            results.append(_shown(result))
            valid = valid and right
        return Transition("\n".join(results), role="tool", valid=valid)

    def _use(self, call: ToolCall) -> tuple[str, bool]:
        named = self._by_name()
        if call.name not in named:
            there = f"there are: {', '.join(named)}" if named else "there are none"
            return f"Error: there is no tool {call.name[:50]!r}; {there}.", False
        tool, owner = named[call.name]
        return tool(call.arguments, *((self if owner < 0 else self._sets[owner],) if tool.method else ()))

    @override
    def close(self) -> None:
        for tools in self._sets:
            tools.close()
        super().close()

    @override
    def render(self) -> str:
        """The conversation so far."""
        return "\n".join(self._transcript)

    def _share(self, option: str, value: float) -> float:
        """An option that is a share. Raises ConfigError unless it is from 0 to 1."""
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"{type(self).__name__}: {option} must be from 0 to 1, got {value}.")
        return float(value)


def _shown(result: str) -> str:
    """A tool result as an observation: bounded, never empty, and text that can be encoded (no lone surrogates)."""
    if not result:
        return "(no output)"
    text = result if len(result) <= MAX_RESULT else result[:MAX_RESULT] + " [cut]"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
