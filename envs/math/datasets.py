"""Published sets of mathematical questions, read from the user's own files in the formats in which they are published.

    GSM8K      {"question": ..., "answer": "... #### 42"}
    MATH       {"problem": ..., "level": "Level 3", "type": ..., "solution": "... \\\\boxed{...} ..."}
    MATH-500   {"problem": ..., "solution": ..., "answer": ..., "subject": ..., "level": 3, "unique_id": ...}
    AIME       {"problem": ..., "answer": "204"}, {"ID": "2024-I-4", "Problem": ..., "Answer": 204},
               {"question": ..., "answer": "204"}

A path is a JSON-lines file, a JSON file with one question or a list of them, or a folder of such files. A question belongs to the
split that its own "split" says, else to the one that its file or folder is named after (train, test), else to one by a hash of
the question. Its level, 1 to 6: MATH's own; for GSM8K the steps of its solution less one; for AIME by the problem's number.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from turnwise.envs.core import Split, split_of
from turnwise.envs.math.answer_text import last_box
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

__all__ = ["DataSplit", "load_questions"]

DataSplit = Literal["auto", "hash", "train", "test"]
LEVELS = range(1, 7)
_FINAL = re.compile(r"####\s*([^\n]+)")
_AIME = re.compile(r"(?:aime|\b20[0-9]{2}\b|\b19[0-9]{2}\b).*?\b([0-9]{1,2})$", re.IGNORECASE)


def load_questions(path: str | Path, *, split: DataSplit = "auto", name: str | None = None) -> list[Task]:
    """Every question of a file or folder as a Task, in order; one that occurs twice is taken once.

    split: "auto" as the module says, "hash" by the question alone, "train" or "test" puts all of them there.
    name: goes into the ids; the file's or folder's name without its ending by default.
    Raises ConfigError with file and line for what cannot be read.
    """
    if split not in ("auto", "hash", "train", "test"):
        raise UnknownName("split of a data set", str(split), ("auto", "hash", "train", "test"))
    root = Path(path).expanduser()
    if not root.exists():
        raise ConfigError(f"{root}: expected a JSON-lines file or a folder of JSON files; there is nothing.")
    files = sorted(f for f in root.rglob("*.json*") if f.is_file()) if root.is_dir() else [root]
    tasks = dict[str, Task]()
    for file in files:
        for where, row in _rows(file):
            task = _task(where, row, name or root.stem, _split_of_row(where, row, file, root, split))
            tasks.setdefault(task.prompt, task)
    if not tasks:
        raise ConfigError(f"{root}: expected questions; there are none.")
    return list(tasks.values())


def _rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where it stands, record) of a file."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: expected UTF-8 text, got byte {error.object[error.start]:#04x} at {error.start}.") from error
    if file.suffix == ".json":
        found = _json(str(file), text)
        for index, row in enumerate(cast("list[Any]", found) if isinstance(found, list) else [found]):
            yield (f"{file}: question {index + 1}" if isinstance(found, list) else str(file)), _record(str(file), row)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{file}:{number}"
            yield where, _record(where, _json(where, line))


def _json(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: expected JSON: {str(error)[:120]}.") from error


def _record(where: str, row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: expected a JSON object, got {type(row).__name__}.")
    return {str(key).casefold(): value for key, value in cast("dict[Any, Any]", row).items()}


def _split_of_row(where: str, row: Mapping[str, Any], file: Path, root: Path, split: DataSplit) -> Split | None:
    if split in ("train", "test"):
        return split
    if split == "hash":
        return None
    said = row.get("split")
    if said is not None:
        if said not in ("train", "test"):
            raise ConfigError(f"{where}: split: expected 'train' or 'test', got {said!r}; or load with split='hash'.")
        return said
    parts = [*file.relative_to(root).parts] if root.is_dir() else []
    words = set(re.split(r"[^a-z0-9]+", "/".join([*parts, root.name]).casefold()))
    named: list[Split] = [s for s in ("train", "test") if s in words]
    return named[0] if len(named) == 1 else None


def _task(where: str, row: Mapping[str, Any], name: str, split: Split | None) -> Task:
    question = row.get("question", row.get("problem"))
    if not isinstance(question, str) or not question.strip():
        raise ConfigError(f"{where}: expected a 'question' or a 'problem' with text, got the keys {', '.join(row) or 'none'}.")
    answer = _answer(where, row)
    sha = hashlib.blake2b(f"{question.strip()}\n{answer}".encode("utf-8", "replace"), digest_size=8).hexdigest()
    task_id, salt = f"{name}/{sha}", 0
    while split is not None and split_of(task_id) != split:
        salt += 1
        task_id = f"{name}/{sha}.{salt}"  # the id decides the split
    about = {key: str(row[key]) for key in ("id", "unique_id", "type", "subject", "level") if row.get(key) is not None}
    return Task(task_id, question.strip(), answer, _level(where, row), {"data": about})


def _answer(where: str, row: Mapping[str, Any]) -> str:
    given, solution = row.get("answer"), row.get("solution")
    if isinstance(given, int | float) and not isinstance(given, bool):
        return str(given)
    if isinstance(given, str) and given.strip():
        final = _FINAL.findall(given)
        answer = final[-1] if final else (last_box(given) or given)
    elif isinstance(solution, str):
        answer = last_box(solution) or ""
        if not answer:
            raise ConfigError(f"{where}: expected a \\boxed{{...}} in the solution, or an 'answer'.")
    else:
        raise ConfigError(f"{where}: expected an 'answer' or a 'solution' with text, got the keys {', '.join(row)}.")
    return answer.strip()


def _level(where: str, row: Mapping[str, Any]) -> int:
    level = row.get("level")
    if level is not None:
        digits = re.fullmatch(r"(?:Level )?([0-9]+|\?)", str(level))
        if digits is None:
            raise ConfigError(f"{where}: level: expected a number or 'Level 3', got {level!r}.")
        return _clipped(int(digits[1])) if digits[1] != "?" else LEVELS[-1]
    answer = row.get("answer")
    if isinstance(answer, str) and _FINAL.search(answer):
        return _clipped(len([line for line in answer.split("####")[0].split("\n") if line.strip()]) - 1)
    number = _AIME.search(str(row.get("id", "")))
    return _clipped((int(number[1]) + 2) // 3) if number else 1


def _clipped(level: int) -> int:
    return min(max(level, LEVELS[0]), LEVELS[-1])
