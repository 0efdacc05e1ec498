"""ToolEnv: an environment whose agent calls tools over several turns and then answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typing_extensions import override

from turnwise.envs.actions import Parsed, format_named
from turnwise.envs.core import Split, Transition, TurnEnv
from turnwise.envs.tools import Tool
from turnwise.types import Task

__all__ = ["ToolEnv"]

MAX_RESULT = 20_000
"""Characters of a tool result that are shown."""


class ToolEnv(TurnEnv):
    """Replies hold tool calls or a final answer in a pluggable format; the answer ends the episode.

    An author gives `toolset`, `grade` and, as for every TurnEnv, `generate` and `expert_action`; `question` if the prompt is
    not enough.
    Tools are module-level `@tool` functions or `@tool` methods (their `self` is the environment). A tool that cannot do what was
    asked returns a text that says so; one whose world is broken raises EnvFailure.
    """

    toolset: ClassVar[Sequence[Tool]] = ()

    def __init__(
        self,
        *,
        split: Split = "train",
        difficulty: int | None = None,
        max_turns: int | None = None,
        render_mode: str | None = None,
        action_format: str = "hermes",
        instructions: bool = True,
    ) -> None:
        """`instructions=False` leaves tools and format out of the first observation (for models that know them)."""
        super().__init__(split=split, difficulty=difficulty, max_turns=max_turns, render_mode=render_mode)
        self.format = format_named(action_format)
        self.instructions = instructions
        self._tools = {tool.name: tool for tool in self.toolset}
        self._transcript: list[str] = []

    @abstractmethod
    def grade(self, answer: str) -> float:
        """How right a final answer is, in [0, 1]; 1 is solved."""

    def question(self, task: Task) -> str:
        """The task as the first observation puts it, before the instructions."""
        return task.prompt

    @property
    @override
    def tools(self) -> Sequence[Mapping[str, Any]]:
        return [tool.spec for tool in self.toolset]

    @override
    def begin(self, task: Task) -> str:
        question = self.question(task)
        self._transcript = [question]
        return f"{question}\n\n{self.format.describe(self.tools)}" if self.instructions else question

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
        results: list[str] = []
        valid = True
        for call in parsed.calls:
            tool = self._tools.get(call.name)
            if tool is None:
                result, right = f"Error: there is no tool {call.name[:50]!r}; there are: {', '.join(self._tools)}.", False
            else:
                result, right = tool(call.arguments, *((self,) if tool.method else ()))
            results.append(_shown(result))
            valid = valid and right
        return Transition("\n".join(results), role="tool", valid=valid)

    @override
    def render(self) -> str:
        """The conversation so far."""
        return "\n".join(self._transcript)


def _shown(result: str) -> str:
    """A tool result as an observation: bounded, never empty, and text that can be encoded (no lone surrogates)."""
    if not result:
        return "(no output)"
    text = result if len(result) <= MAX_RESULT else result[:MAX_RESULT] + " [cut]"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
