"""Masked passages of a user's own documents: names, years and numbers of a few sentences taken out.

As in MaskSearch, the title stands before the passage, a span that occurs twice is not masked, longer spans are masked more often
and numbers as often as the longest; spans are found by their form (numbers, words with capitals) and drawn without replacement.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from turnwise.envs.core import Split, split_of
from turnwise.envs.draws import Draws
from turnwise.errors import ConfigError
from turnwise.tool_servers.search.corpus import Corpus, Document

__all__ = ["Cloze", "OwnPassages", "cloze_of", "spans_of"]

SENTENCES = 4
"""At most so many sentences are shown; fewer where they hold enough spans."""
MAX_PASSAGE = 1_200
TRIES = 200
"""Passages that are drawn until one holds enough spans."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])|\n+")
_NUMBER = re.compile(r"(?<![\w.,])\d(?:[\d.,]*\d)?(?![\w])")
_NAME = re.compile(r"(?<![\w'-])[A-Z][\w'-]+(?: (?:(?:of|the|de|von|van) )?[A-Z][\w'-]+)*")


@dataclass(frozen=True, slots=True)
class Cloze:
    """A text with masks [1], [2], ..., and what they stand for."""

    title: str
    text: str
    spans: tuple[str, ...]
    document: str
    """Id of the document that it is from."""


class OwnPassages:
    """The documents of a corpus; a document belongs to one split, whatever is masked in it."""

    def __init__(self, corpus: Corpus, name: str) -> None:
        self._name = name
        self._documents: dict[Split, list[Document]] = {"train": [], "test": []}
        for document in corpus.documents:
            self._documents[split_of(f"{name}/{document.id}")].append(document)

    def __deepcopy__(self, memo: dict[int, object]) -> OwnPassages:
        return self  # it never changes

    def draw(self, rng: np.random.Generator, split: Split, masks: int) -> Cloze:
        """A passage of that split with so many masks; ConfigError if none is found."""
        draws, documents = Draws(rng), self._documents[split]
        for _ in range(TRIES if documents else 0):
            found = cloze_of(draws.pick(documents), masks, draws)
            if found is not None:
                return found
        raise ConfigError(
            f"{self._name}: no passage with {masks} masks in {TRIES} tries among its {len(documents)} {split} documents; "
            "ask for a lower level, or give more and longer documents."
        )


def cloze_of(document: Document, masks: int, draws: Draws) -> Cloze | None:
    """Some sentences of a document with so many different spans masked; None where those drawn do not hold enough."""
    sentences = [sentence.strip() for sentence in _SENTENCE.split(document.text) if sentence.strip()]
    if not sentences:
        return None
    first = draws.below(len(sentences))
    for last in range(first + 1, min(first + SENTENCES, len(sentences)) + 1):
        text = " ".join(sentences[first:last])
        spans = spans_of(text, document.title)
        if len(text) > MAX_PASSAGE:
            return None
        if len(spans) >= masks and not re.search(r"\[\d+\]", text):
            chosen = sorted(_weighted(spans, masks, draws), key=text.index)
            for number, span in enumerate(chosen, 1):
                text = text.replace(span, f"[{number}]")
            return Cloze(document.title, text, tuple(chosen), document.id)
    return None


def spans_of(text: str, title: str) -> list[str]:
    """Numbers, and names that do not only begin a sentence; each stands there once, and in no other span nor in the title."""
    names = [hit[0] for hit in _NAME.finditer(text) if " " in hit[0] or (hit.start() and text[hit.start() - 2] not in ".!?")]
    found = list(dict.fromkeys([*names, *_NUMBER.findall(text)]))
    return [
        span for span in found if text.count(span) == 1 and span not in title and not any(span in o for o in found if o != span)
    ]


def _weighted(spans: Sequence[str], count: int, draws: Draws) -> list[str]:
    """`count` of the spans, drawn without replacement by their words."""
    most = max(len(span.split()) for span in spans)
    left = {span: most if span[0].isdigit() else len(span.split()) for span in spans}
    chosen: list[str] = []
    while len(chosen) < count:
        mark, total = draws.uniform() * sum(left.values()), 0
        span = next((span for span, weight in left.items() if (total := total + weight) > mark), [*left][-1])
        chosen.append(span)
        del left[span]
    return chosen
