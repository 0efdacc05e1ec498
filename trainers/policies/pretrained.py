"""A Hugging Face causal language model from a local folder or a hub id, optionally with LoRA adapters (arXiv:2106.09685)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from turnwise.errors import ConfigError
from turnwise.trainers.placement import dtype_of, placed

__all__ = ["Pretrained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """Weights that exist already."""

    path: str
    """A folder written by `save_pretrained`, or a model id of the Hugging Face hub."""
    dtype: str = "float32"
    """"float32" or "bfloat16" (the optimiser then keeps float32 masters of what it trains)."""
    device: str = "cpu"

    def skeleton(self) -> PreTrainedModel:
        """The model on PyTorch's "meta" device: its shapes, without weights. Raises ConfigError as `build` does."""
        dtype = dtype_of(self.dtype)
        try:
            config = AutoConfig.from_pretrained(self.path)
        except (OSError, ValueError) as error:
            raise _missing(self.path, error) from error
        with torch.device("meta"):
            return cast(PreTrainedModel, AutoModelForCausalLM.from_config(config, dtype=dtype)).eval()

    def build(self, corpus: Iterable[str], seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Raises ConfigError if nothing can be loaded from `path`."""
        dtype = dtype_of(self.dtype)
        try:
            model = AutoModelForCausalLM.from_pretrained(self.path, dtype=dtype)
            tokenizer = AutoTokenizer.from_pretrained(self.path)
        except (OSError, ValueError) as error:
            raise _missing(self.path, error) from error
        return placed(cast(PreTrainedModel, model), self.dtype, self.device), tokenizer


def _missing(path: str, error: Exception) -> ConfigError:
    reason = str(error).strip().splitlines()[0][:300]
    return ConfigError(
        f"policy.path: no model can be loaded from {path!r}: {reason} "
        "Give a folder that holds config.json, weights and tokenizer.json, or a hub id while online."
    )
