"""Conversion between tensors that FSDP has sharded over processes and full tensors."""

from __future__ import annotations

from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """Gather a tensor that FSDP has sharded over processes; return any other tensor unchanged."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def laid_out_as(like: Tensor, tensor: Tensor) -> Tensor:
    """Shard a full tensor over processes in the same way as `like`."""
    if not hasattr(like, "device_mesh"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)  # type: ignore[attr-defined]
