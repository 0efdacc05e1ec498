"""Weights in bfloat16, learning in float32.

A bfloat16 number has 8 bits of precision: a step of a thousandth of a weight is lost in it, and most steps of reinforcement
learning are smaller. So the optimisers change float32 copies (masters), the model computes with what these round to, and
gradients of several passes are summed in float32 (Micikevicius et al., "Mixed Precision Training", arXiv:1710.03740).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Masters"]


class Masters:
    """The float32 copies of those parameters of some optimisers that are narrower; of a float32 model there are none.

    After each backward pass `take` its gradients; after the optimisers' step `give` the weights back.
    """

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """From now on the optimisers hold the masters. Call it before their first step."""
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["params"] = [self._master(p) for p in group["params"]]
        self._masters = {id(p): master for p, master in self._pairs}

    def _master(self, parameter: nn.Parameter) -> nn.Parameter:
        if torch.promote_types(parameter.dtype, torch.float32) == parameter.dtype:
            return parameter
        self._pairs.append((parameter, nn.Parameter(parameter.detach().float())))
        return self._pairs[-1][1]

    def of(self, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """What stands for each of the model's parameters; itself where it has no master."""
        return [self._masters.get(id(p), p) for p in parameters]

    def take(self) -> None:
        """Add the model's gradients to the masters'."""
        for parameter, master in self._pairs:
            if parameter.grad is not None:
                grad = parameter.grad.float()
                master.grad = grad if master.grad is None else master.grad.add_(grad)
                parameter.grad = None

    @torch.no_grad()
    def give(self) -> None:
        """Round the masters into the model, in place."""
        for parameter, master in self._pairs:
            parameter.copy_(master)

    @property
    def tensors(self) -> list[Tensor]:
        """What a checkpoint has to hold of them, in order."""
        return [master.detach() for _, master in self._pairs]

    @torch.no_grad()
    def load(self, tensors: Sequence[Tensor]) -> None:
        """Those of a checkpoint; none is what was saved without masters: they then start from the model's weights."""
        for i, (parameter, master) in enumerate(self._pairs):
            master.copy_(tensors[i] if tensors else parameter)
