"""Tensors that lie in parts on several ranks (DTensor), and the same tensors whole."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

__all__ = ["cut", "whole"]


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together on every rank; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def cut(tensor: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a whole tensor, laid out as `like`; the tensor itself if that is not sharded or of another shape."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
