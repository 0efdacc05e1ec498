"""How a reply names tool calls and a final answer: one small class per call syntax.

The environment parses replies with a format, describes it in the first observation, and its expert writes in it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pydantic_core import from_json

from turnwise.errors import UnknownName

__all__ = ["FORMATS", "ActionFormat", "Hermes", "Parsed", "ToolCall", "final_answer", "format_named"]

MAX_CALLS = 8


class ToolCall(NamedTuple):
    """One request to run a tool."""

    name: str
    arguments: Mapping[str, Any]


class Parsed(NamedTuple):
    """What a reply says: tool calls, or an answer, or an error for the model to read. Exactly one of the three is set."""

    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    error: str = ""


class ActionFormat(Protocol):
    """Reads and writes one call syntax."""

    def parse(self, reply: str) -> Parsed: ...
    def call(self, name: str, arguments: Mapping[str, Any]) -> str: ...
    def final(self, answer: str) -> str: ...
    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str: ...


def final_answer(reply: str) -> str | None:
    """The text of the last `<answer>...</answer>` of a reply, stripped; None if there is none."""
    start = reply.rfind("<answer>")
    end = reply.find("</answer>", start)
    return reply[start + 8 : end].strip() if 0 <= start < end else None


class Hermes:
    """The JSON tags of Hermes and Qwen: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` and `<answer>...</answer>`."""

    def parse(self, reply: str) -> Parsed:
        """Calls or an answer. Both, neither, or broken JSON is an error that says how to do it right."""
        _, *blocks = reply.split("<tool_call>")
        if not blocks:
            answer = final_answer(reply)
            if answer is None:
                return Parsed(error="Neither a tool call nor an <answer>...</answer> was found in the reply.")
            return Parsed(answer=answer)
        if "<answer>" in blocks[-1].rpartition("</tool_call>")[2]:
            return Parsed(error="The reply holds a tool call and an answer; give one or the other.")
        if len(blocks) > MAX_CALLS:
            return Parsed(error=f"At most {MAX_CALLS} tool calls are allowed in one reply, got {len(blocks)}.")
        calls: list[ToolCall] = []
        for block in blocks:
            body, closed, _ = block.partition("</tool_call>")
            call = _load_call(body) if closed else "<tool_call> is not closed by </tool_call>."
            if isinstance(call, str):
                return Parsed(error=call)
            calls.append(call)
        return Parsed(calls=tuple(calls))

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        body = json.dumps({"name": name, "arguments": dict(arguments)}, ensure_ascii=False)
        return f"<tool_call>{body}</tool_call>"

    def final(self, answer: str) -> str:
        return f"<answer>{answer}</answer>"

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """The paragraph about tools and the answer for the first observation."""
        if not tools:
            return "When you know the answer, reply <answer>...</answer>."
        specs = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        return (
            f"You can call these tools:\n{specs}\n"
            'Call one by replying <tool_call>{"name": "...", "arguments": {...}}</tool_call>; '
            "its result is the next message. When you know the answer, reply <answer>...</answer>."
        )


def _load_call(body: str) -> ToolCall | str:
    try:
        data = _load(body)
    except (ValueError, RecursionError) as error:
        return f"The tool call is not valid JSON: {str(error)[:100]}."
    if isinstance(data, dict):
        name, arguments = data.get("name"), data.get("arguments", {})
        if isinstance(name, str) and isinstance(arguments, dict):
            return ToolCall(name, arguments)
    return 'A tool call is a JSON object {"name": "...", "arguments": {...}}.'


def _load(body: str) -> Any:
    try:
        return from_json(body)  # four times as quick as json, which also reads lone surrogates and deeper nesting
    except (ValueError, TypeError):
        return json.loads(body)


FORMATS: dict[str, type[ActionFormat]] = {"hermes": Hermes}


def format_named(name: str) -> ActionFormat:
    """The format of that name; raises UnknownName."""
    if name not in FORMATS:
        raise UnknownName("action format", name, FORMATS)
    return FORMATS[name]()
