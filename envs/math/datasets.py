"""Published sets of mathematical questions, read from the user's own files in the formats in which they are published.

    GSM8K      {"question": ..., "answer": "... #### 42"}
    MATH       {"problem": ..., "level": "Level 3", "type": ..., "solution": "... \\\\boxed{...} ..."}
    MATH-500   {"problem": ..., "solution": ..., "answer": ..., "subject": ..., "level": 3, "unique_id": ...}
    AIME       {"problem": ..., "answer": "204"}, {"ID": "2024-I-4", "Problem": ..., "Answer": 204},
               {"question": ..., "answer": "204"}

Files, folders and splits are as in `turnwise.envs.question_files`. The level of a question, 1 to 6: MATH's own; for GSM8K the
steps of its solution less one; for AIME by the problem's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnwise.envs.core import Split
from turnwise.envs.math.answer_text import last_box
from turnwise.envs.question_files import DataSplit, checked_data_split, id_in_split, named_split, question_files, records_of
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["DataSplit", "load_questions"]

LEVELS = range(1, 7)
_FINAL = re.compile(r"####\s*([^\n]+)")
_AIME = re.compile(r"(?:aime|\b20[0-9]{2}\b|\b19[0-9]{2}\b).*?\b([0-9]{1,2})$", re.IGNORECASE)


def load_questions(path: str | Path, *, split: DataSplit = "auto", name: str | None = None) -> list[Task]:
    """Every question of a file or folder as a Task, in order; one that occurs twice is taken once.

    split: "auto" as the module says, "hash" by the question alone, "train" or "test" puts all of them there.
    name: goes into the ids; the file's or folder's name without its ending by default.
    Raises ConfigError with file and line for what cannot be read.
    """
    checked_data_split(split)
    root, files = question_files(path)
    tasks = dict[str, Task]()
    for file in files:
        for where, row in records_of(file):
            task = _task(where, row, name or root.stem, named_split(where, row, file, root, split))
            tasks.setdefault(task.prompt, task)
    if not tasks:
        raise ConfigError(f"{root}: expected questions; there are none.")
    return list(tasks.values())


def _task(where: str, row: Mapping[str, Any], name: str, split: Split | None) -> Task:
    question = row.get("question", row.get("problem"))
    if not isinstance(question, str) or not question.strip():
        raise ConfigError(f"{where}: expected a 'question' or a 'problem' with text, got the keys {', '.join(row) or 'none'}.")
    answer = _answer(where, row)
    task_id = id_in_split(name, f"{question.strip()}\n{answer}", split)
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
