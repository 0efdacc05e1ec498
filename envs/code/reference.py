"""Runs the steps of programs of ours right here, without compiling each of them.

Steps that differ in numbers and texts alone share one code object, in which these are global names: compiling is what costs most
of drawing a program, and there are few hundred such shapes.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from turnwise.envs.code.step import IN, OUT, Step

__all__ = ["function_of"]

_LITERAL = re.compile(r"'[^'\n]*'|(?<![\w.])[0-9]+")


def function_of(steps: Sequence[Step], known: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """The function that takes these steps, one on the result of the other; `known` functions may be called in them."""
    functions = [_function(step.code, known) for step in steps]

    def composed(value: Any) -> Any:
        for function in functions:
            value = function(value)
        return value

    return composed


def _function(code: str, known: Mapping[str, Any]) -> Callable[[Any], Any]:
    names: dict[str, Any] = {**known, "__builtins__": builtins}

    def hoisted(literal: re.Match[str]) -> str:
        name, text = f"K{len(names)}_", literal[0]
        names[name] = text[1:-1] if text[0] == "'" else int(text)
        return name

    return FunctionType(_shape(_LITERAL.sub(hoisted, code)), names)


@lru_cache(maxsize=4096)
def _shape(code: str) -> CodeType:
    body = "\n".join(f"    {line}" for line in code.split("\n"))
    names: dict[str, Any] = {}
    exec(compile(f"def step({IN}):\n{body}\n    return {OUT}\n", "<step>", "exec"), names)
    return names["step"].__code__
