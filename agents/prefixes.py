"""What texts have in common at their beginnings: a forest, walked from left to right.

In sorted order the texts are the branches of a tree in the order of a walk through it, so what a text shares with any text before
it, it shares with the one right before it. The engine scores so, the learner trains so: common beginnings are computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["walk"]


def walk(texts: Sequence[Sequence[int] | np.ndarray[Any, Any]]) -> Iterator[tuple[int, int]]:
    """(number of the text, tokens it shares with the one before it), every text once, in lexicographic order.

    Equal texts come in the order of their numbers; the first of all shares nothing.
    """
    arrays = [np.asarray(text, dtype=">i8") for text in texts]
    last = np.zeros(0, dtype=">i8")
    for number in sorted(range(len(arrays)), key=lambda i: arrays[i].tobytes()):
        text = arrays[number]
        yield number, _common(last, text)
        last = text


def _common(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int:
    width = min(len(a), len(b))
    differs = a[:width] != b[:width]
    return int(differs.argmax()) if differs.any() else width
