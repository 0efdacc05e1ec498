"""Documents to search: a folder of text files, a JSONL file, or anything that can be iterated again and again.

The digest of a corpus is that of its content, whatever the clock of its files says; documents stand in the order of their ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

from typing_extensions import override

from turnwise.errors import ConfigError

__all__ = ["Corpus", "Document", "read_corpus"]

SUFFIXES = (".txt", ".md", ".html", ".htm")
MAX_DOCUMENT = 50_000_000
"""Bytes of one file."""
MAX_ID = 500


@dataclass(frozen=True, slots=True)
class Document:
    """One thing that can be found."""

    id: str
    """Unique in its corpus; at most 500 characters."""
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents in the order of their ids, and what identifies them."""

    documents: tuple[Document, ...]
    digest: str
    """Hexadecimal, 128 bits, of ids, titles and texts."""


def read_corpus(source: str | Path | Iterable[Document | Mapping[str, Any]]) -> Corpus:
    """Read a folder (.txt, .md, .html; ids are relative paths), a .jsonl file of {"id", "title", "text"} or an iterable.

    ConfigError for a missing or empty source, a double id, a line or document of another shape.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            raise ConfigError(f"search corpus: expected a folder or a .jsonl file, but {path} does not exist.")
        found = _of_folder(path) if path.is_dir() else _of_lines(path)
    else:
        found = (d if isinstance(d, Document) else _document(d, "search corpus") for d in source)
    documents = sorted(found, key=lambda d: d.id)
    if not documents:
        raise ConfigError(f"search corpus: expected at least one document, got none from {source!r}.")
    digest = hashlib.blake2b(digest_size=16)
    for last, document in zip([None, *documents[:-1]], documents, strict=True):
        if last is not None and last.id == document.id:
            raise ConfigError(f"search corpus: the id {document.id!r} stands there twice; ids must be unique.")
        for part in (document.id, document.title, document.text):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big") + raw)
    return Corpus(tuple(documents), digest.hexdigest())


def _of_folder(folder: Path) -> Iterator[Document]:
    root = folder.resolve()
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file() or not path.resolve().is_relative_to(root):
            continue
        if path.stat().st_size > MAX_DOCUMENT:
            raise ConfigError(f"search corpus: {path} is larger than {MAX_DOCUMENT // 1_000_000} MB; split it.")
        name, text = path.relative_to(root).as_posix(), path.read_text("utf-8", "replace")
        if path.suffix.lower() in (".html", ".htm"):
            page = _Page()
            page.feed(text)
            page.close()
            yield Document(name, page.title or path.stem, page.text)
        else:
            first = text.lstrip().split("\n", 1)[0].lstrip("# ").strip()
            yield Document(name, first[:200] if path.suffix.lower() == ".md" and first else path.stem, text)


def _of_lines(path: Path) -> Iterator[Document]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{path}, line {number}"
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise ConfigError(f'{where}: expected a JSON object {{"id", "title", "text"}}, got {error}.') from None
                yield _document(row, where)


def _document(row: Any, where: str) -> Document:
    given: Mapping[str, Any] = cast("Mapping[str, Any]", row) if isinstance(row, Mapping) else {}
    name, title, text = given.get("id"), given.get("title", ""), given.get("text")
    if not isinstance(name, str | int) or not isinstance(title, str) or not isinstance(text, str):
        raise ConfigError(f'{where}: expected {{"id": str, "title": str, "text": str}}, got {str(row)[:100]}.')
    if not 0 < len(str(name)) <= MAX_ID:
        raise ConfigError(f"{where}: an id has 1 to {MAX_ID} characters, got {len(str(name))}.")
    return Document(str(name), title, text)


class _Page(HTMLParser):
    """The title and the visible text of a page."""

    HIDDEN = ("script", "style", "noscript", "template")
    BLOCKS = ("p", "br", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "table", "ul", "ol", "pre")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._titles: list[str] = []
        self._inside: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.HIDDEN or tag == "title":
            self._inside.append(tag)
        elif tag in self.BLOCKS:
            self._pieces.append("\n")

    @override
    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()
        elif tag in self.BLOCKS:
            self._pieces.append("\n")

    @override
    def handle_data(self, data: str) -> None:
        if not self._inside:
            self._pieces.append(data)
        elif self._inside[-1] == "title":
            self._titles.append(data)

    @property
    def title(self) -> str:
        return " ".join("".join(self._titles).split())

    @property
    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._pieces).split("\n"))
        return "\n".join(line for line in lines if line)
