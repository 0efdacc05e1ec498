"""What a policy source gives: a causal language model and its tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Policy"]


class Policy(Protocol):
    """A frozen description of a model; `build` makes it real."""

    def build(self, corpus: Iterable[str], seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The model and its tokenizer. `corpus` is text to train a tokenizer on (unused by those that load one)."""
        ...
