"""Other attention for a while, and the engine's: of one new token a row over cached keys and values, which are not copied."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

__all__ = ["SLOT_ATTENTION", "attending", "slot_attention"]

SLOT_ATTENTION = "turnwise_slots"
"""The name under which transformers knows it; needs a 4-dimensional mask."""


@contextmanager
def attending(config: Any, name: str) -> Generator[None]:
    """The model of that configuration attends so meanwhile. It may be shared: it gets its own attention back."""
    usual = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = usual


def slot_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """As transformers' own `sdpa`, for [N, heads, S, width] queries; S = 1 is the quick case.

    With fewer key heads than query heads, `sdpa` repeats the keys of all columns for each query head of a group. With a single
    query a row the group can stand where the queries stand instead, [N, key heads, group, width], and nothing is copied.
    """
    rows, heads, length, width = query.shape
    groups = key.shape[1]
    if length != 1 or attention_mask is None or attention_mask.shape[1] != 1 or "position_bias" in kwargs:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    folded = query.reshape(rows, groups, heads // groups, width)
    out = torch.nn.functional.scaled_dot_product_attention(
        folded, key, value, attn_mask=attention_mask.expand(-1, -1, heads // groups, -1), scale=kwargs.get("scaling")
    )
    return out.reshape(rows, 1, heads, value.shape[-1]), None


AttentionInterface.register(SLOT_ATTENTION, slot_attention)
