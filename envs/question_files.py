"""Questions in a user's own files: records of JSON and JSON-lines files, the split each belongs to, and a draw among them.

A path is a JSON-lines file, a JSON file with one record or a list of them, or a folder of such files. A question belongs to the
split that its own "split" says, else to the one that its file or folder is named after (train, test), else to one by a hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from typing_extensions import override

from turnwise.envs.core import Split, split_of
from turnwise.envs.tool_env import ToolEnv
from turnwise.errors import ConfigError, UnknownName
from turnwise.types import Task

__all__ = [
    "DataSplit",
    "FileQuestions",
    "Questions",
    "checked_data_split",
    "id_in_split",
    "named_split",
    "question_files",
    "records_of",
    "stamp_of",
]

DataSplit = Literal["auto", "hash", "train", "test"]
"""Which split the questions of a file go to: "auto" as the module says, "hash" by the question alone, or all to one."""


def checked_data_split(split: str) -> DataSplit:
    """The split, or UnknownName."""
    if split not in ("auto", "hash", "train", "test"):
        raise UnknownName("split of a data set", split, ("auto", "hash", "train", "test"))
    return split


def question_files(path: str | Path) -> tuple[Path, list[Path]]:
    """(the path, its files in order); ConfigError if there is nothing."""
    root = Path(path).expanduser()
    if not root.exists():
        raise ConfigError(f"{root}: expected a JSON-lines file or a folder of JSON files; there is nothing.")
    return root, sorted(f for f in root.rglob("*.json*") if f.is_file()) if root.is_dir() else [root]


def records_of(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where it stands, record with its keys in lower case) of a file; ConfigError for what is no JSON object."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: expected UTF-8 text, got byte {error.object[error.start]:#04x} at {error.start}.") from error
    if file.suffix == ".json":
        found = _json(str(file), text)
        for index, row in enumerate(cast("list[Any]", found) if isinstance(found, list) else [found]):
            where = f"{file}: question {index + 1}" if isinstance(found, list) else str(file)
            yield where, _record(where, row)
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


def named_split(where: str, row: Mapping[str, Any], file: Path, root: Path, split: DataSplit) -> Split | None:
    """The split that a record belongs to by its own word, or by its file's or folder's name; None for one by a hash."""
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


def id_in_split(name: str, content: str, split: Split | None) -> str:
    """An id made of a name and a hash of the content, which falls into the split (any if None)."""
    sha = hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=8).hexdigest()
    task_id, salt = f"{name}/{sha}", 0
    while split is not None and split_of(task_id) != split:
        salt += 1
        task_id = f"{name}/{sha}.{salt}"
    return task_id


def stamp_of(path: str | Path) -> tuple[int, ...]:
    """What differs after a file or folder was changed, and in another process: a key for what is read once and then shared."""
    root = Path(path).expanduser()
    files = [root, *sorted(root.rglob("*"))] if root.exists() else []
    return (os.getpid(), *(number for file in files for number in (file.stat().st_mtime_ns, file.stat().st_size)))


class Questions:
    """The questions of a file or folder. Forks share them."""

    def __init__(self, path: str | Path, tasks: Sequence[Task]) -> None:
        self.path = str(path)
        self._all = tuple(tasks)
        self._found: dict[tuple[Split, int | None], Sequence[Task]] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> Questions:
        return self

    def draw(self, rng: np.random.Generator, split: Split, level: int | None) -> Task:
        """One of the questions of that split, of that level or of any. Raises ConfigError where there are none."""
        found = self._found.get((split, level))
        if found is None:
            found = [t for t in self._all if split_of(t.id) == split and level in (None, t.difficulty)]
            self._found[split, level] = found
        if not found:
            of_level = "" if level is None else f" of level {level}"
            raise ConfigError(
                f"{self.path}: no {split} question{of_level} among its {len(self._all)}; "
                f"put all of them there with data_split={split!r}, or ask for another split or level."
            )
        return found[int(rng.integers(len(found)))]


class FileQuestions(ToolEnv):
    """A ToolEnv that asks what stands in `questions`, if there are any, instead of generating tasks."""

    questions: Questions | None = None
    level_of_data: int | None = None
    """The level that was asked for in the constructor; questions of a file come from all levels where none was."""

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        if self.questions is None:
            return super().sample_task(rng, split, difficulty)
        return self.questions.draw(rng, split, self.level_of_data)

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Questions of a file come from all levels, unless one is asked for here or was in the constructor."""
        asked, before = (options or {}).get("difficulty"), self.level_of_data
        self.level_of_data = before if asked is None else asked
        try:
            return super().reset(seed=seed, options=options)
        finally:
            self.level_of_data = before
