"""Grading of short answers to questions: exact match and token F1 after normalisation, as for SQuAD, HotpotQA and NQ.

Normalised is: lower case, no articles, no punctuation, single spaces (Rajpurkar et al. 2016, arXiv 1606.05250). Two things differ
from their script, so that different numbers stay different: a point between digits and a minus before a number are kept; commas
between digits go. "yes", "no" and "noanswer" share no tokens with anything else (Yang et al. 2018, arXiv 1809.09600).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from turnwise.envs.core import Transition

__all__ = ["exact_match", "normalised", "paid_in_parts", "token_f1"]

MAX_ANSWER = 1_000
"""Characters; a longer answer is wrong without being looked at."""
_ARTICLES = frozenset(("a", "an", "the"))
_WHOLE = frozenset(("yes", "no", "noanswer"))
_KEPT = re.compile(r"(?<=\d)[.](?=\d)|(?<![\w.])[-\u2212](?=\d)")
_DROPPED = re.compile(r"[^\w\s\x00\x01]|_")


def normalised(text: str) -> str:
    """Text without what does not matter for an answer; "" for one longer than MAX_ANSWER."""
    if len(text) > MAX_ANSWER:
        return ""
    lowered = unicodedata.normalize("NFKC", text).casefold().replace("\x00", " ").replace("\x01", " ")
    marked = _KEPT.sub(lambda found: "\x00" if found[0] == "." else "\x01", lowered)
    plain = _DROPPED.sub("", marked).replace("\x00", ".").replace("\x01", "-")
    words = plain.split()
    return " ".join(word for word in words if word not in _ARTICLES) or " ".join(words)


def exact_match(answer: str, right: Sequence[str]) -> float:
    """1 if the answer is one of the right ones, else 0."""
    said = normalised(answer)
    return float(bool(said) and said in map(normalised, right))


def token_f1(answer: str, right: Sequence[str]) -> float:
    """The best harmonic mean of precision and recall of words, over the right answers; in [0, 1]."""
    said = normalised(answer)
    return max((_f1(said, normalised(one)) for one in right), default=0.0)


def _f1(said: str, right: str) -> float:
    if said in _WHOLE or right in _WHOLE:
        return float(said == right)
    ours, theirs = said.split(), right.split()
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0


def paid_in_parts(share: float, parts: int, progress: float, what: str) -> Transition:
    """The end of an episode whose answer has parts, called `what`, of which that share is right: `progress` of the reward is paid
    for it, the rest for all of them."""
    solved = share == 1.0
    terms = {"answer": (1.0 - progress) * solved, "progress": progress * share}
    text = "Correct." if solved else f"{round(share * parts)} of {parts} {what} are right."
    return Transition(text, sum(terms.values()), terminated=True, outcome=share, terms=terms)
