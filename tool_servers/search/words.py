"""Text to words, the same for every engine; and the few sentences around them that a reader is shown.

A word is a run of letters and digits, case and accents taken away; each Chinese or Japanese character is a word of its own.
Whatever else stands in a query (quotes, operators, control characters) only parts words.
"""

import re
import unicodedata
from collections.abc import Iterator

__all__ = ["folded", "query_words", "snippet"]

MAX_QUERY = 10_000
"""Characters of a query that are read."""
MAX_WORDS = 64
"""Different words of a query that are searched."""
MAX_WORD = 100
_PARTS = re.compile(r"[\W_]+")
_EACH = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


def folded(text: str) -> str:
    """Words with one space between them; ASCII keeps its punctuation, which every engine parts at."""
    if text.isascii():
        return text.lower().replace("\0", " ")
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return _PARTS.sub(" ", _EACH.sub(r" \1 ", unicodedata.normalize("NFKC", plain).casefold()))


def query_words(query: str) -> list[str]:
    """The different words of a query in their order, at most 64 of them."""
    words = _PARTS.sub(" ", folded(query[:MAX_QUERY])).split()
    return [word for word in dict.fromkeys(words) if len(word) <= MAX_WORD][:MAX_WORDS]


def snippet(text: str, words: list[str], size: int = 240) -> str:
    """About `size` characters of the text, where most different words of the query stand; its start if none does."""
    head = text[:200_000]
    lowered = head.lower()
    if len(lowered) != len(head):  # a character whose lower case is longer would shift the places
        lowered = head
    places = sorted((place, word) for word in dict.fromkeys(words) for place in _places(lowered, word))
    best, start = 0, 0
    for i, (place, _) in enumerate(places):
        inside = {word for at, word in places[i : i + 40] if at < place + size}
        if len(inside) > best:
            best, start = len(inside), max(0, place - size // 4)
    piece = head[start : start + size]
    if start:
        piece = "..." + piece.split(" ", 1)[-1]
    return " ".join(piece.split()) + ("..." if start + size < len(text) else "")


def _places(text: str, word: str) -> Iterator[int]:
    """Where a word of letters and digits stands by itself."""
    place = text.find(word)
    while place >= 0:
        end = place + len(word)
        if not (text[end : end + 1].isalnum() or (place and text[place - 1].isalnum())):
            yield place
        place = text.find(word, end)
