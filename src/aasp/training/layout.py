"""Tensors that FSDP has spread over processes, and whole ones."""

from __future__ import annotations

from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """A tensor that FSDP has spread over processes, gathered; any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def laid_out_as(like: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor, spread over processes as `like` is."""
    if not hasattr(like, "device_mesh"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)  # type: ignore[attr-defined]
