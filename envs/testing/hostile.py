"""Replies that break careless parsers: a list for fuzzing any environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from turnwise.envs.core import MAX_ACTION, TurnEnv
from turnwise.envs.tool_env import ToolEnv

__all__ = ["PAYLOADS", "hostile_actions"]

_DEEP = 20_000
PAYLOADS: tuple[str, ...] = (
    "",
    " ",
    "\n\n\t",
    "\x00",
    "a\x00b",
    "".join(chr(c) for c in range(32)),
    "\x1b[2J\x1b[31m",
    "\ud800",
    "\udfff\ud800 reversed surrogates",
    "\\ud800",
    "\u202e\u200b\ufeff\u2028",
    "🙂" * 200,
    "e\u0301\u0327" * 100,
    "٣",
    "１２３",
    "²",
    "½",
    "Ⅻ",
    "-0",
    "1_000",
    "0x10",
    "nan",
    "inf",
    "-Infinity",
    "1e400",
    "1e999999999",
    "10**10**10",
    "9^9^9^9",
    "99999!",
    "1/0",
    "1/2/3",
    "9" * 5_000,
    "9" * 90_000,
    "(" * _DEEP,
    "(" * 500 + "1" + ")" * 500,
    "-" * _DEEP,
    "{" * _DEEP,
    "[" * _DEEP + "]" * _DEEP,
    r"\frac{1}{0}",
    r"\frac{" * 200,
    r"\boxed{",
    "$$$",
    "{}",
    "[]",
    "null",
    '{"name": ',
    '{"name": 1, "arguments": 2}',
    "True and __import__('os').getcwd()",
    "'; DROP TABLE answers; --",
    "../../../../etc/passwd",
    "%s%n%x{0}{1!r}",
    "<answer><answer></answer></answer>",
    "<|im_end|><|endoftext|></s>",
    "\u2066\u202e12\u2069",
    "1\u200b2",
    "\ufdfa" * 20_000,
    "A\u0300" * 30_000,
    "\u0661\u0662\u0663",
    "0." + "0" * 50_000 + "1",
    "1" + "0" * 50_000,
    "1/" + "9" * 4_400,
    "2^{2^{2^{2^{2^2}}}}",
    r"\binom{10^9}{5*10^8}",
    r"\sum_{i=1}^{10^{100}} i",
    r"\begin{pmatrix}" + "1&" * 9_000 + r"\end{pmatrix}",
    "{" + ",".join(map(str, range(9_000))) + "}",
    "(1," * 9_000,
    r"\boxed{" * 5_000,
    '{"a":' * 15_000 + "1" + "}" * 15_000,
    "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
    " UNION ".join(["SELECT 1"] * 8_000),
    "SELECT hex(zeroblob(500000000))",
    "SELECT 1; DROP TABLE answers",
    "raise SystemExit",
    "import os; os._exit(7)",
    "import os; os.kill(os.getppid(), 9)",
    "import os; os.closerange(0, 9)",
    "import sys; sys.stdout = None",
    "class R:\n    def __repr__(self): raise ValueError\nR()",
    "print('\\ud800', '\\x00')",
    "import sys; sys.stdout.buffer.write(b'\\xff' * 999)",
    "${7*7}{{7*7}}",
    "</answer>" * 9_000,
    "<answer>1</answer>" * 5_000,
    '{"name": "a", "name": "b", "arguments": {}, "arguments": {"x": 1, "x": null}}',
    '{"name": "\\ud800", "arguments": {"\\ud800": "\\u0000"}}',
    "\U0001d7d9\u0be7\u3007\u2460",
    "1\x1c2\x852\u20283",
    "[ " * 40_000,
    "1," * 40_000,
)
"""Bare strings; each is also tried as an answer, a tool call, a tool's name and a tool's argument."""

_FRAMES: tuple[str, ...] = (
    "{}",
    "<answer>{}</answer>",
    "<answer>{}",
    "</answer>{}<answer>",
    "<tool_call>{}</tool_call>",
    "<tool_call>{}",
    '<tool_call>{{"name": {}, "arguments": {{}}}}</tool_call>',
    "<answer>1</answer><tool_call>{}</tool_call><answer>2</answer>",
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    [],
    [[[]]],
    {},
    {"a": {"b": [1]}},
    10**4000,
    1e308,
    ["x"] * 5_000,
    {f"key {i}": i for i in range(1_000)},
)


def hostile_actions(env: TurnEnv) -> Iterator[str]:
    """All payloads in all frames, 1 MB of text, and every tool of `env` with every wrong kind of argument."""
    yield "x" * 1_000_000
    yield "x" * MAX_ACTION
    yield "<answer>" * (MAX_ACTION // 8)
    yield "<tool_call>" * (MAX_ACTION // 11)
    yield "<tool_call>{}</tool_call>" * 100
    for payload in PAYLOADS:
        for frame in _FRAMES:
            yield frame.format(payload)
    if isinstance(env, ToolEnv):
        yield from _tool_calls(env)


def _tool_calls(env: ToolEnv) -> Iterator[str]:
    call = env.format.call
    for payload in PAYLOADS:
        yield call(payload, {})
    for spec in env.tools:
        name: str = spec["name"]
        parameters: Mapping[str, Any] = spec["parameters"]["properties"]
        yield call(name, {})
        yield call(name, {"no_such_argument": 1})
        yield call(name, {f"argument {i}": i for i in range(1000)})
        for value in (*PAYLOADS, *_VALUES):
            yield call(name, dict.fromkeys(parameters, value))
