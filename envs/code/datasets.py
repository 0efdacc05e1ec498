"""Published sets of programming problems, read from the user's own files in the formats in which they are published.

    HumanEval       {"task_id": "HumanEval/0", "prompt": "def f(...): ...", "entry_point": "f", "canonical_solution": ...,
                     "test": "def check(candidate): assert candidate(1) == 2 ..."}
    MBPP            {"task_id": 1, "text" or "prompt": ..., "code": ..., "test_list": ["assert f(1) == 2", ...],
                     "test_setup_code", "test_imports", "challenge_test_list": ...}
    LiveCodeBench   {"question_content": ..., "starter_code": ..., "difficulty": "easy", "public_test_cases": "[{...}]",
                     "private_test_cases": "[{...}]" or base64 of zlib of a pickled text, "metadata": '{"func_name": ...}'};
                     a test is {"input": ..., "output": ..., "testtype": "stdin" or "functional"}

A path is a file or folder as `turnwise.envs.question_files` has it. Of MBPP's asserts the first is shown, of LiveCodeBench's
tests the public ones. LiveCodeBench says how difficult its problems are (easy 1, medium 3, hard 5); for the others the level
follows from the length of the solution. Problems whose asserts need more than functions of plain data (a class of the solution's,
say) are left out, with a warning.
"""

from __future__ import annotations

import ast
import base64
import builtins
import io
import json
import pickle
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from typing_extensions import override

from turnwise.envs.code.guest import encode
from turnwise.envs.code.problem import Case, Problem
from turnwise.envs.question_files import DataSplit, checked_data_split, id_in_split, named_split, question_files, records_of
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["load_problems"]

LEVELS = {"easy": 1, "medium": 3, "hard": 5}
_UNKNOWN = 0.5
"""The floor of asserts from which nothing can be read."""


class _LeftOut(Exception):
    """A problem that cannot be judged here, and why."""


def load_problems(path: str | Path, *, split: DataSplit = "auto", name: str | None = None) -> list[Task]:
    """Every problem of a file or folder as a Task, in order; one that occurs twice is taken once.

    split and name as in `turnwise.envs.math.datasets.load_questions`. Raises ConfigError with file and line for what cannot be
    read.
    """
    split = checked_data_split(split)
    root, files = question_files(path)
    tasks, left_out = dict[str, Task](), list[str]()
    for file in files:
        for where, row in records_of(file):
            try:
                prompt, problem, level = _problem(where, row)
            except _LeftOut as reason:
                left_out.append(f"{where}: {reason}")
                continue
            problem = replace(problem, floor=min(problem.floor, 0.99))
            content = json.dumps([prompt, problem.as_json()])
            task_id = id_in_split(name or root.stem, content, named_split(where, row, file, root, split))
            about = str(row.get("task_id", row.get("question_id", "")))
            task = Task(task_id, prompt, problem.solution, level, {"problem": problem.as_json(), "data": {"id": about}})
            tasks.setdefault(prompt, task)
    if left_out:
        warnings.warn(f"{root}: {len(left_out)} problems left out, the first is {left_out[0]}", stacklevel=2)
    if not tasks:
        raise ConfigError(f"{root}: expected programming problems that can be judged; there are none.")
    return list(tasks.values())


def _problem(where: str, row: Mapping[str, Any]) -> tuple[str, Problem, int]:
    """(prompt, problem, level) of a record."""
    if "entry_point" in row:
        return _human_eval(where, row)
    if "test_list" in row:
        return _mbpp(where, row)
    if "question_content" in row:
        return _live_code(where, row)
    raise ConfigError(
        f"{where}: expected the keys of HumanEval (prompt, entry_point, test), MBPP (text, code, test_list) or LiveCodeBench "
        f"(question_content, public_test_cases), got {', '.join(row) or 'none'}."
    )


def _text(where: str, row: Mapping[str, Any], *keys: str) -> str:
    """The first of these keys that is there; it has to be a text that is not empty."""
    value = next((row[key] for key in keys if key in row), None)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where}: {' or '.join(keys)}: expected text, got {value!r:.80}.")
    return value


def _tree(where: str, key: str, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{where}: {key}: expected Python code: {error}.") from error


def _level(source: str) -> int:
    return min(max(len([line for line in source.split("\n") if line.strip()]) // 3, 1), 6)


# --- HumanEval ---------------------------------------------------------------------------------------------------------


def _human_eval(where: str, row: Mapping[str, Any]) -> tuple[str, Problem, int]:
    prompt, test, name = (_text(where, row, key) for key in ("prompt", "test", "entry_point"))
    start = re.search(rf"^def {re.escape(name)}\b", prompt, re.MULTILINE)
    if start is None:
        raise ConfigError(f"{where}: prompt: expected the beginning of `def {name}`, the entry_point; there is none.")
    body = str(row.get("canonical_solution", ""))
    given = prompt[: start.start()]
    _tree(where, "prompt", given)
    tree = _tree(where, "test", test)
    if not any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in tree.body):
        raise ConfigError(f"{where}: test: expected a function check(candidate); there is none.")
    problem = Problem(
        "checks",
        name,
        given=given,
        setup=given,
        check=test,
        entry=True,
        names=(name,),
        calls=tuple(_calls(tree, {"candidate": name, name: name})),
        floor=_floor(tree),
        solution=prompt + body if body else "",
    )
    question = f"Complete this Python function; the answer is the whole function.\n\n```python\n{prompt.strip()}\n```"
    return question, problem, _level(body)


# --- MBPP --------------------------------------------------------------------------------------------------------------


def _mbpp(where: str, row: Mapping[str, Any]) -> tuple[str, Problem, int]:
    text, code = _text(where, row, "text", "prompt"), _text(where, row, "code")
    tests = [*_lines(where, row, "test_list"), *_lines(where, row, "challenge_test_list")]
    if not tests:
        raise ConfigError(f"{where}: test_list: expected at least one assert; there is none.")
    setup = "\n".join([*_lines(where, row, "test_imports"), str(row.get("test_setup_code") or "")])
    check = "\n".join(tests)
    tree, before = _tree(where, "test_list", check), _tree(where, "test_setup_code", setup)
    solution = code.replace("\r\n", "\n")
    defined = {node.name for node in _tree(where, "code", solution).body if isinstance(node, ast.FunctionDef)}
    called = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    counts = Counter(name for name in called if name in defined)
    if not counts:
        raise ConfigError(f"{where}: test_list: expected calls of a function that `code` defines; there is none.")
    _known_names(tree, before, counts)
    problem = Problem(
        "checks",
        counts.most_common(1)[0][0],
        setup=setup,
        check=check,
        names=tuple(counts),
        calls=tuple(_calls(tree, {name: name for name in counts})),
        floor=_floor(tree),
        solution=solution,
    )
    return f"{text.strip()}\n\nFor example:\n{tests[0].strip()}", problem, _level(solution)


def _lines(where: str, row: Mapping[str, Any], key: str) -> list[str]:
    value = row.get(key) or []
    if not isinstance(value, list) or not all(isinstance(line, str) for line in cast("list[Any]", value)):
        raise ConfigError(f"{where}: {key}: expected a list of lines of code, got {value!r:.80}.")
    return cast("list[str]", value)


def _known_names(tree: ast.Module, setup: ast.Module, functions: Mapping[str, int]) -> None:
    """Raises _LeftOut for asserts that use what only the solution defines, such as a class."""
    bound = set[str]()
    for node in (*ast.walk(setup), *ast.walk(tree)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in bound and node.id not in functions and not hasattr(builtins, node.id):
            raise _LeftOut(f"its asserts use {node.id!r}, which is no function of plain data")


# --- what asserts call and expect --------------------------------------------------------------------------------------


def _calls(tree: ast.Module, names: Mapping[str, str]) -> Iterator[list[Any]]:
    """[name, arguments, keywords] of calls with literal arguments, encoded as the guest does."""
    seen = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            try:
                arguments = [ast.literal_eval(argument) for argument in node.args]
                keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
                call = [names[node.func.id], encode(arguments), encode(keywords)]
            except ValueError:  # not literal: made when the asserts get there
                continue
            if json.dumps(call) not in seen:
                seen.add(json.dumps(call))
                yield call


def _floor(tree: ast.Module) -> float:
    """The share of the asserts that one constant passes, as far as that can be read from them."""
    asserts = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    found = list[str]()
    for test in asserts:
        match test:
            case ast.Compare(ops=[ast.Eq()], comparators=[right]):
                found.append(ast.dump(right))
            case ast.UnaryOp(op=ast.Not()):
                found.append("False")
            case ast.Call():
                found.append("True")
            case _:
                pass
    return max(Counter(found).values()) / len(asserts) if found and 2 * len(found) > len(asserts) else _UNKNOWN


# --- LiveCodeBench -----------------------------------------------------------------------------------------------------


def _live_code(where: str, row: Mapping[str, Any]) -> tuple[str, Problem, int]:
    question = _text(where, row, "question_content").strip()
    about = _json(where, "metadata", row.get("metadata") or "{}")
    level = LEVELS.get(str(row.get("difficulty", "easy")).casefold())
    if level is None or not isinstance(about, dict):
        raise ConfigError(f"{where}: expected difficulty easy, medium or hard and metadata as an object, got {row!r:.120}.")
    public, hidden = (_live_tests(where, f"{kind}_test_cases", row) for kind in ("public", "private"))
    tests = hidden or public
    if not tests:
        raise ConfigError(f"{where}: private_test_cases: expected tests; there are none.")
    starter = str(row.get("starter_code") or "").strip()
    name = str(cast("dict[str, Any]", about).get("func_name") or "")
    functional = tests[0]["testtype"] == "functional"
    if functional and not name:
        raise ConfigError(f"{where}: metadata: expected func_name, for the tests call a function; there is none.")
    examples = tuple(_live_case(where, test, functional, "example") for test in public)
    cases = tuple(_live_case(where, test, functional, "hidden") for test in tests)
    commonest = max(Counter(json.dumps(case.expected) for case in cases).values()) / len(cases)
    ask = (
        f"Use this beginning:\n```python\n{starter}\n```"
        if functional
        else "Write a whole program: read stdin, print the answer."
    )
    problem = Problem(
        "calls" if functional else "programs", name if functional else "", examples, cases, floor=commonest, tuples=not functional
    )
    return f"{question}\n\n{ask}", problem, level


def _live_tests(where: str, key: str, row: Mapping[str, Any]) -> list[Mapping[str, str]]:
    value = row.get(key) or []
    if isinstance(value, str):
        value = _json(where, key, value if value.lstrip()[:1] == "[" else _unpacked(where, key, value))
    wanted = ("input", "output", "testtype")
    tests: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [None]
    if any(not isinstance(test, dict) or any(not isinstance(test.get(k), str) for k in wanted) for test in tests):
        raise ConfigError(f"{where}: {key}: expected tests with the texts input, output and testtype, got {value!r:.80}.")
    return tests


def _live_case(where: str, test: Mapping[str, str], functional: bool, label: str) -> Case:
    if not functional:
        return Case(test["input"], test["output"], label)
    arguments = [_json(where, "input", line) for line in test["input"].split("\n") if line.strip()]
    return Case([encode(argument) for argument in arguments], encode(_json(where, "output", test["output"])), label)


def _json(where: str, key: str, text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: {key}: expected JSON: {error}.") from error


class _TextOnly(pickle.Unpickler):
    """Reads pickled text; whatever else a pickle may ask for is refused."""

    @override
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"{module_name}.{global_name} is no text")


def _unpacked(where: str, key: str, packed: str) -> str:
    try:
        text = _TextOnly(io.BytesIO(zlib.decompress(base64.b64decode(packed, validate=True)))).load()
    except (ValueError, zlib.error, pickle.UnpicklingError, EOFError, IndexError, KeyError, AttributeError) as error:
        raise ConfigError(f"{where}: {key}: expected JSON, or base64 of zlib of a pickled text: {error}.") from error
    if not isinstance(text, str):
        raise ConfigError(f"{where}: {key}: expected a pickled text, got {type(text).__name__}.")
    return text
