"""Published sets of questions about documents, read from the user's own files in the formats in which they are published.

    HotpotQA   {"_id": ..., "question": ..., "answer": ..., "level": "hard", "supporting_facts": [[title, 0], ...],
                "context": [[title, [sentence, ...]], ...]}, or both as columns, as on the Hugging Face hub
    MuSiQue    {"id": "3hop1__...", "question": ..., "answer": ..., "answer_aliases": [...], "answerable": true,
                "paragraphs": [{"idx": 0, "title": ..., "paragraph_text": ..., "is_supporting": false}, ...]}
    NQ (open)  {"question": ..., "answer": [...]}, or {"question": ..., "golden_answers": [...]} as for Search-R1
    your own   {"question": ..., "answer": text, number or list, "support": [document id, ...]}

Files, folders and splits are as in `turnwise.envs.question_files`. HotpotQA and MuSiQue bring their documents along (all contexts
of the file together are the corpus, so that there is something to search); NQ and your own need a corpus beside the questions.
Questions of MuSiQue that are marked as not answerable are left out. The level of a question: as many hops as MuSiQue says or
documents support it, HotpotQA's easy, medium and hard 1 to 3, else 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from turnwise.envs.question_files import DataSplit, checked_data_split, id_in_split, named_split, question_files, records_of
from turnwise.errors import ConfigError
from turnwise.tool_servers.search.corpus import Document
from turnwise.types import Task

__all__ = ["QuestionSet", "load_questions"]

MOST_LEVEL = 8
_HOTPOT_LEVELS = {"easy": 1, "medium": 2, "hard": 3}
_NO_ANSWER = "expected an 'answer': a text, a number or a list of texts (or 'golden_answers')"


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """What a file or folder holds."""

    tasks: tuple[Task, ...]
    """Their metadata: "answers" (all that are right), "support" (ids of documents)."""
    documents: tuple[Document, ...]
    """The documents that came along, each once; none for NQ."""


def load_questions(path: str | Path, *, split: DataSplit = "auto", name: str | None = None) -> QuestionSet:
    """Every question of a file or folder, in order; one that occurs twice is taken once.

    name: goes into the ids; the file's or folder's name without its ending by default.
    Raises ConfigError with file and line for what cannot be read.
    """
    checked_data_split(split)
    root, files = question_files(path)
    tasks, documents = dict[str, Task](), dict[str, Document]()
    for file in files:
        for where, row in records_of(file):
            if row.get("answerable", True) is False:
                continue
            brought, support = _documents(where, row)
            documents.update((document.id, document) for document in brought)
            question, answers = _question(where, row), _answers(where, row)
            task_id = id_in_split(name or root.stem, f"{question}\n{answers[0]}", named_split(where, row, file, root, split))
            metadata = {"answers": answers, "support": support}
            tasks.setdefault(question, Task(task_id, question, answers[0], _level(row, support), metadata))
    if not tasks:
        raise ConfigError(f"{root}: expected questions that have an answer; there are none.")
    return QuestionSet(tuple(tasks.values()), tuple(documents.values()))


def _question(where: str, row: Mapping[str, Any]) -> str:
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        raise ConfigError(f"{where}: expected a 'question' with text, got the keys {', '.join(row) or 'none'}.")
    return question.strip()


def _answers(where: str, row: Mapping[str, Any]) -> list[str]:
    """All right answers, the preferred one first."""
    given = row.get("answer", row.get("golden_answers", row.get("answers")))
    listed = cast("list[Any]", given) if isinstance(given, list) else [given]
    aliases = row.get("answer_aliases") or []
    if not isinstance(aliases, list):
        raise ConfigError(f"{where}: answer_aliases: expected a list of texts, got {type(aliases).__name__}.")
    found = list[str]()
    for one in [*listed, *cast("list[Any]", aliases)]:
        if isinstance(one, bool) or not isinstance(one, str | int | float) or not str(one).strip():
            raise ConfigError(f"{where}: {_NO_ANSWER}, got {str(one)[:50]!r} of type {type(one).__name__}.")
        found.append(str(one).strip())
    if not found:
        raise ConfigError(f"{where}: {_NO_ANSWER}, got an empty list.")
    return list(dict.fromkeys(found))


def _documents(where: str, row: Mapping[str, Any]) -> tuple[list[Document], list[str]]:
    """(the documents a record brings along, ids of those that support its answer)."""
    if "paragraphs" in row:
        return _of_musique(where, row["paragraphs"])
    if "context" in row:
        return _of_hotpot(where, row)
    support = row.get("support") or []
    if not isinstance(support, list) or not all(isinstance(one, str) for one in cast("list[Any]", support)):
        raise ConfigError(f"{where}: support: expected a list of document ids, got {str(support)[:100]}.")
    return [], cast("list[str]", support)


def _of_musique(where: str, paragraphs: Any) -> tuple[list[Document], list[str]]:
    documents, support = list[Document](), list[str]()
    for number, one in enumerate(_listed(where, "paragraphs", paragraphs)):
        given: Mapping[str, Any] = cast("Mapping[str, Any]", one) if isinstance(one, dict) else {}
        title, text = given.get("title"), given.get("paragraph_text")
        if not isinstance(title, str) or not isinstance(text, str):
            expected = "expected an object with the texts 'title' and 'paragraph_text'"
            raise ConfigError(f"{where}: paragraphs[{number}]: {expected}, got {str(one)[:80]}.")
        documents.append(_document(title, text))
        if given.get("is_supporting") is True:
            support.append(documents[-1].id)
    return documents, support


def _of_hotpot(where: str, row: Mapping[str, Any]) -> tuple[list[Document], list[str]]:
    pairs = _pairs(where, "context", row["context"], "sentences")
    documents = list[Document]()
    for number, (title, sentences) in enumerate(pairs):
        listed = cast("list[Any]", sentences) if isinstance(sentences, list) else []
        if not isinstance(title, str) or not listed or not all(isinstance(sentence, str) for sentence in listed):
            raise ConfigError(
                f"{where}: context[{number}]: expected [title, [sentence, ...]], got {str((title, sentences))[:60]}."
            )
        documents.append(_document(title, "".join(listed).strip()))
    named = {title for title, _ in _pairs(where, "supporting_facts", row.get("supporting_facts", []), "sent_id")}
    return documents, [document.id for document in documents if document.title in named]


def _pairs(where: str, key: str, given: Any, second: str) -> list[tuple[Any, Any]]:
    """[[title, x], ...], or {"title": [...], second: [...]} as the Hugging Face hub stores it."""
    if isinstance(given, dict):
        columns = cast("dict[str, Any]", given)
        titles = _listed(where, f"{key}.title", columns.get("title"))
        others = _listed(where, f"{key}.{second}", columns.get(second))
        if len(titles) != len(others):
            raise ConfigError(f"{where}: {key}: expected as many titles as {second}, got {len(titles)} and {len(others)}.")
        return list(zip(titles, others, strict=True))
    listed = _listed(where, key, given)
    if not all(isinstance(pair, list) and len(cast("list[Any]", pair)) == 2 for pair in listed):
        raise ConfigError(f"{where}: {key}: expected a list of pairs [title, ...], got {str(listed)[:80]}.")
    return [(pair[0], pair[1]) for pair in listed]


def _listed(where: str, key: str, given: Any) -> list[Any]:
    if not isinstance(given, list):
        raise ConfigError(f"{where}: {key}: expected a list, got {type(given).__name__}.")
    return cast("list[Any]", given)


def _document(title: str, text: str) -> Document:
    """The same paragraph of two questions has the same id."""
    sha = hashlib.blake2b(f"{title}\n{text}".encode("utf-8", "replace"), digest_size=6).hexdigest()
    return Document(sha, title.strip(), text)


def _level(row: Mapping[str, Any], support: Sequence[str]) -> int:
    said = row.get("level")
    if isinstance(said, str) and said in _HOTPOT_LEVELS:
        return _HOTPOT_LEVELS[said]
    hops, mark, _ = str(row.get("id", "")).partition("hop")
    level = int(hops) if mark and hops.isdecimal() else len(support)
    return min(max(level, 1), MOST_LEVEL)
