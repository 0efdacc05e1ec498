"""BM25 in memory, for small corpora that live as long as a task: built in milliseconds, no file, no thread, nothing to close.

The score of a document D for the words q of a query, as in Lucene and tantivy (Robertson and Zaragoza 2009, "The Probabilistic
Relevance Framework"), with k1 1.2 and b 0.75; N documents, n(q) of them hold q, |D| words in D:

    sum over q of  ln(1 + (N - n(q) + 0.5) / (n(q) + 0.5)) * f(q, D) * (k1 + 1) / (f(q, D) + k1 * (1 - b + b * |D| / mean |D|))

Building makes a list of document numbers for each word, an entry for each occurrence; a query counts them. For 30 to 500 pages
that is built sooner than tantivy or bm25s build theirs (benchmarks/search_envs.py); FTS5 is as quick, but its connections cannot
be shared by forks and threads, and it counts a word that most pages hold for nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import nsmallest

from turnwise.tool_servers.search.corpus import Document, read_corpus
from turnwise.tool_servers.search.index import MAX_HITS, Hit
from turnwise.tool_servers.search.words import folded, query_words, snippet

__all__ = ["MemoryIndex"]

K1, B = 1.2, 0.75
_PARTED = str.maketrans({c: " " for c in map(chr, range(128)) if not c.isalnum()})


class MemoryIndex:
    """A `SearchIndex` over documents in memory. It never changes: copies and forks share it, and any thread may ask."""

    def __init__(self, documents: Iterable[Document]) -> None:
        """ConfigError for no documents, or an id that occurs twice."""
        corpus = read_corpus(documents)
        self._documents, self._digest = corpus.documents, corpus.digest
        self._numbers = {document.id: number for number, document in enumerate(self._documents)}
        occurrences, lengths = defaultdict[str, list[int]](list), list[int]()
        for number, document in enumerate(self._documents):
            words = folded(f"{document.title}\n{document.text}").translate(_PARTED).split()
            lengths.append(len(words))
            for word in words:
                occurrences[word].append(number)
        self._occurrences = dict(occurrences)
        mean = sum(lengths) / len(lengths) or 1.0
        self._norms = [K1 * (1 - B + B * length / mean) for length in lengths]

    def __deepcopy__(self, memo: dict[int, object]) -> MemoryIndex:
        return self

    def __len__(self) -> int:
        return len(self._documents)

    @property
    def digest(self) -> str:
        return self._digest

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        words = query_words(query)
        best = nsmallest(min(k, MAX_HITS), self._scores(words).items(), key=lambda found: (-found[1], found[0]))
        return tuple(self._hit(number, score, words) for number, score in best)

    def document(self, id: str) -> Document | None:
        number = self._numbers.get(id)
        return None if number is None else self._documents[number]

    def close(self) -> None:
        """There is nothing to close."""

    def _scores(self, words: list[str]) -> dict[int, float]:
        """Document number -> score to six digits, so that equal documents tie whatever the order of the sum."""
        scores: dict[int, float] = defaultdict(float)
        for word in words:
            counts = Counter(self._occurrences.get(word, ()))
            rarity = math.log(1 + (len(self._documents) - len(counts) + 0.5) / (len(counts) + 0.5)) * (K1 + 1)
            for number, count in counts.items():
                scores[number] += rarity * count / (count + self._norms[number])
        return {number: float(f"{score:.6g}") for number, score in scores.items()}

    def _hit(self, number: int, score: float, words: list[str]) -> Hit:
        document = self._documents[number]
        return Hit(document.id, document.title, snippet(document.text, words), score)
