"""A person in the agent's place: what they type becomes an action of the environment."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from turnwise.envs.actions import ActionFormat
from turnwise.envs.core import TurnEnv
from turnwise.envs.tool_env import ToolEnv

__all__ = ["is_open", "spell", "usage"]

_BLOCK = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)


def is_open(typed: str) -> bool:
    """Whether what was typed so far has begun a block with ``` that has not ended, so that more lines belong to it."""
    return typed.count("```") % 2 == 1


def spell(line: str, env: TurnEnv) -> str:
    """The action that a typed line means.

    In a ToolEnv `= 42` is the final answer, where there is one, and `lookup Mira` or `lookup name="Mira"` a tool call, both
    written in the environment's format; a block between two ``` is one argument, as it stands. Everything else, and every line in
    other environments, is the action as it stands.
    """
    if not isinstance(env, ToolEnv):
        return line
    typed = line.strip()
    if typed.startswith("=") and env.takes_answer:
        return env.format.final(typed[1:].strip())
    name, rest = [*typed.split(None, 1), "", ""][:2]
    tool = next((tool for tool in env.tools if tool["name"] == name), None)
    return line if tool is None else _call(env.format, tool, rest.strip())


def usage(env: TurnEnv) -> str:
    """What can be typed, as plain text."""
    rows = [("!", "let the expert play this turn"), ("?", "this help"), (":q", "quit (so does the end of input)")]
    if isinstance(env, ToolEnv):
        rows = [
            *([("= TEXT", "give the final answer")] if env.takes_answer else []),
            *map(_signature, env.tools),
            *((f"{tool['name']} ```", "an argument of several lines, which another ``` ends") for tool in env.tools[:1]),
            *rows,
        ]
    width = max(len(typed) for typed, _ in rows)
    lines = [f"  {typed:{width}}  {meaning}" for typed, meaning in rows]
    return "\n".join([*lines, "  Anything else is sent to the environment as it stands."])


def _signature(tool: Mapping[str, Any]) -> tuple[str, str]:
    parameters: Mapping[str, Any] = tool["parameters"]
    required: Sequence[str] = parameters.get("required", [])
    names = [name.upper() if name in required else f"[{name}=...]" for name in parameters["properties"]]
    return " ".join([str(tool["name"]), *names]), str(tool["description"]).partition("\n")[0]


def _call(format: ActionFormat, tool: Mapping[str, Any], rest: str) -> str:
    properties: Mapping[str, Any] = tool["parameters"]["properties"]
    block = _BLOCK.search(rest)
    words, named = _split(_BLOCK.sub("", rest, count=1).strip(), properties)
    free = [name for name in properties if name not in named]
    if block is not None and free:
        named[free.pop(0)] = block.group(1)
    needed = [name for name in free if name in tool["parameters"].get("required", [])]
    quoted = any(mark in rest for mark in "\"'") and _fit(words[1:], [properties[name] for name in free[1:]])
    if words and (len(free) == 1 or (not quoted and needed == free[:1])):  # takes all the words: no need to quote "Mira Tan"
        words = [" ".join(words)]
    if free and len(words) > len(free) and properties[free[-1]].get("type") == "string":  # the last text takes the rest
        words[len(free) - 1 :] = [" ".join(words[len(free) - 1 :])]
    arguments = dict(zip(free, words, strict=False)) | named
    if len(words) > len(free):  # too many: the environment says so better than we could
        arguments |= {f"argument_{i + 1}": word for i, word in enumerate(words[len(free) :])}
    return format.call(tool["name"], {name: _value(text, properties.get(name, {})) for name, text in arguments.items()})


def _fit(words: Sequence[str], schemas: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each word can be the argument in its place."""
    texts = [
        schema.get("type") == "string" or not isinstance(_value(word, schema), str)
        for word, schema in zip(words, schemas, strict=False)
    ]
    return len(words) <= len(schemas) and all(texts)


def _split(rest: str, properties: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """(words, named) where `key=value` counts as named only if the tool has that key."""
    if len(properties) == 1 and not rest.startswith(('"', "'", *(f"{key}=" for key in properties))):
        return ([rest] if rest else []), {}  # one parameter: the line as it is, apostrophes and all
    try:
        parts = shlex.split(rest)
    except ValueError:  # a quotation mark that is not closed
        parts = rest.split()
    words: list[str] = []
    named: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if equals and key in properties:
            named[key] = value
        else:
            words.append(part)
    return words, named


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    """Text, unless the schema wants something else and the text is that in JSON."""
    if schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
