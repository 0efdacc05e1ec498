"""LoRA adapters through peft (arXiv:2106.09685)."""

from __future__ import annotations

from typing import Any, cast

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from turnwise.trainers.recipe import Lora

__all__ = ["with_adapters"]


def with_adapters(model: PreTrainedModel, lora: Lora, seed: int) -> PreTrainedModel:
    """The model with fresh adapters, the only parameters that train. Their A matrices follow from the seed, B is 0."""
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=lora.targets, lora_dropout=0.0, task_type="CAUSAL_LM")
    with torch.random.fork_rng():  # peft draws from the global generator; what it draws is replaced below
        wrapped = cast(PreTrainedModel, get_peft_model(cast(Any, model), config))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_A" in name:
                noise = torch.empty(parameter.shape).normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
                parameter.copy_(noise)
    return wrapped
