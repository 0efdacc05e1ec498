"""vLLM, started here or running elsewhere (`turnwise.agents.engines.vllm`)."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from turnwise.agents.engines.vllm import VLLMEngine, write_weights
from turnwise.agents.engines.vllm_http import HttpVLLM
from turnwise.agents.engines.vllm_local import LocalVLLM, cpu_options
from turnwise.errors import ConfigError, EngineFailure, Unsupported
from turnwise.trainers.bounds import within

__all__ = ["Vllm"]

_CPU_HEADS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vllm:
    """One vLLM as a child of this process, or servers that somebody started (`python -m turnwise.agents.engines.vllm_http`)."""

    servers: tuple[str, ...] = ()
    """Addresses, as in http://127.0.0.1:8000; () starts one here."""
    weights_folder: str = ""
    """Where weights are handed over: a folder that the servers see too; "" is shared memory, for servers on this machine."""
    entropy_tokens: int = 32
    """Most likely tokens from which an entropy is computed; -1 is all, exact and slow for large vocabularies."""
    keep_cache: bool = False
    """Replies under way at a sync go on with the keys and values of the old weights (faster), instead of computing them again."""
    max_num_seqs: int = 256
    """Sequences that one vLLM samples together."""
    patience_s: float = 300.0
    """How long a server that does not answer is waited for."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """More fields of vLLM's AsyncEngineArgs, for the one that is started here (tensor_parallel_size, gpu_memory_utilization)."""

    def __post_init__(self) -> None:
        within("engine.max_num_seqs", self.max_num_seqs, 1)
        within("engine.patience_s", self.patience_s)
        if self.entropy_tokens != -1:
            within("engine.entropy_tokens", self.entropy_tokens, 1)
        for url in self.servers:
            if not url.startswith(("http://", "https://")):
                raise ConfigError(f"engine.servers: expected addresses as in http://127.0.0.1:8000, got {url!r}.")

    async def build(self, model: PreTrainedModel, folder: Path, *, concurrency: int, overlaps: bool) -> VLLMEngine:
        inner: Any = cast(Any, model).get_base_model() if hasattr(model, "peft_config") else model
        if not torch.cuda.is_available() and inner.config.head_dim not in _CPU_HEADS:
            known, got = ", ".join(map(str, _CPU_HEADS)), inner.config.head_dim
            mend = "change hidden or heads of the [policy] (hidden = heads x 32, say)"
            raise Unsupported(f"engine vllm: on a CPU it knows heads of {known} numbers, got {got}; {mend}.")
        adapter = _adapter_settings(model)
        window = int(inner.config.max_position_embeddings) - 1  # vLLM keeps a place for the token that scoring samples
        if self.servers:
            transports: list[HttpVLLM | LocalVLLM] = [HttpVLLM(url) for url in self.servers]
            await asyncio.gather(*(t.ready(self.patience_s) for t in transports))
        else:
            path = folder / "served"
            await asyncio.to_thread(_write_checkpoint, inner, path)
            options: dict[str, Any] = {"max_num_seqs": self.max_num_seqs, "dtype": str(inner.dtype).removeprefix("torch.")}
            if not torch.cuda.is_available():
                options |= cpu_options(window)
                os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
            if adapter is not None:
                options |= {"enable_lora": True, "max_lora_rank": adapter["r"], "max_loras": 2, "max_cpu_loras": 8}
            transports = [LocalVLLM(path, context_window=window, options=options | self.options)]
        engine = VLLMEngine(
            transports,
            context_window=window,
            vocabulary=int(inner.config.vocab_size),
            entropy_tokens=self.entropy_tokens,
            places=self.max_num_seqs,
            keep_cache=self.keep_cache,
            adapter=adapter,
            folder=self.weights_folder or None,
            patience_s=self.patience_s,
        )
        try:
            await engine.update_weights(model.state_dict(), 0)
        except EngineFailure:
            await engine.close()
            raise
        return engine


def _adapter_settings(model: PreTrainedModel) -> dict[str, Any] | None:
    """peft's configuration of the model's adapters, as its file holds it; None for a model without."""
    if not hasattr(model, "peft_config"):
        return None
    settings = cast("dict[str, Any]", cast(Any, model).peft_config["default"].to_dict())
    return {k: sorted(cast("set[str]", v)) if isinstance(v, set) else v for k, v in settings.items()}


def _write_checkpoint(inner: Any, path: Path) -> None:
    """A folder that vLLM can load: the model that adapters sit on, under the names it had before them."""
    path.mkdir(parents=True, exist_ok=True)
    inner.config.save_pretrained(path)
    state = {k.replace(".base_layer.", "."): v for k, v in inner.state_dict().items() if ".lora_" not in k}
    write_weights(state, path / "model.safetensors")
