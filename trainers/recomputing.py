"""Activation checkpointing: each block keeps only what goes into it, and the backward pass computes the rest once more."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from turnwise.errors import Unsupported

__all__ = ["check_blocks", "recomputed"]


def check_blocks(model: nn.Module) -> None:
    """Raises Unsupported for a model that does not say what its blocks are."""
    if not _blocks(model):
        name = type(model).__name__
        raise Unsupported(f"activation_checkpointing: {name} has no blocks that transformers could checkpoint; set it to false.")


@contextmanager
def recomputed(model: nn.Module, within: Callable[[], AbstractContextManager[None]] = nullcontext) -> Generator[None]:
    """Forward passes in here are checkpointed block by block. They are computed again inside of `within()`.

    transformers' own switch works in training mode only, and wakes dropout; a policy's forward pass must have none.
    """
    blocks = _blocks(model)
    for block in blocks:
        block.forward = partial(
            checkpoint,
            block.forward,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=lambda: (nullcontext(), within()),
        )
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _blocks(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
