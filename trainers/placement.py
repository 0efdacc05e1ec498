"""Where a policy lies and how its weights are stored: the two words of a recipe's [policy], made real."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from turnwise.errors import ConfigError

__all__ = ["dtype_of", "placed"]

M = TypeVar("M", bound=nn.Module)


def dtype_of(name: str) -> torch.dtype:
    """Raises ConfigError for another name than float32 or bfloat16."""
    if name not in ("float32", "bfloat16"):
        raise ConfigError(f"policy.dtype: expected float32 or bfloat16, got {name!r}.")
    return getattr(torch, name)


def placed(model: M, dtype: str, device: str) -> M:
    """The model with its weights stored so, there. Raises ConfigError for a device that is not here."""
    try:
        return model.to(device=device, dtype=dtype_of(dtype))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ConfigError(
            f'policy.device: {device!r} cannot be used ({reason}); set it to "cpu", or to a GPU that is here.'
        ) from error
