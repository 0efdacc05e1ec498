"""The embedded engine: the trainer's own model, in this process (`turnwise.agents.engines.torch`)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from turnwise.agents.engines.torch import TorchEngine
from turnwise.trainers.bounds import within

__all__ = ["Torch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Torch:
    """Continuous batching over any Hugging Face model, on a CPU or a GPU."""

    max_batch: int = 0
    """Most sequences decoded together; 0 is the recipe's concurrency."""
    cache_tokens: int = 0
    """Most tokens whose keys and values are there for decoding, and again as many for conversations between turns: what makes the
    engine's memory the same for conversations of any length. Conversations that do not fit wait. 0 is no bound."""
    graphs: bool = True
    """On CUDA, decoding steps of a few fixed shapes are recorded once and replayed; false launches them kernel by kernel."""

    def __post_init__(self) -> None:
        for name in ("max_batch", "cache_tokens"):
            within(f"engine.{name}", getattr(self, name))

    async def build(self, model: PreTrainedModel, folder: Path, *, concurrency: int, overlaps: bool) -> TorchEngine:
        """An engine that samples while the learner changes its weights needs weights of its own."""
        return TorchEngine(
            copy.deepcopy(model) if overlaps else model,
            max_batch=self.max_batch or concurrency,
            kept_tokens=self.cache_tokens or None,
            cache_tokens=self.cache_tokens,
            fixed_shapes=None if self.graphs else False,
        )
