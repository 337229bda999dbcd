"""What code may do while PyTorch traces it into a graph: `torch.export`, `torch.onnx.export`, `torch.compile`.

A graph records operations on tensors. Python decisions that depend on tensor values, or on a dynamic size, would be
fixed in it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_traced() -> bool:
    """Whether a graph is being traced, for export or compilation."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_exported() -> bool:
    """Whether the graph is for another runtime, which may have fewer operators, or is to be differentiated later."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def is_for_onnx() -> bool:
    """Whether the graph is for ONNX, which has fewer operators than PyTorch."""
    return is_exported() and torch.onnx.is_in_onnx_export()


def can_be_read(values: Tensor) -> bool:
    """Whether Python may read tensor values: not while they are traced, nor on the meta device."""
    return not (values.is_meta or is_traced())


def is_known(size: int) -> bool:
    """Whether Python may compare a size: not if it is dynamic, since a comparison would fix it in the graph."""
    return not isinstance(size, torch.SymInt)


def is_fixed(clips: Tensor, lengths_B: Tensor | None) -> bool:
    """Whether an exported graph has a fixed batch size and one clip length: it can then be the plain path."""
    sizes = is_known(clips.shape[0]) and is_known(clips.shape[1]) and lengths_B is None
    return sizes and is_exported() and not is_for_onnx()


def full_lengths(clips: Tensor) -> Tensor:
    """Lengths of clips (B, length, ...) that fill the batch, shape (B,)."""
    return torch.full((clips.shape[0],), clips.shape[1], device=clips.device)
