"""Two BM25 engines behind one small protocol: SQLite's FTS5, always there, and tantivy, the extra `search`, much quicker.

Both rank by BM25 (k1 1.2, b 0.75) over title and text as one field; a document is a hit if it holds any word of the query; equal
scores stand in the order of the ids. The scores differ: FTS5 counts a word that most documents hold for next to nothing, tantivy
rounds lengths; so may close calls.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from turnwise.errors import UnknownName, Unsupported

__all__ = ["ENGINES", "Engine", "engine_of", "read_only"]


def _short(score: float) -> float:
    return float(f"{score:.6g}")


class Engine(Protocol):
    """Numbers of documents, which count in the order of their ids, ranked for words."""

    name: str

    def build(self, folder: Path, texts: Iterable[str]) -> None:
        """Write the index of the folded texts 0, 1, 2, ... into the folder."""
        ...

    def open(self, folder: Path) -> Engine:
        """For reading, from any thread."""
        ...

    def rank(self, words: list[str], k: int) -> list[tuple[int, float]]:
        """The best k as (number, score), highest first."""
        ...

    def close(self) -> None: ...


def engine_of(name: str) -> Engine:
    """ "fts5", "tantivy", or "auto": tantivy where it is installed."""
    if name not in ("auto", *ENGINES):
        raise UnknownName("search engine", name, ("auto", *ENGINES))
    if name == "fts5":
        return Fts5()
    try:
        return Tantivy()
    except ImportError:
        if name == "auto":
            return Fts5()
        raise Unsupported("search engine tantivy: it is not installed; pip install 'turnwise[search]'.") from None


def read_only(file: Path) -> sqlite3.Connection:
    """A connection to a file that nobody changes any more."""
    return sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro&immutable=1", uri=True, check_same_thread=False)


class Fts5:
    """SQLite's full-text index; the texts themselves are not stored in it."""

    name = "fts5"

    def __init__(self) -> None:
        self._file = Path()
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []

    def build(self, folder: Path, texts: Iterable[str]) -> None:
        db = sqlite3.connect(folder / "fts5.sqlite")
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("CREATE VIRTUAL TABLE search USING fts5(words, content='', tokenize='unicode61 remove_diacritics 0')")
        db.executemany("INSERT INTO search(rowid, words) VALUES (?, ?)", enumerate(texts))
        db.execute("INSERT INTO search(search) VALUES ('optimize')")
        db.commit()
        db.close()

    def open(self, folder: Path) -> Fts5:
        self._file = folder / "fts5.sqlite"
        return self

    def rank(self, words: list[str], k: int) -> list[tuple[int, float]]:
        if not words or k < 1:
            return []
        found = "SELECT rowid, bm25(search) FROM search WHERE search MATCH ? ORDER BY bm25(search), rowid LIMIT ?"
        match = " OR ".join(f'"{word}"' for word in words)
        return [(number, _short(-score)) for number, score in self._connection().execute(found, (match, k))]

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "db"):
            self._local.db = read_only(self._file)
            self._opened.append(self._local.db)
        return self._local.db


class Tantivy:
    """tantivy's index of one segment, written by one thread, so that equal corpora give equal ranks."""

    name = "tantivy"

    def __init__(self) -> None:
        import tantivy  # noqa: PLC0415  (an extra)

        self._tantivy: Any = tantivy
        builder = tantivy.SchemaBuilder()
        builder.add_text_field("words", tokenizer_name="plain", index_option="freq")
        builder.add_integer_field("number", stored=True)
        self._schema = builder.build()
        self._index: Any = None

    def build(self, folder: Path, texts: Iterable[str]) -> None:
        index = self._registered(self._tantivy.Index(self._schema, path=str(folder)))
        writer = index.writer(heap_size=256_000_000, num_threads=1)
        for number, text in enumerate(texts):
            writer.add_document(self._tantivy.Document(words=text, number=number))
        writer.commit()
        writer.wait_merging_threads()

    def open(self, folder: Path) -> Tantivy:
        self._index = self._registered(self._tantivy.Index.open(str(folder)))
        return self

    def rank(self, words: list[str], k: int) -> list[tuple[int, float]]:
        if not words or k < 1:
            return []
        t = self._tantivy
        terms = [(t.Occur.Should, t.Query.term_query(self._schema, "words", word, index_option="freq")) for word in words]
        searcher = self._index.searcher()
        hits = searcher.search(t.Query.boolean_query(terms), k, count=False).hits
        found = [(searcher.doc(address)["number"][0], _short(score)) for score, address in hits]
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))

    def close(self) -> None:
        self._index = None

    def _registered(self, index: Any) -> Any:
        t = self._tantivy
        analyzer = t.TextAnalyzerBuilder(t.Tokenizer.simple()).build()
        index.register_tokenizer("plain", analyzer)
        return index


ENGINES = ("fts5", "tantivy")
