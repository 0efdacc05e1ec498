"""A search index on disk: built once for a content, found again by its digest, shared by all processes.

    <cache>/<engine>-<version>-<digest>/    documents.sqlite and the engine's own files; complete as soon as it has this name
    <cache>/<engine>-<version>-<digest>.lock

The builder holds the lock (which dies with it), writes beside and renames; a second process waits and finds the work done.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from turnwise.tool_servers.search.corpus import Corpus, Document, read_corpus
from turnwise.tool_servers.search.engines import Engine, engine_of, read_only
from turnwise.tool_servers.search.words import folded, query_words, snippet

__all__ = ["DiskIndex", "Hit", "SearchIndex", "open_index"]

VERSION = 1
"""Of the files and of how text becomes words; another one builds anew."""
MAX_HITS = 100


@dataclass(frozen=True, slots=True)
class Hit:
    """One document found."""

    id: str
    title: str
    snippet: str
    score: float


class SearchIndex(Protocol):
    """What the search tool asks; any retriever with these members will do."""

    @property
    def digest(self) -> str:
        """Names the content: equal digests give equal hits."""
        ...

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """The best k documents, highest score first, equal scores by id. Any text is a query; none is an error."""
        ...

    def document(self, id: str) -> Document | None:
        """The document of that id, if there is one."""
        ...

    def close(self) -> None: ...


def open_index(
    source: str | Path | Iterable[Document | Mapping[str, Any]],
    cache: str | Path | None = None,
    *,
    engine: str = "auto",
    remembered: int = 4096,
) -> DiskIndex:
    """Open the index of a folder, a JSONL file or documents (see `read_corpus`); built first where `cache` does not hold it.

    cache: the folder where indices are kept (default: ~/.cache/turnwise/search).
    remembered: answers kept for queries that come again.
    """
    corpus, maker = read_corpus(source), engine_of(engine)
    root = _default_cache() if cache is None else Path(cache)
    root.mkdir(parents=True, exist_ok=True)
    home = root / f"{maker.name}-{VERSION}-{corpus.digest}"
    if not home.exists():
        with _locked(home.with_suffix(".lock")):
            if not home.exists():
                _build(home, corpus, maker)
    return DiskIndex(home, maker.open(home), corpus.digest, remembered)


def _default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turnwise" / "search"


def _build(home: Path, corpus: Corpus, engine: Engine) -> None:
    part = home.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # of a builder that died
    part.mkdir()
    db = sqlite3.connect(part / "documents.sqlite")
    db.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, id BLOB UNIQUE, title BLOB, text BLOB)")
    rows = ((i, _bytes(d.id), _bytes(d.title), _bytes(d.text)) for i, d in enumerate(corpus.documents))
    db.executemany("INSERT INTO documents VALUES (?, ?, ?, ?)", rows)
    db.commit()
    db.close()
    engine.build(part, (folded(f"{d.title}\n{d.text}") for d in corpus.documents))
    os.rename(part, home)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class DiskIndex:
    """The index in one folder of the cache; may be asked from any thread."""

    def __init__(self, home: Path, engine: Engine, digest: str, remembered: int) -> None:
        self._home, self._engine, self._digest = home, engine, digest
        self._known: OrderedDict[tuple[tuple[str, ...], int], tuple[Hit, ...]] = OrderedDict()
        self._remembered, self._lock = remembered, threading.Lock()
        self._documents = read_only(home / "documents.sqlite")

    def __deepcopy__(self, memo: dict[int, object]) -> DiskIndex:
        return self  # it never changes: forks share it

    @property
    def digest(self) -> str:
        return self._digest

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return self._engine.name

    def __len__(self) -> int:
        with self._lock:
            return self._documents.execute("SELECT count(*) FROM documents").fetchone()[0]

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        words = query_words(query)
        key = (tuple(words), min(k, MAX_HITS))
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        hits = tuple(self._hit(number, score, words) for number, score in self._engine.rank(words, key[1]))
        with self._lock:
            self._known[key] = hits
            while len(self._known) > self._remembered:
                self._known.popitem(last=False)
        return hits

    def document(self, id: str) -> Document | None:
        return self._row("id", _bytes(id))

    def close(self) -> None:
        self._engine.close()
        with self._lock:
            self._documents.close()

    def _hit(self, number: int, score: float, words: list[str]) -> Hit:
        document = self._row("number", number)
        assert document is not None, f"{self._home}: the engine knows document {number}, the store does not"
        return Hit(document.id, document.title, snippet(document.text, words), score)

    def _row(self, column: str, value: int | bytes) -> Document | None:
        with self._lock:
            row = self._documents.execute(f"SELECT id, title, text FROM documents WHERE {column} = ?", (value,)).fetchone()
        return None if row is None else Document(*(str(cell, "utf-8", "surrogatepass") for cell in row))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
